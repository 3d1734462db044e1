"""The public interface to virtualenvs."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from stepflow_python.environments.cache import EnvironmentCache
from stepflow_python.environments.service import VirtualEnvironments
from stepflow_python.errors import DependencyError, PythonEnvironmentError
from stepflow_python.model.environment import EnvironmentConfig, EnvironmentId
from stepflow_python.model.module import Dependency, DependencySource

if TYPE_CHECKING:
    from stepflow_python.ports import PythonEnvironment

MakeWheel = Callable[..., Path]


@pytest.fixture
def service(local_cache: EnvironmentCache, make_wheel: MakeWheel) -> VirtualEnvironments:
    """Over a shelf with two apples and a pear."""
    make_wheel("apple", "1.0")
    make_wheel("apple", "2.0")
    make_wheel("pear")
    return VirtualEnvironments(local_cache)


def test_create_and_activate(service: VirtualEnvironments) -> None:
    """The same configuration twice gives the same id, whose environment is whole."""
    public: PythonEnvironment = service
    config = EnvironmentConfig(base_packages=("apple",))
    first = asyncio.run(public.create_environment(config))
    assert asyncio.run(public.create_environment(config)) == first
    environment = asyncio.run(public.activate_environment(first))
    assert [(one.name, one.version) for one in environment.packages] == [("apple", "2.0")]


def test_installing_gives_another_environment(service: VirtualEnvironments) -> None:
    """The first stays as it is; in the second what was installed keeps its version."""
    first = asyncio.run(service.create_environment(EnvironmentConfig(base_packages=("apple<2",))))
    second = asyncio.run(service.install_dependencies(first, [Dependency(name="pear", version=">=1")]))
    assert second != first
    packages = asyncio.run(service.activate_environment(second)).packages
    assert [(one.name, one.version) for one in packages] == [("apple", "1.0"), ("pear", "1.0")]
    assert len(asyncio.run(service.activate_environment(first)).packages) == 1


def test_nothing_to_add_is_the_same_environment(service: VirtualEnvironments) -> None:
    """A dependency that is there already changes nothing."""
    first = asyncio.run(service.create_environment(EnvironmentConfig(base_packages=("apple",))))
    again = [Dependency(name="apple", requirements=("apple>=1",))]
    assert asyncio.run(service.install_dependencies(first, again)) == first


def test_a_contradiction_with_what_is_there_is_told(service: VirtualEnvironments) -> None:
    """The message names both versions."""
    first = asyncio.run(service.create_environment(EnvironmentConfig(base_packages=("apple==1.0",))))
    with pytest.raises(DependencyError, match=r"apple==1\.0 and apple==2\.0"):
        asyncio.run(service.install_dependencies(first, [Dependency(name="apple", version="==2.0")]))


@pytest.mark.parametrize("source", [DependencySource.CONDA, DependencySource.GIT, DependencySource.LOCAL])
def test_other_sources_are_refused(service: VirtualEnvironments, source: DependencySource) -> None:
    """What cannot be installed is said, not guessed onto the registry."""
    first = asyncio.run(service.create_environment(EnvironmentConfig()))
    with pytest.raises(DependencyError, match=f"pear.* from {source}"):
        asyncio.run(service.install_dependencies(first, [Dependency(name="pear", source=source)]))


def test_a_folder_of_its_own(tmp_path: Path, service: VirtualEnvironments) -> None:
    """A configuration may name where its environments are; they are found there by their id alone."""
    elsewhere = tmp_path / "elsewhere"
    made = asyncio.run(service.create_environment(EnvironmentConfig(virtual_env_path=elsewhere)))
    environment = asyncio.run(service.activate_environment(made))
    assert environment.path == elsewhere / made
    asyncio.run(service.cleanup_environment(made))
    assert not environment.path.exists()


def test_cleaned_up_is_unknown(service: VirtualEnvironments) -> None:
    """An id that is gone, or never was, is an error that names those there are."""
    kept = asyncio.run(service.create_environment(EnvironmentConfig()))
    gone = asyncio.run(service.create_environment(EnvironmentConfig(base_packages=("pear",))))
    asyncio.run(service.cleanup_environment(gone))
    for unknown in (gone, EnvironmentId("../x")):
        for method in (service.activate_environment, service.cleanup_environment):
            with pytest.raises(PythonEnvironmentError, match=kept):
                asyncio.run(method(unknown))
