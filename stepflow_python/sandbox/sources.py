"""What is known of tools that were called: when last, and their source as their interpreter compiled it.

In a new interpreter the first `compile` alone takes a millisecond, whatever is compiled; a long source takes many.
"""

import base64
import binascii
import dataclasses
import hashlib
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from stepflow_python.model.limits import Limits
from stepflow_python.model.result import SandboxOutcome
from stepflow_python.ports import SandboxRun

MOST_TOOLS: Final = 1024
MOST_CODE_BYTES: Final = 1024 * 1024
"""Of one tool; larger ones are compiled at each call."""
COMPILING: Final = Limits(timeout_s=10.0, cpu_s=10.0, memory_mib=512, result_bytes=2 * MOST_CODE_BYTES)


@dataclass(slots=True, kw_only=True)
class Source:
    """One of them; `code` is what its interpreter made of it, none before that was asked for."""

    called: float
    again: bool = False
    """Whether its last call was soon after another one."""
    code: bytes | None = None
    asked: bool = False

    @property
    def wanted(self) -> bool:
        """Whether it is worth compiling, and nobody has asked for it; whoever sees that asks."""
        return self.again and self.code is None and not self.asked

    def take(self, outcome: SandboxOutcome | None) -> None:
        """Keep what a run of `compiling` gave; of a source that cannot be compiled that is nothing."""
        if outcome is None or not isinstance(outcome.result, str):
            return
        try:
            code = base64.b64decode(outcome.result, validate=True)
        except binascii.Error:
            return
        self.code = code if len(code) <= MOST_CODE_BYTES else None


class Sources:
    """The last ones that were called, by their text, their module's name and the environment."""

    def __init__(self, *, within_s: float) -> None:
        self._within_s = within_s
        self._known: OrderedDict[bytes, Source] = OrderedDict()

    def note(self, run: SandboxRun) -> Source:
        """Note a call."""
        key = _key(run)
        now = time.monotonic()
        source = self._known.get(key)
        if source is None:
            source = self._known[key] = Source(called=now)
            if len(self._known) > MOST_TOOLS:
                self._known.popitem(last=False)
        else:
            source.again = now - source.called <= self._within_s
        source.called = now
        self._known.move_to_end(key)
        return source


def compiling(run: SandboxRun) -> SandboxRun:
    """A run that has its source compiled, and runs nothing of it."""
    return dataclasses.replace(
        run, execution_id=f"compile {run.execution_id}", files={}, env={}, stdin=b"", extensions=(), limits=COMPILING
    )


def _key(run: SandboxRun) -> bytes:
    digest = hashlib.blake2b(run.source.encode("utf-8", "surrogatepass"))
    digest.update(f"\0{run.module_name}\0{run.environment.id}".encode())
    return digest.digest()
