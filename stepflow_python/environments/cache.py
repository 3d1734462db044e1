"""Finds an environment by its content, or builds it."""

import functools
import importlib.metadata
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import uv

from stepflow_python.environments import folder
from stepflow_python.environments.build import Plan, build
from stepflow_python.environments.content import environment_id, is_environment_id, key_text
from stepflow_python.environments.exclusive import exclusive
from stepflow_python.environments.failures import translated
from stepflow_python.environments.installer import Installer
from stepflow_python.environments.installer_env import installer_environment, package_sources
from stepflow_python.environments.interpreters import Interpreter, Interpreters
from stepflow_python.environments.requirements import checked
from stepflow_python.environments.resolution import Resolution, Resolver
from stepflow_python.environments.threads import in_thread
from stepflow_python.errors import EnvironmentUnavailableError, PythonEnvironmentError
from stepflow_python.model.environment import Environment, EnvironmentId, PipConfig
from stepflow_python.ports import EnvironmentSpec, Progress, silent

DAY_S = 86_400.0
_REMEMBERED = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheOptions:
    """How environments are found and built; `*_s` in seconds.

    `base_packages` are in every environment. `interpreter_path` is taken whenever it fits what is asked for, and
    `default_python` is the version for those who ask for none. `pip` serves those who bring no package sources.
    """

    base_packages: tuple[str, ...] = ()
    default_python: str | None = None
    interpreter_path: Path | None = None
    pip: PipConfig = field(default_factory=PipConfig)
    lock_age_s: float = DAY_S
    build_timeout_s: float = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Remembered:
    environment: Environment
    good_until: float


class EnvironmentCache:
    """Environments in one folder, which any number of processes may share.

    Args:
        path: the folder; made when it is needed.
        environ: variables: where interpreters are, and how the installer reaches its registry.
        options: the rest.
        clock: seconds since the epoch, for the age of locks.
    """

    def __init__(
        self,
        path: Path,
        *,
        environ: Mapping[str, str],
        options: CacheOptions | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._path = path.absolute()
        self._environ = dict(environ)
        self._options = options or CacheOptions()
        self._clock = clock
        self._scratch = self._path / ".cache"
        self._interpreters = Interpreters(
            record=self._scratch / "interpreters.json",
            environ=environ,
            preferred=self._options.interpreter_path,
            default=self._options.default_python,
        )
        self._resolver = Resolver(
            folder=self._scratch / "locks",
            max_age_s=self._options.lock_age_s,
            timeout_s=self._options.build_timeout_s,
            clock=clock,
        )
        self._known: dict[EnvironmentSpec, _Remembered] = {}

    async def ensure(self, spec: EnvironmentSpec, *, progress: Progress = silent, refresh: bool = False) -> Environment:
        """The environment of this content, built if it is not there.

        `refresh` resolves the requirements anew, whatever was resolved before.

        Raises:
            DependencyError: a requirement is malformed, unknown or impossible.
            PythonEnvironmentError: no such interpreter, or it could not be built.
            EnvironmentUnavailableError: it could not be built now: registry, disk, time.
        """
        if not refresh and (known := self._recall(spec)) is not None:
            return known
        requirements = checked((*self._options.base_packages, *spec.requirements))
        with translated(self._path):
            interpreter = await self._interpreters.select(spec.python)
            installer = self._installer(spec.pip)
            resolution = await self._resolver.resolve(
                requirements, interpreter, installer, refresh=refresh, progress=progress
            )
            plan = self._plan(interpreter, resolution, installer)
            environment = folder.read(plan.path) or await self._build(plan, progress)
        self._remember(spec, environment, resolution)
        return environment

    async def get(self, environment_id: EnvironmentId) -> Environment:
        """A finished environment by its id.

        Raises:
            PythonEnvironmentError: no such environment; the message names those there are.
        """
        found = folder.read(self._path / environment_id) if is_environment_id(environment_id) else None
        if found is None:
            raise await self._unknown(environment_id)
        return found

    async def list(self) -> tuple[Environment, ...]:
        """All finished environments, by id."""
        with translated(self._path):
            return await in_thread(self._list)

    async def remove(self, environment_id: EnvironmentId) -> None:
        """Remove one, finished or not.

        Raises:
            PythonEnvironmentError: no such environment; the message names those there are.
        """
        path = self._path / environment_id
        with translated(self._path):
            if not is_environment_id(environment_id) or not path.is_dir():
                raise await self._unknown(environment_id)
            async with exclusive(self._lock(environment_id), timeout_s=self._options.build_timeout_s):
                await in_thread(folder.erase, path)

    async def interpreters(self) -> tuple[Interpreter, ...]:
        """The interpreters there are, the default first."""
        with translated(self._path):
            return await self._interpreters.all()

    def at(self, path: Path) -> "EnvironmentCache":
        """The same in another folder."""
        return EnvironmentCache(path, environ=self._environ, options=self._options, clock=self._clock)

    @property
    def path(self) -> Path:
        """The folder of the environments."""
        return self._path

    def _recall(self, spec: EnvironmentSpec) -> Environment | None:
        known = self._known.get(spec)
        if known is None or self._clock() >= known.good_until or not folder.is_whole(known.environment):
            return None
        return known.environment

    def _remember(self, spec: EnvironmentSpec, environment: Environment, resolution: Resolution) -> None:
        if len(self._known) >= _REMEMBERED:
            self._known.pop(next(iter(self._known)))
        self._known[spec] = _Remembered(environment=environment, good_until=resolution.good_until)

    def _installer(self, pip: PipConfig) -> Installer:
        sources = self._options.pip if pip == PipConfig() else pip
        return Installer(
            program=_installer_program(),
            version=_version("uv"),
            # A cache of our own: files are shared with it by hard links and made read-only, which must not reach
            # into the user's other environments, nor their edits into ours.
            env=installer_environment(self._environ, sources, cache=self._scratch / "uv"),
            folder=self._scratch,
            timeout_s=self._options.build_timeout_s,
        )

    def _plan(self, interpreter: Interpreter, resolution: Resolution, installer: Installer) -> Plan:
        tools = (f"virtualenv {_version('virtualenv')}", f"uv {installer.version}")
        sources = package_sources(installer.env)
        key = key_text(interpreter, resolution.lines, package_sources=sources, tools=tools)
        name = environment_id(interpreter.tag, key)
        return Plan(
            id=name,
            key=key,
            path=self._path / name,
            interpreter=interpreter,
            lock=resolution.lines,
            installer=installer,
            app_data=self._scratch / "virtualenv",
            timeout_s=self._options.build_timeout_s,
        )

    async def _build(self, plan: Plan, progress: Progress) -> Environment:
        async with exclusive(self._lock(plan.id), timeout_s=self._options.build_timeout_s) as hold:
            # Whoever held the lock before us may just have built it.
            return folder.read(plan.path) or await build(plan, hold=hold, progress=progress)

    def _lock(self, environment_id: EnvironmentId) -> Path:
        return self._scratch / "builds" / f"{environment_id}.lock"

    def _list(self) -> tuple[Environment, ...]:
        if not self._path.is_dir():
            return ()
        paths = sorted(path for path in self._path.iterdir() if is_environment_id(path.name))
        return tuple(found for path in paths if (found := folder.read(path)) is not None)

    async def _unknown(self, environment_id: str) -> PythonEnvironmentError:
        there = ", ".join(environment.id for environment in await self.list()) or "none"
        return PythonEnvironmentError(f"no environment {environment_id[:80]!r}; there are: {there}")


@functools.cache
def _version(distribution: str) -> str:
    """Read once: it costs half a millisecond, a quarter of what a warm start may take."""
    return importlib.metadata.version(distribution)


@functools.cache
def _installer_program() -> Path:
    try:
        return Path(uv.find_uv_bin())
    except FileNotFoundError as error:
        raise EnvironmentUnavailableError("the installer is missing; reinstall it with `pip install uv`") from error
