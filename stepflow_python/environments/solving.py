"""Requirements to the lines of a lock; what has no wheel is built on the way, where that is allowed."""

from dataclasses import dataclass
from typing import cast

from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from stepflow_python.environments.conda import Conda
from stepflow_python.environments.failures import NoWheelError
from stepflow_python.environments.installer import Installer
from stepflow_python.environments.interpreters import Interpreter
from stepflow_python.environments.locked import locked_package
from stepflow_python.environments.requirements import CONDA
from stepflow_python.environments.sources import Source, SourceKind, source_of
from stepflow_python.environments.wheels import Wheel, Wheels
from stepflow_python.errors import DependencyError
from stepflow_python.ports import Steps


@dataclass(frozen=True, slots=True, kw_only=True)
class Solver:
    """Solves for one interpreter; without `wheels` nothing is built, without `conda` there are no channels."""

    interpreter: Interpreter
    installer: Installer
    wheels: Wheels | None
    conda: Conda | None
    steps: Steps

    async def lock(self, requirements: tuple[str, ...], *, refresh: bool) -> tuple[str, ...]:
        """The lock of checked requirements: what is from the registry first, then what is from channels.

        Raises:
            DependencyError: no solution, or something could not be built.
            EnvironmentUnavailableError: the registry, or another place, cannot be reached.
        """
        channel = tuple(line for line in requirements if line.startswith(CONDA))
        if not channel or self.conda is None:
            return await self._from_registry(requirements, refresh=refresh)
        with self.steps.step(f"resolving {', '.join(channel)}"):
            linked = await self.conda.lock(channel, self.interpreter, refresh=refresh)
        registry = tuple(line for line in requirements if line not in channel)
        installed = await self._from_registry(registry, refresh=refresh) if registry else ()
        there = {canonicalize_name(locked_package(line).name) for line in linked}
        twice = [locked_package(line).name for line in installed if locked_package(line).name in there]
        if twice:
            raise DependencyError(
                f"{', '.join(twice)}: needed from the registry by one requirement and from conda by another; "
                f"take what needs it from conda too, such as 'conda:{twice[0]}'"
            )
        return (*installed, *linked)

    async def _from_registry(self, requirements: tuple[str, ...], *, refresh: bool) -> tuple[str, ...]:
        wheels = await self._named_by_address(requirements)
        asked = [_by_file(line, wheels.get(line)) for line in requirements if self._applies(line)]
        # Every turn builds something that had no wheel before, so there is an end.
        lines = None
        while lines is None:
            try:
                with self.steps.step(f"resolving {', '.join(requirements)}"):
                    lines = await self.installer.resolve(asked, self.interpreter, refresh=refresh)
            except NoWheelError as error:
                missing = [name for name in error.names if name not in wheels]
                if self.wheels is None or not missing:
                    raise
                for name in missing:
                    wheels[name] = wheel = await self._of_source_alone(self.wheels, name, requirements)
                    asked.append(f"{name} @ {wheel.path.as_uri()}")
        by_file = {wheel.path.as_uri(): wheel for wheel in wheels.values()}
        found = (by_file.get(line.partition(" @ ")[2].partition(" --hash")[0]) for line in lines)
        return tuple(wheel.built.line if wheel else line for line, wheel in zip(lines, found, strict=True))

    async def _named_by_address(self, requirements: tuple[str, ...]) -> dict[str, Wheel]:
        """The wheels of what is named by the address of its source, by requirement."""
        built = {}
        for line in requirements:
            requirement = Requirement(line)
            source = source_of(requirement.url or "")
            if source is not None and self.wheels is not None and self._applies(line):
                built[line] = await self._built(self.wheels, requirement.name, source)
        return built

    async def _of_source_alone(self, wheels: Wheels, name: str, requirements: tuple[str, ...]) -> Wheel:
        """The wheel of a distribution of which the registry has nothing but the source."""
        asked = [one for one in map(Requirement, requirements) if one.name == name and one.url is None]
        wanted = name + ",".join(str(one.specifier) for one in asked if one.specifier)
        archive = await self.installer.source_archive(wanted, name, self.interpreter)
        return await self._built(wheels, name, Source(kind=SourceKind.SDIST, sha256=archive.sha256), url=archive.url)

    async def _built(self, wheels: Wheels, name: str, source: Source, *, url: str = "") -> Wheel:
        return await wheels.of(name, source, self.interpreter, self.installer, self.steps, url=url)

    def _applies(self, line: str) -> bool:
        """Whether a source's marker holds; those of others are the resolver's business."""
        requirement = Requirement(line)
        if requirement.marker is None or source_of(requirement.url or "") is None:
            return True
        version = self.interpreter.version
        here = {"python_version": ".".join(version.split(".")[:2]), "python_full_version": version}
        return requirement.marker.evaluate({**cast("dict[str, str]", default_environment()), **here})


def _by_file(line: str, wheel: Wheel | None) -> str:
    """A requirement with the file of its wheel in the place of its source."""
    if wheel is None:
        return line
    requirement = Requirement(line)
    requirement.url = wheel.path.as_uri()
    return str(requirement)
