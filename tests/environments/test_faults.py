"""Faults of disk and network, for real."""

import asyncio
import os
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from stepflow_python.environments.cache import CacheOptions, EnvironmentCache
from stepflow_python.errors import EnvironmentUnavailableError
from stepflow_python.model.environment import Environment, PipConfig
from stepflow_python.ports import EnvironmentSpec

MakeWheel = Callable[..., Path]
MIB = 1024 * 1024


async def _settled(cache: EnvironmentCache, *requirements: str) -> Environment:
    environment = await cache.ensure(EnvironmentSpec(requirements=requirements))
    await cache.settle()
    return environment


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MiB."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small disk")
    path = tmp_path / "small"
    path.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=4m", "small", path]
    if subprocess.run(command, check=False, capture_output=True).returncode != 0:
        pytest.skip("no tmpfs may be mounted here")
    try:
        yield path
    finally:
        subprocess.run(["umount", path], check=True)


def test_a_full_disk(small_disk: Path, local_variables: Mapping[str, str], make_wheel: MakeWheel) -> None:
    """The error names the place and is worth another try; nothing half-built stays, and with room it succeeds."""
    make_wheel("apple", files={"apple/__init__.py": "", "apple/data.txt": "x" * 3 * MIB})
    make_wheel("pear")
    variables = {**local_variables, "UV_CACHE_DIR": str(small_disk / "downloads")}
    cache = EnvironmentCache(small_disk / "environments", environ=variables)
    kept = asyncio.run(_settled(cache, "pear"))
    ballast = small_disk / "ballast"
    ballast.write_bytes(b"x" * 2 * MIB)
    with pytest.raises(EnvironmentUnavailableError, match=r"(?i)no space left|space in") as caught:
        asyncio.run(_settled(cache, "apple"))
    assert caught.value.retryable
    assert asyncio.run(cache.list()) == (kept,)
    assert {path.name for path in cache.path.glob("cp*")} == {kept.id}
    ballast.unlink()
    environment = asyncio.run(_settled(cache, "apple"))
    assert (environment.site_packages / "apple" / "data.txt").stat().st_size == 3 * MIB


def test_without_its_registry_what_is_cached_is_installed(tmp_path: Path, variables: Mapping[str, str]) -> None:
    """A removed environment is built again from its lock and the cached wheels; something new is a clear error."""
    options = CacheOptions(pip=PipConfig(retries=0))
    path = tmp_path / "environments"
    built = asyncio.run(_settled(EnvironmentCache(path, environ=variables, options=options), "six", "idna"))
    away = {**variables, **dict.fromkeys(("https_proxy", "HTTPS_PROXY", "ALL_PROXY"), "http://127.0.0.1:9")}
    cache = EnvironmentCache(path, environ=away, options=options)
    asyncio.run(cache.remove(built.id))
    assert asyncio.run(_settled(cache, "six", "idna")) == built
    with pytest.raises(EnvironmentUnavailableError, match=r"resolving tomli==1\.2\.3: the registry cannot be reached"):
        asyncio.run(_settled(cache, "tomli==1.2.3"))


def test_a_locked_wheel_that_is_nowhere(tmp_path: Path, variables: Mapping[str, str]) -> None:
    """Resolved before, but neither cached nor to be fetched: the installer's words say which."""
    options = CacheOptions(pip=PipConfig(retries=0))
    path = tmp_path / "environments"
    built = asyncio.run(_settled(EnvironmentCache(path, environ=variables, options=options), "six"))
    away = {**variables, "UV_CACHE_DIR": str(tmp_path / "empty")}
    away |= dict.fromkeys(("https_proxy", "HTTPS_PROXY", "ALL_PROXY"), "http://127.0.0.1:9")
    cache = EnvironmentCache(path, environ=away, options=options)
    asyncio.run(cache.remove(built.id))
    with pytest.raises(EnvironmentUnavailableError, match="six"):
        asyncio.run(_settled(cache, "six"))
    assert not list(path.glob("cp*"))


def test_fifty_tools_with_ten_sets_make_ten(local_cache: EnvironmentCache, make_wheel: MakeWheel) -> None:
    """All at once; each set is built by whoever comes first."""
    names = [f"fruit{number}" for number in range(10)]
    for name in names:
        make_wheel(name)

    async def main() -> tuple[Environment, ...]:
        specs = (EnvironmentSpec(requirements=(names[tool % 10],)) for tool in range(50))
        found = await asyncio.gather(*(local_cache.ensure(spec) for spec in specs))
        await local_cache.settle()
        return tuple(found)

    found = asyncio.run(main())
    assert len(set(found)) == 10
    assert set(asyncio.run(local_cache.list())) == set(found)
