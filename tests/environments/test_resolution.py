"""Locks that are kept."""

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from stepflow_python.environments.cache import DAY_S, CacheOptions, EnvironmentCache
from stepflow_python.errors import DependencyError, EnvironmentUnavailableError
from stepflow_python.model.environment import Environment, PipConfig
from stepflow_python.ports import EnvironmentSpec, Steps

MakeWheel = Callable[..., Path]
SPEC = EnvironmentSpec(requirements=("apple",))


class _Clock:
    """Seconds that pass when told to."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


def _version(environment: Environment) -> str:
    (package,) = environment.packages
    return package.version


def test_a_lock_serves_until_its_age(tmp_path: Path, local_variables: Mapping[str, str], make_wheel: MakeWheel) -> None:
    """A new version on the registry is taken after the age limit, or at once when asked to refresh."""
    clock = _Clock()

    def cache() -> EnvironmentCache:
        return EnvironmentCache(tmp_path / "environments", environ=local_variables, clock=clock)

    make_wheel("apple", "1.0")
    first = cache()
    assert _version(asyncio.run(first.ensure(SPEC))) == "1.0"
    make_wheel("apple", "2.0")
    for one in (first, cache()):
        assert _version(asyncio.run(one.ensure(SPEC))) == "1.0"
    clock.now += DAY_S + 1
    for one in (first, cache()):
        assert _version(asyncio.run(one.ensure(SPEC))) == "2.0"
    make_wheel("apple", "3.0")
    assert _version(asyncio.run(first.ensure(SPEC, refresh=True))) == "3.0"
    assert _version(asyncio.run(cache().ensure(SPEC))) == "3.0"


def test_without_its_registry_an_old_lock_serves_on(tmp_path: Path, variables: Mapping[str, str]) -> None:
    """Past its age a lock is used if the registry is away; asked to refresh, the error is told."""
    clock = _Clock()
    options = CacheOptions(pip=PipConfig(retries=0))
    path = tmp_path / "environments"
    spec = EnvironmentSpec(requirements=("six",))
    built = asyncio.run(EnvironmentCache(path, environ=variables, options=options, clock=clock).ensure(spec))
    clock.now += DAY_S + 1
    # A proxy on a closed port, and none of the registry's answers in the installer's own cache.
    away = {**variables, "UV_CACHE_DIR": str(tmp_path / "empty")}
    away |= dict.fromkeys(("https_proxy", "HTTPS_PROXY", "ALL_PROXY"), "http://127.0.0.1:9")
    cache = EnvironmentCache(path, environ=away, options=options, clock=clock)
    said: list[str] = []
    assert asyncio.run(cache.ensure(spec, steps=Steps(progress=said.append))) == built
    assert said[-1] == "the registry is away: using the versions resolved before"
    with pytest.raises(EnvironmentUnavailableError, match="registry cannot be reached"):
        asyncio.run(cache.ensure(spec, refresh=True))


def test_a_damaged_lock_is_made_anew(
    tmp_path: Path, local_cache: EnvironmentCache, local_variables: Mapping[str, str], make_wheel: MakeWheel
) -> None:
    """What stands in the file of a lock is a convenience, never a reason to fail."""
    make_wheel("apple")
    built = asyncio.run(local_cache.ensure(SPEC))
    (lock,) = (tmp_path / "environments" / ".cache" / "locks").glob("*.json")
    lock.write_bytes(b"{]")
    again = EnvironmentCache(tmp_path / "environments", environ=local_variables)
    assert asyncio.run(again.ensure(SPEC)) == built


def test_a_solution_that_is_none_is_not_kept(local_cache: EnvironmentCache, make_wheel: MakeWheel) -> None:
    """A name that is unknown now may be published in a minute."""
    with pytest.raises(DependencyError, match="apple"):
        asyncio.run(local_cache.ensure(SPEC))
    make_wheel("apple")
    assert _version(asyncio.run(local_cache.ensure(SPEC))) == "1.0"
