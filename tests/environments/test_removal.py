"""What has to go goes, what is in use stays, what was damaged is noticed."""

import asyncio
import os
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from stepflow_python.environments.cache import CacheOptions, EnvironmentCache
from stepflow_python.environments.surplus import Limits, Size
from stepflow_python.errors import PythonEnvironmentError
from stepflow_python.model.environment import Environment
from stepflow_python.ports import EnvironmentSpec

MakeWheel = Callable[..., Path]


async def _settled(cache: EnvironmentCache, *requirements: str) -> Environment:
    environment = await cache.ensure(EnvironmentSpec(requirements=requirements))
    await cache.settle()
    return environment


def _ids(cache: EnvironmentCache) -> set[str]:
    return {environment.id for environment in asyncio.run(cache.list())}


def _used_at(cache: EnvironmentCache, environment: Environment, moment: float) -> None:
    os.utime(environment.path / ".complete", (moment, moment))
    os.utime(cache.path / ".cache" / "leases" / environment.id, (moment, moment))


def _fresh(cache: EnvironmentCache) -> EnvironmentCache:
    return cache.at(cache.path)


def test_the_least_recently_used_goes(local_cache: EnvironmentCache, make_wheel: MakeWheel) -> None:
    """Neither the oldest nor the newest: the one whose last use is longest ago."""
    names = ("apple", "pear", "plum")
    for name in names:
        make_wheel(name)

    async def main() -> tuple[list[Environment], tuple[str, ...]]:
        made = [await _settled(local_cache, name) for name in names]
        for number, environment in enumerate(made):
            _used_at(local_cache, environment, number)
        async with local_cache.lease(made[0]) as there:
            assert there
        return made, await local_cache.collect(Limits(environments=2))

    made, removed = asyncio.run(main())
    assert removed == (made[1].id,)
    assert _ids(local_cache) == {made[0].id, made[2].id}


def test_one_in_use_is_never_removed(local_cache: EnvironmentCache, make_wheel: MakeWheel) -> None:
    """Not by a collection down to nothing in another process, nor by name; afterwards it is."""
    make_wheel("apple")

    async def main() -> None:
        environment = await _settled(local_cache, "apple")
        other = _fresh(local_cache)
        async with local_cache.lease(environment) as there:
            assert there
            assert await other.collect(Limits(environments=0)) == ()
            with pytest.raises(PythonEnvironmentError, match="is in use"):
                await other.remove(environment.id)
        assert await other.collect(Limits(environments=0)) == (environment.id,)
        async with local_cache.lease(environment) as there:
            assert not there

    asyncio.run(main())


def test_eviction_under_load(tmp_path: Path, local_variables: Mapping[str, str], make_wheel: MakeWheel) -> None:
    """While one task removes everything it may, again and again, every user has its files until it is done."""
    names = [f"fruit{number}" for number in range(4)]
    for name in names:
        make_wheel(name)
    cache = EnvironmentCache(tmp_path / "environments", environ=local_variables)
    removed: list[str] = []

    async def use(name: str) -> None:
        for _ in range(5):
            while True:
                environment = await cache.ensure(EnvironmentSpec(requirements=(name,)))
                async with cache.lease(environment) as there:
                    if not there:
                        continue
                    for _ in range(5):
                        assert (environment.site_packages / f"{name}.py").read_text()
                        await asyncio.sleep(0)
                    break

    async def evict(done: asyncio.Event) -> None:
        other = _fresh(cache)
        while not done.is_set():
            removed.extend(await other.collect(Limits(environments=0)))
            await asyncio.sleep(0)

    async def main() -> None:
        done = asyncio.Event()
        evictor = asyncio.create_task(evict(done))
        await asyncio.gather(*(use(name) for name in names))
        done.set()
        await evictor
        await cache.settle()

    asyncio.run(main())
    assert removed


def test_a_build_makes_room(tmp_path: Path, local_variables: Mapping[str, str], make_wheel: MakeWheel) -> None:
    """Over the maximum the old one goes by itself, but not one that was used within the last minute."""
    for name in ("apple", "pear", "plum"):
        make_wheel(name)
    options = CacheOptions(limits=Limits(environments=1))
    cache = EnvironmentCache(tmp_path / "environments", environ=local_variables, options=options)
    apple = asyncio.run(_settled(cache, "apple"))
    pear = asyncio.run(_settled(cache, "pear"))
    assert _ids(cache) == {apple.id, pear.id}
    _used_at(cache, apple, 0)
    plum = asyncio.run(_settled(cache, "plum"))
    assert _ids(cache) == {pear.id, plum.id}


def test_a_byte_budget_counts_shared_files_once(local_cache: EnvironmentCache, make_wheel: MakeWheel) -> None:
    """Two environments with the same large wheel fit where two copies would not."""
    make_wheel("apple", files={"apple.py": "#" * 1_000_000})
    make_wheel("pear")
    first = asyncio.run(_settled(local_cache, "apple"))
    second = asyncio.run(_settled(local_cache, "apple", "pear"))
    sizes = [sum(Size.of(environment.path).files.values()) for environment in (first, second)]
    assert asyncio.run(local_cache.collect(Limits(bytes=sum(sizes) - 500_000))) == ()
    _used_at(local_cache, first, 0)
    assert asyncio.run(local_cache.collect(Limits(bytes=sizes[1]))) == (first.id,)


def _delete(environment: Environment) -> None:
    (environment.site_packages / "apple" / "core.py").unlink()


def _replace(environment: Environment) -> None:
    _delete(environment)
    (environment.site_packages / "apple" / "core.py").write_text("VALUE = 'evil'\n")


def _alter(environment: Environment) -> None:
    core = environment.site_packages / "apple" / "core.py"
    core.chmod(0o644)
    core.write_text("VALUE = 'evil'\n")


@pytest.mark.parametrize("damage", [_delete, _replace, _alter])
def test_activation_repairs(
    local_cache: EnvironmentCache, make_wheel: MakeWheel, damage: Callable[[Environment], None]
) -> None:
    """A deleted, replaced or altered file is noticed, and the environment is built again from its lock.

    Also where the installer's cache shares the altered file.
    """
    make_wheel("apple", files={"apple/__init__.py": "", "apple/core.py": "VALUE = 'good'\n"})
    environment = asyncio.run(_settled(local_cache, "apple"))
    (environment.site_packages / "apple").chmod(0o755)
    damage(environment)
    told: list[str] = []
    repaired = asyncio.run(_fresh(local_cache).repaired(environment.id, progress=told.append))
    assert told[0] == f"{environment.id} is damaged: building it again"
    assert repaired == environment
    assert (environment.site_packages / "apple" / "core.py").read_text() == "VALUE = 'good'\n"
    told.clear()
    asyncio.run(_fresh(local_cache).repaired(environment.id, progress=told.append))
    assert told == []


@pytest.mark.parametrize("damage", [_delete, _replace])
def test_a_new_process_notices_by_itself(
    local_cache: EnvironmentCache, make_wheel: MakeWheel, damage: Callable[[Environment], None]
) -> None:
    """Files that came or went are seen before the environment is given, without anyone asking."""
    make_wheel("apple", files={"apple/__init__.py": "", "apple/core.py": "VALUE = 'good'\n"})
    environment = asyncio.run(_settled(local_cache, "apple"))
    (environment.site_packages / "apple").chmod(0o755)
    damage(environment)
    again = asyncio.run(_settled(_fresh(local_cache), "apple"))
    assert (again.site_packages / "apple" / "core.py").read_text() == "VALUE = 'good'\n"


def test_an_altered_file_is_noticed_beside_the_first_use(
    local_cache: EnvironmentCache, make_wheel: MakeWheel, caplog: pytest.LogCaptureFixture
) -> None:
    """Its time and size are compared in the background; the second use gets a sound environment."""
    make_wheel("apple", files={"apple/__init__.py": "", "apple/core.py": "VALUE = 'good'\n"})
    environment = asyncio.run(_settled(local_cache, "apple"))
    _alter(environment)
    cache = _fresh(local_cache)
    asyncio.run(_settled(cache, "apple"))
    assert "was changed from outside" in caplog.text
    again = asyncio.run(_settled(cache, "apple"))
    assert (again.site_packages / "apple" / "core.py").read_text() == "VALUE = 'good'\n"


def test_one_that_is_removed_is_not_called_damaged(
    local_cache: EnvironmentCache, make_wheel: MakeWheel, caplog: pytest.LogCaptureFixture
) -> None:
    """The comparison that is due finds nothing to compare, and says nothing."""
    make_wheel("apple")
    environment = asyncio.run(_settled(local_cache, "apple"))

    async def main() -> None:
        cache = _fresh(local_cache)
        await cache.ensure(EnvironmentSpec(requirements=("apple",)))
        await cache.remove(environment.id)
        await cache.settle()

    asyncio.run(main())
    assert caplog.text == ""
