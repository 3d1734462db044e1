"""What requirements and locks may name on this worker."""

from collections.abc import Iterable
from dataclasses import dataclass

from stepflow_python.environments.conda import Conda
from stepflow_python.environments.locked import built_package, locked_package, requirement_of
from stepflow_python.environments.requirements import checked, name_of
from stepflow_python.errors import DependencyError, PythonEnvironmentError
from stepflow_python.parsing.inference import inferred_requirements
from stepflow_python.ports import EnvironmentSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowed:
    """The operator's settings: `base_packages` are in every environment; the rest is what may be named beside names."""

    base_packages: tuple[str, ...]
    addresses: bool
    builds: bool
    conda: Conda | None

    def requirements(self, spec: EnvironmentSpec, *, python: str) -> tuple[str, ...]:
        """All checked requirements of a spec: base packages, its own, and those of its imports.

        Args:
            spec: what is asked for.
            python: full version of the interpreter.

        Raises:
            DependencyError: one is malformed, not allowed, or cannot be inferred.
        """
        requirements = self._checked((*self.base_packages, *spec.requirements))
        provided = {name_of(line) for line in requirements}
        found = inferred_requirements(spec.imports, python=python, provided=provided)
        return self._checked((*requirements, *(name for name in found if name not in provided)))

    def lock(self, lines: tuple[str, ...]) -> tuple[str, ...]:
        """The lines of a lock that came from outside: versions with hashes, and of places that are allowed.

        Raises:
            DependencyError: a line is anything else.
        """
        try:
            packages = {line: locked_package(line) for line in lines}
            self._checked(map(requirement_of, lines))
            built = [line for line in lines if built_package(line) is not None]
        except PythonEnvironmentError as error:
            raise DependencyError(f"the lock is not usable: {error}") from error
        if built and not self.builds:
            raise DependencyError(f"the lock has {built[0]!r}; have the operator set ALLOW_SOURCE_BUILDS")
        if self.conda is not None:
            self.conda.check(lines)
        return tuple(sorted(packages, key=lambda line: packages[line].name))

    def _checked(self, lines: Iterable[str]) -> tuple[str, ...]:
        return checked(lines, addresses=self.addresses, builds=self.builds, conda=self.conda is not None)
