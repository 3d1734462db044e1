"""Honest programs: they run like any other test, in the best box that this host offers."""

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from support.attacks import SECURITY
from support.ways import Way, open_way

from stepflow_python.environments.cache import EnvironmentCache
from stepflow_python.errors import PythonError
from stepflow_python.model.environment import Environment
from stepflow_python.model.limits import Limits
from stepflow_python.model.result import SandboxOutcome
from stepflow_python.ports import EnvironmentSpec

Honest = Callable[..., SandboxOutcome]
"""`honest(source, function=None, level="strict", packages=(), memory_mib=512, **fields of the run)`: one run."""


@pytest.fixture(scope="session")
def way(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Way]:
    """The sandbox of this host."""
    with open_way("cold-namespaces", tmp_path_factory.mktemp("honest")) as opened:
        yield opened


@pytest.fixture(scope="session")
def environment_of(way: Way) -> Callable[[tuple[str, ...]], Environment]:
    """An environment with some distributions, made once."""
    made: dict[tuple[str, ...], Environment] = {(): way.environment}
    cache = EnvironmentCache(way.environment.path.parent, environ=os.environ)

    def make(packages: tuple[str, ...]) -> Environment:
        if packages not in made:
            try:
                made[packages] = way.runner.run(cache.ensure(EnvironmentSpec(requirements=packages)))
            except PythonError as error:
                pytest.fail(f"no environment from the registry, which these tests need: {error}")
        return made[packages]

    return make


@pytest.fixture
def honest(way: Way, environment_of: Callable[[tuple[str, ...]], Environment]) -> Honest:
    """Runs an honest program."""

    def run(source: str, function: str | None = None, *, level: str = "strict", **fields: Any) -> SandboxOutcome:
        environment = environment_of(fields.pop("packages", ()))
        limits = Limits(timeout_s=60, cpu_s=60, memory_mib=fields.pop("memory_mib", 512))
        made = way.tool(source, function)
        return way.run(replace(made, environment=environment, security=SECURITY[level], limits=limits, **fields))[0]

    return run
