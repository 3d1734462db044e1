"""The public interface to virtualenvs, over the same cache that runs use."""

from collections.abc import Sequence

from stepflow_python.environments.cache import EnvironmentCache
from stepflow_python.environments.locked import requirement_of
from stepflow_python.environments.requirements import CONDA
from stepflow_python.environments.surplus import Limits
from stepflow_python.errors import DependencyError, PythonEnvironmentError
from stepflow_python.model.environment import Environment, EnvironmentConfig, EnvironmentId, PipConfig
from stepflow_python.model.module import Dependency, DependencySource
from stepflow_python.ports import EnvironmentSpec


class VirtualEnvironments:
    """Makes, finds and removes virtualenvs; implements `PythonEnvironment`.

    A configuration with a `virtual_env_path` has its environments there instead of in the cache's own folder, and
    `auto_cleanup` and `max_environments` are about those; the cache's own folder has the worker's limits. Package
    sources are remembered for as long as this object lives: their credentials are written nowhere.
    """

    def __init__(self, cache: EnvironmentCache) -> None:
        self._caches = {cache.path: cache}
        self._first = cache
        self._pip: dict[EnvironmentId, PipConfig] = {}

    async def create_environment(self, config: EnvironmentConfig) -> EnvironmentId:
        """Build, or find, the environment of a configuration.

        Raises:
            DependencyError: a base package is malformed, unknown or impossible.
            PythonEnvironmentError: no such interpreter, or it could not be built.
        """
        cache = self._cache(config)
        spec = EnvironmentSpec(requirements=config.base_packages, python=config.python_version, pip=config.pip_config)
        environment = await cache.ensure(spec)
        self._pip[environment.id] = config.pip_config
        return environment.id

    async def activate_environment(self, environment_id: EnvironmentId) -> Environment:
        """The environment, each of its files compared, and built anew from its lock if one is missing or changed.

        Raises:
            PythonEnvironmentError: there is none of this id; the message names those there are.
            EnvironmentUnavailableError: it is damaged and cannot be built now.
        """
        return await (await self._holder(environment_id)).repaired(environment_id)

    async def install_dependencies(
        self, environment_id: EnvironmentId, dependencies: Sequence[Dependency]
    ) -> EnvironmentId:
        """The environment that has these as well: another one, since what is in an environment names it.

        What is installed keeps its version.

        Raises:
            DependencyError: a dependency contradicts what is installed, or is unknown or malformed.
            PythonEnvironmentError: there is no environment of this id.
        """
        cache = await self._holder(environment_id)
        environment = await cache.get(environment_id)
        pip = self._pip.get(environment_id, PipConfig())
        installed = tuple(map(requirement_of, environment.lock.splitlines()))
        added = tuple(line for dependency in dependencies for line in _lines(dependency))
        spec = EnvironmentSpec(requirements=(*installed, *added), python=environment.python_version, pip=pip)
        extended = await cache.ensure(spec)
        self._pip[extended.id] = pip
        return extended.id

    async def cleanup_environment(self, environment_id: EnvironmentId) -> None:
        """Remove an environment.

        Raises:
            PythonEnvironmentError: there is none of this id; the message names those there are.
        """
        await (await self._holder(environment_id)).remove(environment_id)
        self._pip.pop(environment_id, None)

    def _cache(self, config: EnvironmentConfig) -> EnvironmentCache:
        if config.virtual_env_path is None:
            return self._first
        path = config.virtual_env_path.expanduser().absolute()
        limits = Limits(environments=config.max_environments) if config.auto_cleanup else Limits()
        cache = self._caches.get(path)
        if cache is None or cache.limits != limits:
            cache = self._caches[path] = self._first.at(path, limits)
        return cache

    async def _holder(self, environment_id: EnvironmentId) -> EnvironmentCache:
        """The cache that has it; the first one, which says what there is, if none has."""
        for cache in self._caches.values():
            try:
                await cache.get(environment_id)
            except PythonEnvironmentError:
                continue
            return cache
        return self._first


_EXAMPLES = {
    DependencySource.LOCAL: "file:///folder/{name}-1.0-py3-none-any.whl",
    DependencySource.GIT: "git+https://host/{name}@v1.0",
}


def _lines(dependency: Dependency) -> tuple[str, ...]:
    name, source = dependency.name, dependency.source
    if source is DependencySource.CONDA:
        return dependency.requirements or (f"{CONDA}{name}{dependency.version or ''}",)
    lines = dependency.requirements or (f"{name}{dependency.version or ''}",)
    if source in _EXAMPLES and not all("@" in line for line in lines):
        example = _EXAMPLES[source].format(name=name)
        raise DependencyError(f"{name}: packages from {source} need their address, such as `{name} @ {example}`")
    return lines
