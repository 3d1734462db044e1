"""What is known of tools that were called: when last, and their compiled source."""

import hashlib
import time
from collections import OrderedDict
from dataclasses import dataclass

from stepflow_python.ports import SandboxRun

MOST_TOOLS = 1024
MOST_CODE_BYTES = 1024 * 1024
"""Of one tool; larger ones are compiled at each call."""


@dataclass(slots=True, kw_only=True)
class Tool:
    """One source; `code` is what its interpreter made of it, none before that was asked for."""

    called: float
    code: bytes | None = None
    asked: bool = False


class Calls:
    """The last tools by their source, its module's name and the environment's interpreter."""

    def __init__(self) -> None:
        self._tools: OrderedDict[bytes, Tool] = OrderedDict()

    def note(self, run: SandboxRun, *, within_s: float) -> tuple[Tool, bool]:
        """Note a call; the tool, and whether it was called before within so many seconds."""
        key = _key(run)
        now = time.monotonic()
        tool = self._tools.get(key)
        again = tool is not None and now - tool.called <= within_s
        if tool is None:
            tool = self._tools[key] = Tool(called=now)
            if len(self._tools) > MOST_TOOLS:
                self._tools.popitem(last=False)
        tool.called = now
        self._tools.move_to_end(key)
        return tool, again


def _key(run: SandboxRun) -> bytes:
    digest = hashlib.blake2b(run.source.encode("utf-8", "surrogatepass"))
    digest.update(f"\0{run.module_name}\0{run.environment.id}".encode())
    return digest.digest()
