"""Requirements to lock, kept on disk: a warm start asks no registry."""

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import ValidationError

from stepflow_python.environments.exclusive import exclusive
from stepflow_python.environments.files import write_whole
from stepflow_python.environments.installer import Installer
from stepflow_python.environments.installer_env import resolution_settings
from stepflow_python.environments.interpreters import Interpreter
from stepflow_python.errors import EnvironmentUnavailableError
from stepflow_python.model.values import Value
from stepflow_python.ports import Progress

_LAYOUT = 1
_GRACE_S = 60.0
"""How long an outdated lock serves while the registry is away, before it is asked again."""


class _Kept(Value):
    """A lock as it is kept; `made_at` in seconds since the epoch."""

    made_at: float
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolution:
    """What requirements came to: `lines` as the installer takes them, good until `good_until` (epoch seconds).

    `took_ms`: how long that took just now; none if it was known.
    """

    lines: tuple[str, ...]
    good_until: float
    took_ms: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolver:
    """Resolves once for each set of requirements, interpreter and package sources.

    `max_age_s` seconds after it was made a lock is made anew; if the registry is away then, the old one serves on.
    """

    folder: Path
    max_age_s: float
    timeout_s: float
    clock: Callable[[], float]

    async def resolve(
        self,
        requirements: tuple[str, ...],
        interpreter: Interpreter,
        installer: Installer,
        *,
        refresh: bool,
        progress: Progress,
    ) -> Resolution:
        """The lock of checked requirements; none need no installer.

        Raises:
            DependencyError: no solution.
            EnvironmentUnavailableError: the registry cannot be reached, and there is no lock from before.
        """
        if not requirements:
            return Resolution(lines=(), good_until=float("inf"))
        path = self.folder / f"{_key(requirements, interpreter, installer)}.json"
        asked_at = self.clock()
        kept = _read(path)
        if kept is not None and not refresh and self._fresh(kept):
            return self._resolution(kept)
        async with exclusive(path.with_suffix(".lock"), timeout_s=self.timeout_s):
            kept = _read(path)
            # Whoever held the lock before us may just have made it.
            if kept is not None and (kept.made_at > asked_at or (not refresh and self._fresh(kept))):
                return self._resolution(kept)
            progress(f"resolving {', '.join(requirements)}")
            started = time.monotonic()
            try:
                lines = await installer.resolve(requirements, interpreter, refresh=refresh)
            except EnvironmentUnavailableError:
                if kept is None or refresh:
                    raise
                progress("the registry is away: using the versions resolved before")
                return Resolution(lines=kept.lines, good_until=self.clock() + _GRACE_S)
            kept = _Kept(made_at=self.clock(), lines=lines)
            write_whole(path, kept.model_dump_json().encode())
            took_ms = round((time.monotonic() - started) * 1000, 1)
        return replace(self._resolution(kept), took_ms=took_ms)

    def _fresh(self, kept: _Kept) -> bool:
        return 0 <= self.clock() - kept.made_at < self.max_age_s

    def _resolution(self, kept: _Kept) -> Resolution:
        return Resolution(lines=kept.lines, good_until=kept.made_at + self.max_age_s)


def _key(requirements: tuple[str, ...], interpreter: Interpreter, installer: Installer) -> str:
    parts = [_LAYOUT, requirements, interpreter.model_dump(mode="json"), installer.version]
    text = json.dumps([*parts, resolution_settings(installer.env)], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _read(path: Path) -> _Kept | None:
    try:
        return _Kept.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None
