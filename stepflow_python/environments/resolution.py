"""Requirements to lock, kept on disk: a warm start asks no registry."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from stepflow_python.environments.exclusive import exclusive
from stepflow_python.environments.files import write_whole
from stepflow_python.environments.installer_env import resolution_settings
from stepflow_python.environments.solving import Solver
from stepflow_python.errors import EnvironmentUnavailableError
from stepflow_python.model.values import Value

_LAYOUT = 1
_GRACE_S = 60.0
"""How long an outdated lock serves while the registry is away, before it is asked again."""


class _Kept(Value):
    """A lock as it is kept; `made_at` in seconds since the epoch."""

    made_at: float
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolution:
    """What requirements came to: `lines` as the installer takes them, good until `good_until` (epoch seconds)."""

    lines: tuple[str, ...]
    good_until: float


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
        solver: Solver,
        *,
        refresh: bool,
    ) -> Resolution:
        """The lock of checked requirements; none need no installer.

        Raises:
            DependencyError: no solution.
            EnvironmentUnavailableError: the registry cannot be reached, and there is no lock from before.
        """
        if not requirements:
            return Resolution(lines=(), good_until=float("inf"))
        path = self.folder / f"{_key(requirements, solver)}.json"
        asked_at = self.clock()
        kept = _read(path)
        if kept is not None and not refresh and self._fresh(kept):
            return self._resolution(kept)
        async with exclusive(path.with_suffix(".lock"), timeout_s=self.timeout_s):
            kept = _read(path)
            # Whoever held the lock before us may just have made it.
            if kept is not None and (kept.made_at > asked_at or (not refresh and self._fresh(kept))):
                return self._resolution(kept)
            try:
                lines = await solver.lock(requirements, refresh=refresh)
            except EnvironmentUnavailableError:
                if kept is None or refresh:
                    raise
                solver.steps.progress("the registry is away: using the versions resolved before")
                return Resolution(lines=kept.lines, good_until=self.clock() + _GRACE_S)
            kept = _Kept(made_at=self.clock(), lines=lines)
            write_whole(path, kept.model_dump_json().encode())
        return self._resolution(kept)

    def _fresh(self, kept: _Kept) -> bool:
        return 0 <= self.clock() - kept.made_at < self.max_age_s

    def _resolution(self, kept: _Kept) -> Resolution:
        return Resolution(lines=kept.lines, good_until=kept.made_at + self.max_age_s)


def _key(requirements: tuple[str, ...], solver: Solver) -> str:
    parts = [_LAYOUT, requirements, solver.interpreter.model_dump(mode="json"), solver.installer.version]
    channels = solver.conda.channels if solver.conda is not None else ()
    text = json.dumps([*parts, resolution_settings(solver.installer.env), channels], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _read(path: Path) -> _Kept | None:
    try:
        return _Kept.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None
