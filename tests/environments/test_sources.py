"""Where packages may come from."""

import asyncio
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from stepflow_python.environments.cache import CacheOptions, EnvironmentCache
from stepflow_python.errors import DependencyError
from stepflow_python.model.module import DependencySource
from stepflow_python.ports import EnvironmentSpec

MakeWheel = Callable[..., Path]


@pytest.fixture
def open_cache(tmp_path: Path, local_variables: Mapping[str, str]) -> EnvironmentCache:
    """A cache whose operator allows addresses."""
    options = CacheOptions(addresses=True)
    return EnvironmentCache(tmp_path / "environments", environ=local_variables, options=options)


def test_a_wheel_on_this_host(
    tmp_path: Path, open_cache: EnvironmentCache, local_cache: EnvironmentCache, make_wheel: MakeWheel
) -> None:
    """Installed by its hash with what it requires, on record as local; only where the operator allows it."""
    make_wheel("plum")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    wheel = make_wheel("apple", requires=("plum",)).rename(elsewhere / "apple-1.0-py3-none-any.whl")
    spec = EnvironmentSpec(requirements=(f"apple @ {wheel.as_uri()}",))
    with pytest.raises(DependencyError, match="ALLOW_ADDRESSES"):
        asyncio.run(local_cache.ensure(spec))
    environment = asyncio.run(open_cache.ensure(spec))
    packages = [(package.name, package.version, package.source) for package in environment.packages]
    assert packages == [("apple", "1.0", DependencySource.LOCAL), ("plum", "1.0", DependencySource.PYPI)]
    done = subprocess.run([environment.interpreter, "-I", "-c", "import apple, plum"], check=False)
    assert done.returncode == 0
    locked = EnvironmentSpec(lock=tuple(environment.lock.splitlines()))
    assert asyncio.run(open_cache.ensure(locked)) == environment
    with pytest.raises(DependencyError, match="ALLOW_ADDRESSES"):
        asyncio.run(local_cache.ensure(locked))


def test_markers_and_extras(local_cache: EnvironmentCache, make_wheel: MakeWheel) -> None:
    """What does not concern this Python is left out; an extra brings its own."""
    make_wheel("plum")
    make_wheel("apple", requires=("plum; extra == 'jam'",))
    make_wheel("pear")
    spec = EnvironmentSpec(requirements=("apple[jam]", "pear; python_version < '3'"))
    environment = asyncio.run(local_cache.ensure(spec))
    assert [package.name for package in environment.packages] == ["apple", "plum"]


@pytest.mark.parametrize(
    "line",
    ["apple==1.0", "-r /etc/passwd", "apple==1.0 --hash=sha256:00 --index-url=http://x", "apple==1.0 --hash=md5:00"],
)
def test_a_lock_is_versions_with_hashes(local_cache: EnvironmentCache, line: str) -> None:
    """A lock that comes with a request cannot smuggle anything else to the installer."""
    with pytest.raises(DependencyError, match="the lock is not usable"):
        asyncio.run(local_cache.ensure(EnvironmentSpec(lock=(line,))))
