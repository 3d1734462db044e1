"""Finds an environment by its content, or builds it."""

import contextlib
import functools
import importlib.metadata
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import uv

from stepflow_python.environments import folder
from stepflow_python.environments.allowed import Allowed
from stepflow_python.environments.build import Plan, build
from stepflow_python.environments.bytecode import BytecodeStore
from stepflow_python.environments.care import Care
from stepflow_python.environments.conda import Conda
from stepflow_python.environments.content import environment_id, is_environment_id, key_text
from stepflow_python.environments.exclusive import exclusive
from stepflow_python.environments.failures import translated
from stepflow_python.environments.installer import Installer
from stepflow_python.environments.installer_env import installer_environment, package_sources
from stepflow_python.environments.interpreters import Interpreter, Interpreters
from stepflow_python.environments.leases import Leases
from stepflow_python.environments.locked import conda_package
from stepflow_python.environments.places import Places
from stepflow_python.environments.recall import Recall
from stepflow_python.environments.removal import Removal
from stepflow_python.environments.resolution import Resolution, Resolver
from stepflow_python.environments.solving import Solver
from stepflow_python.environments.surplus import Limits
from stepflow_python.environments.threads import in_thread
from stepflow_python.environments.wheels import Wheels
from stepflow_python.errors import EnvironmentUnavailableError, PythonEnvironmentError
from stepflow_python.model.environment import Environment, EnvironmentId, PipConfig
from stepflow_python.ports import EnvironmentSpec, Progress, Sandbox, Steps, silent

DAY_S = 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheOptions:
    """How environments are found and built; `*_s` in seconds.

    `base_packages` are in every environment. `interpreter_path` is taken whenever it fits what is asked for, and
    `default_python` is the version for those who ask for none. `pip` serves those who bring no package sources.
    `addresses`: requirements may name packages by address; `source_builds`: what has no wheel is built;
    `conda_channels`: where `conda:name` is from, by name or address. What is over the `limits` is removed after a
    build, but for what is in use or was in the last minute.
    """

    base_packages: tuple[str, ...] = ()
    default_python: str | None = None
    interpreter_path: Path | None = None
    addresses: bool = False
    source_builds: bool = False
    conda_channels: tuple[str, ...] = ()
    pip: PipConfig = field(default_factory=PipConfig)
    limits: Limits = field(default_factory=Limits)
    lock_age_s: float = DAY_S
    build_timeout_s: float = 600.0


class EnvironmentCache:
    """Environments in one folder, which any number of processes may share.

    Args:
        path: the folder; made when it is needed.
        environ: variables: where interpreters are, and how the installer reaches its registry.
        options: the rest.
        sandbox: where packages are built from source, if they may be.
        clock: seconds since the epoch, for the age of locks.
    """

    def __init__(
        self,
        path: Path,
        *,
        environ: Mapping[str, str],
        options: CacheOptions | None = None,
        sandbox: Sandbox | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._places = places = Places(root=path.absolute())
        self._environ = dict(environ)
        self._options = options = options or CacheOptions()
        self._clock = clock
        self._sandbox = sandbox if options.source_builds else None
        self._interpreters = Interpreters(
            record=places.scratch / "interpreters.json",
            environ=environ,
            preferred=options.interpreter_path,
            default=options.default_python,
        )
        self._resolver = Resolver(
            folder=places.scratch / "locks",
            max_age_s=options.lock_age_s,
            timeout_s=options.build_timeout_s,
            clock=clock,
        )
        self._recall = Recall(
            environments=places.root, notes=places.scratch / "found", context=self._context(), clock=clock
        )
        self._bytecode = BytecodeStore(folder=places.scratch / "bytecode", timeout_s=options.build_timeout_s)
        self._leases = Leases(folder=places.scratch / "leases")
        self._removal = Removal(
            places=places,
            leases=self._leases,
            bytecode=self._bytecode,
            recall=self._recall,
            installer=self._installer(PipConfig()),
            timeout_s=options.build_timeout_s,
        )
        self._builders: EnvironmentCache | None = None
        self._care = Care(
            bytecode=self._bytecode,
            places=places,
            timeout_s=options.build_timeout_s,
            check=self._removal.sound,
            collect=functools.partial(self._removal.collect, options.limits),
        )

    async def ensure(self, spec: EnvironmentSpec, *, steps: Steps | None = None, refresh: bool = False) -> Environment:
        """The environment of this content, built if it is not there.

        `refresh` resolves the requirements anew, whatever was resolved before. `steps` has `found` where it was there.

        Raises:
            DependencyError: a requirement is malformed, unknown or impossible.
            PythonEnvironmentError: no such interpreter, or it could not be built.
            EnvironmentUnavailableError: it could not be built now: registry, disk, time.
        """
        steps, started = steps or Steps(), time.monotonic()
        installer = self._installer(spec.pip)
        environment = None if refresh else self._recall.get(spec, installer.env)
        if environment is None:
            with translated(self.path):
                environment = await self._find_or_build(spec, installer, steps, refresh=refresh)
        else:
            steps.took("found", started)
        self._care.look_after(environment, steps.progress)
        return environment

    @contextlib.asynccontextmanager
    async def lease(self, environment: Environment) -> AsyncIterator[bool]:
        """Use an environment: nobody removes it meanwhile. False if somebody just has."""
        async with self._leases.take(environment.id):
            yield folder.is_whole(environment)

    async def get(self, environment_id: EnvironmentId) -> Environment:
        """A finished environment by its id.

        Raises:
            PythonEnvironmentError: no such environment; the message names those there are.
        """
        found = folder.read(self._places.of(environment_id)) if is_environment_id(environment_id) else None
        if found is None:
            raise await self._unknown(environment_id)
        return found

    async def repaired(self, environment_id: EnvironmentId, *, progress: Progress = silent) -> Environment:
        """The same, each of its files compared; built anew from its lock if one is missing or changed.

        Raises:
            PythonEnvironmentError: no such environment; or it cannot be built again.
        """
        environment = await self.get(environment_id)
        with translated(self.path):
            sound = await self._removal.sound(environment)
        if sound:
            return environment
        progress(f"{environment_id} is damaged: building it again")
        spec = EnvironmentSpec(lock=tuple(environment.lock.splitlines()), python=f"=={environment.python_version}")
        return await self.ensure(spec, steps=Steps(progress=progress))

    async def list(self) -> tuple[Environment, ...]:
        """All finished environments, by id."""
        with translated(self.path):
            return await in_thread(self._removal.all)

    def ids(self) -> frozenset[EnvironmentId]:
        """Ids of all finished environments; a quick look at the folder."""
        with translated(self.path):
            return self._removal.ids()

    async def remove(self, environment_id: EnvironmentId) -> None:
        """Remove one, finished or not.

        Raises:
            PythonEnvironmentError: it is in use; or there is none, and the message names those there are.
        """
        with translated(self.path):
            if not is_environment_id(environment_id) or not self._places.of(environment_id).is_dir():
                raise await self._unknown(environment_id)
            if not await self._removal.remove(environment_id):
                raise PythonEnvironmentError(f"environment {environment_id} is in use; remove it when its runs ended")

    async def collect(self, limits: Limits) -> tuple[EnvironmentId, ...]:
        """Remove the least recently used ones over the limits, none in use; those that are removed."""
        with translated(self.path):
            return await self._removal.collect(limits, spared_s=0)

    async def expire(self, unused_s: float) -> tuple[EnvironmentId, ...]:
        """Remove all that nobody used for so many seconds, none in use; those that are removed."""
        with translated(self.path):
            return await self._removal.expire(unused_s)

    async def interpreters(self) -> tuple[Interpreter, ...]:
        """The interpreters there are, the default first."""
        with translated(self.path):
            return await self._interpreters.all()

    async def settle(self) -> None:
        """Wait for what is still done in the background: bytecode, comparing files, removing surplus."""
        await self._care.settle()
        if self._builders is not None:
            await self._builders.settle()

    def build_times(self, environment_id: EnvironmentId) -> dict[str, float]:
        """How long each step of its build took, in ms; what was resolved before has no `resolving`."""
        return folder.build_times(self._places.of(environment_id))

    def last_used(self, environment_id: EnvironmentId) -> float:
        """When it was last used, in seconds since the epoch."""
        return self._removal.last_used(environment_id)

    def at(self, path: Path, limits: Limits | None = None) -> "EnvironmentCache":
        """The same in another folder, with limits of its own if they are given."""
        options = self._options if limits is None else replace(self._options, limits=limits)
        return EnvironmentCache(path, environ=self._environ, options=options, sandbox=self._sandbox, clock=self._clock)

    @property
    def limits(self) -> Limits:
        """What is over these is removed after a build."""
        return self._options.limits

    @property
    def path(self) -> Path:
        """The folder of the environments."""
        return self._places.root

    async def _find_or_build(
        self, spec: EnvironmentSpec, installer: Installer, steps: Steps, *, refresh: bool
    ) -> Environment:
        interpreter = await self._interpreters.select(spec.python)
        wheels = self._wheels(spec.pip)
        allowed = Allowed(
            base_packages=self._options.base_packages,
            addresses=self._options.addresses,
            builds=wheels is not None,
            conda=self._conda(installer),
        )
        if spec.lock is None:
            requirements = allowed.requirements(spec, python=interpreter.version)
            solver = Solver(
                interpreter=interpreter, installer=installer, wheels=wheels, conda=allowed.conda, steps=steps
            )
            resolution = await self._resolver.resolve(requirements, solver, refresh=refresh)
        else:
            resolution = Resolution(lines=allowed.lock(spec.lock), good_until=float("inf"))
        plan, started = self._plan(interpreter, resolution, installer), time.monotonic()
        environment = folder.read(plan.path)
        if environment is None or not await self._removal.folders_sound(environment):
            environment = await self._build(plan, steps, wheels)
        else:
            steps.took("found", started)
        good_until = min(resolution.good_until, self._clock() + self._options.lock_age_s)
        self._recall.put(spec, installer.env, environment, good_until)
        return environment

    def _conda(self, installer: Installer) -> Conda | None:
        """Takes packages from channels; none where there are none."""
        if not self._options.conda_channels:
            return None
        return Conda(
            channels=self._options.conda_channels,
            folder=self._places.conda,
            env=installer.env,
            timeout_s=self._options.build_timeout_s,
        )

    def _wheels(self, pip: PipConfig) -> Wheels | None:
        """Builds what has no wheel, in environments of wheels only; none where that is not allowed."""
        if self._sandbox is None:
            return None
        return Wheels(
            folder=self._places.wheels,
            sandbox=self._sandbox,
            environment_of=functools.partial(self._for_building, pip=pip),
            timeout_s=self._options.build_timeout_s,
        )

    @contextlib.asynccontextmanager
    async def _for_building(
        self, requirements: tuple[str, ...], python: str, *, pip: PipConfig
    ) -> AsyncIterator[Environment]:
        if self._builders is None:
            options = replace(self._options, base_packages=(), addresses=False, source_builds=False, conda_channels=())
            self._builders = EnvironmentCache(self.path, environ=self._environ, options=options, clock=self._clock)
        spec = EnvironmentSpec(requirements=requirements, python=python, pip=pip)
        while True:
            environment = await self._builders.ensure(spec)
            async with self._builders.lease(environment) as there:
                if there:
                    yield environment
                    return

    async def _build(self, plan: Plan, steps: Steps, wheels: Wheels | None) -> Environment:
        started = time.monotonic()
        async with exclusive(self._places.lock_of(plan.id), timeout_s=self._options.build_timeout_s) as hold:
            # Whoever held the lock before us may just have built it.
            environment = folder.read(plan.path)
            if environment is None:
                lines = tuple(line for line in plan.lock if conda_package(line) is None)
                if wheels is not None:
                    lines = await wheels.installable(lines, plan.interpreter, plan.installer, steps)
                async with self._removal.unused(plan.id):
                    environment = await build(plan, lines, hold=hold, steps=steps)
            else:
                steps.took("waiting", started)
        self._care.tidy()
        return environment

    def _context(self) -> tuple[str, ...]:
        options = self._options
        asked = (
            options.base_packages,
            options.default_python,
            options.interpreter_path,
            options.lock_age_s,
            options.addresses,
            self._sandbox is not None,
            options.conda_channels,
        )
        return (*map(str, asked), *map(str, sorted(self._search_places().items())), *_tools())

    def _search_places(self) -> dict[str, str]:
        names = ("PATH", "HOME", "PYENV_ROOT", "XDG_DATA_HOME", "UV_PYTHON_INSTALL_DIR")
        return {name: self._environ[name] for name in names if name in self._environ}

    def _installer(self, pip: PipConfig) -> Installer:
        return self._usual_installer if pip == PipConfig() else self._installer_from(pip)

    @functools.cached_property
    def _usual_installer(self) -> Installer:
        return self._installer_from(self._options.pip)

    def _installer_from(self, pip: PipConfig) -> Installer:
        return Installer(
            program=_installer_program(),
            version=_version("uv"),
            env=installer_environment(self._environ, pip, cache=self._places.downloads),
            folder=self._places.scratch,
            timeout_s=self._options.build_timeout_s,
        )

    def _plan(self, interpreter: Interpreter, resolution: Resolution, installer: Installer) -> Plan:
        sources = package_sources(installer.env)
        key = key_text(interpreter, resolution.lines, package_sources=sources, tools=_tools())
        name = environment_id(interpreter.tag, key)
        return Plan(
            id=name,
            key=key,
            path=self._places.of(name),
            interpreter=interpreter,
            lock=resolution.lines,
            installer=installer,
            bytecode=self._bytecode,
            app_data=self._places.scratch / "virtualenv",
            conda=self._conda(installer),
        )

    async def _unknown(self, environment_id: str) -> PythonEnvironmentError:
        there = ", ".join(environment.id for environment in await self.list()) or "none"
        return PythonEnvironmentError(f"no environment {environment_id[:80]!r}; there are: {there}")


def _tools() -> tuple[str, ...]:
    return f"virtualenv {_version('virtualenv')}", f"uv {_version('uv')}"


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
