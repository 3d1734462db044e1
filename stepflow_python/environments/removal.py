"""Removing environments, and finding out which have to go: surplus and damaged ones, never one in use."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from stepflow_python.environments import folder
from stepflow_python.environments.bytecode import BytecodeStore
from stepflow_python.environments.content import is_environment_id
from stepflow_python.environments.exclusive import exclusive
from stepflow_python.environments.installer import Installer
from stepflow_python.environments.inventory import changed_files, changed_folders, is_compiled
from stepflow_python.environments.leases import Leases
from stepflow_python.environments.places import Places
from stepflow_python.environments.recall import Recall
from stepflow_python.environments.surplus import Limits, Size, over_bytes, over_number
from stepflow_python.environments.threads import in_thread
from stepflow_python.model.environment import Environment, EnvironmentId

SPARED_S = 60.0
"""Whoever has just found or built an environment is about to use it."""
_PAUSE_S = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Removal:
    """Takes environments away; each change under the environment's lock."""

    places: Places
    leases: Leases
    bytecode: BytecodeStore
    recall: Recall
    installer: Installer
    timeout_s: float

    def all(self) -> tuple[Environment, ...]:
        """All finished environments, by id."""
        root = self.places.root
        if not root.is_dir():
            return ()
        paths = sorted(path for path in root.iterdir() if is_environment_id(path.name))
        return tuple(found for path in paths if (found := folder.read(path)) is not None)

    def ids(self) -> frozenset[EnvironmentId]:
        """Ids of all that have a marker; nothing is read."""
        root = self.places.root
        if not root.is_dir():
            return frozenset()
        names = (path.name for path in root.iterdir() if (path / folder.MARKER).exists())
        return frozenset(EnvironmentId(name) for name in names if is_environment_id(name))

    def last_used(self, environment_id: EnvironmentId) -> float:
        """When a use began or ended, or it was built, in seconds since the epoch."""
        try:
            built = (self.places.of(environment_id) / folder.MARKER).stat().st_mtime
        except OSError:
            built = 0.0
        return max(built, self.leases.last_used(environment_id))

    async def remove(self, environment_id: EnvironmentId) -> bool:
        """Remove one, finished or not; false if it is in use."""
        async with exclusive(self.places.lock_of(environment_id), timeout_s=self.timeout_s):
            with self.leases.unused(environment_id) as unused:
                if unused:
                    self.recall.forget(environment_id)
                    await in_thread(folder.erase, self.places.of(environment_id))
                return unused

    @contextlib.asynccontextmanager
    async def unused(self, environment_id: EnvironmentId) -> AsyncIterator[None]:
        """Wait until the last user of a condemned environment has gone, and keep others away.

        Raises:
            TimeoutError: it was in use all the time.
        """
        deadline = time.monotonic() + self.timeout_s
        while True:
            with self.leases.unused(environment_id) as unused:
                if unused:
                    yield
                    return
            if time.monotonic() >= deadline:
                raise TimeoutError(f"{environment_id} is damaged, and was in use for {self.timeout_s:g} s")
            await asyncio.sleep(_PAUSE_S)

    async def collect(self, limits: Limits, *, spared_s: float = SPARED_S) -> tuple[EnvironmentId, ...]:
        """Remove the least recently used ones over the limits; those that are removed.

        One in use stays, and so does one that was used in the last `spared_s` seconds.
        """
        if limits == Limits():
            return ()
        return await self._remove_unused(await in_thread(self._surplus, limits), spared_s)

    async def expire(self, unused_s: float) -> tuple[EnvironmentId, ...]:
        """Remove all that were not used for so long, never less than `SPARED_S`, nor one in use; those removed."""
        return await self._remove_unused(await in_thread(self.all), max(unused_s, SPARED_S))

    async def _remove_unused(self, candidates: Sequence[Environment], unused_s: float) -> tuple[EnvironmentId, ...]:
        used_before = time.time() - unused_s
        removed = [
            environment.id
            for environment in candidates
            if self.last_used(environment.id) <= used_before and await self.remove(environment.id)
        ]
        if removed:
            await in_thread(self.bytecode.prune)
        return tuple(removed)

    def _surplus(self, limits: Limits) -> tuple[Environment, ...]:
        oldest_first = sorted(self.all(), key=lambda environment: self.last_used(environment.id))
        gone = over_number(oldest_first, limits.environments)
        if limits.bytes is None:
            return gone
        stay = oldest_first[len(gone) :]
        sizes = [Size.of(environment.path) for environment in stay]
        return (*gone, *over_bytes(stay, sizes, limits.bytes))

    async def sound(self, environment: Environment) -> bool:
        """Whether no file was changed, removed or added; if one was, the next use builds it anew."""
        return await self._judged(environment, files=True)

    async def folders_sound(self, environment: Environment) -> bool:
        """The same by a quicker look, which misses files that were changed in their place."""
        return await self._judged(environment, files=False)

    async def _judged(self, environment: Environment, *, files: bool) -> bool:
        if not is_compiled(environment.path):
            return True  # not complete yet, or just removed: there is nothing to compare
        suspicious = bool(changed_folders(environment.path))
        if files and not suspicious:
            suspicious = bool(await in_thread(changed_files, environment.path))
        if not suspicious:
            return True
        async with exclusive(self.places.lock_of(environment.id), timeout_s=self.timeout_s):
            # It may have been built anew while we waited.
            changed = await in_thread(_changed, environment.path)
            if changed:
                await self._condemn(environment, changed)
            return not changed

    async def _condemn(self, environment: Environment, changed: tuple[str, ...]) -> None:
        self.recall.forget(environment.id)
        altered = await in_thread(_altered_packages, environment, changed)
        await in_thread(self.bytecode.forget, environment)
        await in_thread(folder.condemn, environment.path)
        if altered:
            # The installer's cache has the same file, and would give it again.
            await self.installer.forget(altered)


def _changed(path: Path) -> tuple[str, ...]:
    return (*changed_folders(path), *changed_files(path))


def _altered_packages(environment: Environment, changed: tuple[str, ...]) -> tuple[str, ...]:
    """Packages of which a file that the installer's cache shares was changed in its place."""
    inside = str(environment.site_packages.relative_to(environment.path)) + "/"
    shared = {name.removeprefix(inside) for name in changed if _is_shared(environment, name)}
    if not shared:
        return ()
    found = set()
    for info in environment.site_packages.glob("*.dist-info"):
        with contextlib.suppress(OSError):
            record = (info / "RECORD").read_text(encoding="utf-8", errors="surrogateescape")
            if any(line.rsplit(",", 2)[0] in shared for line in record.splitlines()):
                found.add(info.name.partition("-")[0])
    return tuple(sorted(found))


def _is_shared(environment: Environment, name: str) -> bool:
    path = environment.path / name
    try:
        return path.is_file() and not path.is_symlink() and path.lstat().st_nlink > 1
    except OSError:
        return False
