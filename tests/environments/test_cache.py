"""The cache as runs use it, with packages from the registry."""

import asyncio
import collections
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from pydantic import SecretStr

from stepflow_python.environments import folder
from stepflow_python.environments.cache import CacheOptions, EnvironmentCache
from stepflow_python.errors import DependencyError, EnvironmentUnavailableError, PythonEnvironmentError
from stepflow_python.model.environment import Environment, EnvironmentId, PipConfig
from stepflow_python.ports import EnvironmentSpec, Steps

MakeWheel = Callable[..., Path]
ENSURE_ONCE = Path(__file__).parent / "ensure_once.py"


def _ensure(cache: EnvironmentCache, *requirements: str, python: str | None = None) -> Environment:
    return asyncio.run(cache.ensure(EnvironmentSpec(requirements=requirements, python=python)))


def _run(environment: Environment, code: str) -> str:
    command = [environment.interpreter, "-I", "-c", code]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def test_one_content_is_one_environment(cache: EnvironmentCache) -> None:
    """Two tools that need the same, in whatever order and spelling, share one."""
    first = _ensure(cache, "idna", "six>=1.16", "tomli")
    second = _ensure(cache, "Tomli", "six >= 1.16", "idna", "idna")
    assert first == second
    assert [package.name for package in first.packages] == ["idna", "six", "tomli"]
    assert len(first.lock.splitlines()) == 3
    assert _run(first, "import idna, six, tomli; print(six.__version__)") == first.packages[1].version
    assert asyncio.run(cache.list()) == (first,)
    assert asyncio.run(cache.get(first.id)) == first


def test_every_interpreter_makes_an_environment_that_starts(cache: EnvironmentCache) -> None:
    """Each version found on this machine builds an empty one, isolated, without pip, without the network."""
    for interpreter in asyncio.run(cache.interpreters()):
        environment = _ensure(cache, python=f"=={interpreter.version}")
        code = "import sys; print('%d.%d.%d' % sys.version_info[:3], sys.prefix, sys.base_prefix, sys.path[-1])"
        expected = [
            interpreter.version,
            str(environment.path),
            str(environment.base_prefix),
            str(environment.site_packages),
        ]
        assert _run(environment, code).split() == expected
        assert list(environment.site_packages.iterdir()) == []


def test_finding_again_starts_nothing(tmp_path: Path, cache: EnvironmentCache) -> None:
    """With a PATH of nothing and no registry, what is cached is found by this process and by another."""
    environment = _ensure(cache, "six")
    told: list[str] = []
    spec = EnvironmentSpec(requirements=("six",))
    assert asyncio.run(cache.ensure(spec, steps=Steps(progress=told.append))) == environment
    again = cache.at(tmp_path / "environments")
    assert asyncio.run(again.ensure(spec, steps=Steps(progress=told.append))) == environment
    assert told == []


def test_eight_processes_build_it_once(
    tmp_path: Path, local_variables: Mapping[str, str], make_wheel: MakeWheel
) -> None:
    """Of eight that ask at the same time one resolves and builds; all get the same."""
    make_wheel("apple")
    command = [sys.executable, ENSURE_ONCE, tmp_path / "environments", "apple"]
    workers = [subprocess.Popen(command, env=local_variables, stdout=subprocess.PIPE, text=True) for _ in range(8)]
    said = [line for worker in workers for line in worker.communicate()[0].splitlines()]
    assert [worker.returncode for worker in workers] == [0] * 8
    counts = collections.Counter(line.split()[0] for line in said if not line.startswith("cp"))
    # Several may set out to compile; the lock lets one.
    counts.pop("compiling")
    assert counts == dict.fromkeys(("resolving", "creating", "installing", "sealing"), 1)
    assert len({line for line in said if line.startswith("cp")}) == 1


def test_tasks_and_threads_build_it_once(local_cache: EnvironmentCache, make_wheel: MakeWheel) -> None:
    """Also within one process, on several loops."""
    make_wheel("apple")
    spec = EnvironmentSpec(requirements=("apple",))
    told: list[str] = []
    found: list[Environment] = []

    async def several() -> None:
        found.extend(
            await asyncio.gather(*(local_cache.ensure(spec, steps=Steps(progress=told.append)) for _ in range(3)))
        )

    threads = [threading.Thread(target=lambda: asyncio.run(several())) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 9
    assert len(set(found)) == 1
    assert len([message for message in told if message.startswith("creating")]) == 1


def test_a_damaged_environment_is_built_again(cache: EnvironmentCache) -> None:
    """Without a valid marker a folder is rubbish, also for a process that has used it before."""
    environment = _ensure(cache)
    environment.path.chmod(0o755)
    (environment.path / folder.MARKER).unlink()
    (environment.path / "bin" / "python").unlink()
    with pytest.raises(PythonEnvironmentError, match="there are: none"):
        asyncio.run(cache.get(environment.id))
    assert _ensure(cache) == environment
    assert _run(environment, "print(1)") == "1"


def test_base_packages_are_in_every_environment(
    tmp_path: Path, local_variables: Mapping[str, str], make_wheel: MakeWheel
) -> None:
    """What the operator wants everywhere comes before what the tool declares."""
    make_wheel("apple")
    make_wheel("pear", requires=("plum",))
    make_wheel("plum")
    options = CacheOptions(base_packages=("pear",))
    cache = EnvironmentCache(tmp_path / "environments", environ=local_variables, options=options)
    assert [package.name for package in _ensure(cache, "apple").packages] == ["apple", "pear", "plum"]


def test_an_unknown_package_is_named(cache: EnvironmentCache) -> None:
    """The resolver's own words reach the user."""
    with pytest.raises(DependencyError, match="this-is-no-package-of-anyone was not found in the package registry"):
        _ensure(cache, "this-is-no-package-of-anyone")


def test_a_contradiction_names_both_sides(cache: EnvironmentCache) -> None:
    """Which two requirements cannot both be had is in the message."""
    with pytest.raises(DependencyError) as caught:
        _ensure(cache, "requests==2.32.3", "urllib3<1.20")
    assert "requests==2.32.3 depends on urllib3" in caught.value.message
    assert "urllib3<1.20" in caught.value.message


def test_a_package_without_wheels_is_refused(cache: EnvironmentCache) -> None:
    """Building runs the package's code, so it is not done; the message says what is missing."""
    with pytest.raises(DependencyError, match="no usable wheels"):
        _ensure(cache, "pyspark==3.5.0")


def test_a_registry_that_is_away_may_come_back(tmp_path: Path, variables: Mapping[str, str]) -> None:
    """The error is retryable and holds no credentials; what needs no registry still works."""
    pip = PipConfig(index_url=SecretStr("http://me:hidden@127.0.0.1:9/simple"), retries=0)
    cache = EnvironmentCache(tmp_path / "environments", environ=variables)
    with pytest.raises(EnvironmentUnavailableError, match="registry cannot be reached") as caught:
        asyncio.run(cache.ensure(EnvironmentSpec(requirements=("six",), pip=pip)))
    assert caught.value.retryable
    assert "hidden" not in caught.value.message
    assert asyncio.run(cache.ensure(EnvironmentSpec(pip=pip))).packages == ()
    for path in (tmp_path / "environments").rglob("*"):
        assert not path.is_file() or path.is_symlink() or b"hidden" not in path.read_bytes()


def test_unknown_interpreter(cache: EnvironmentCache) -> None:
    """The message names those there are."""
    running = asyncio.run(cache.interpreters())[0]
    with pytest.raises(PythonEnvironmentError, match=r"no interpreter for Python 3\.99; there are: ") as caught:
        _ensure(cache, python="3.99")
    assert running.version in caught.value.message


@pytest.mark.parametrize("wrong", ["cp311-0123456789abcdef", "../..", "", "/etc", "cp311-0123456789abcdef/../x"])
def test_an_unknown_id_is_refused(tmp_path: Path, cache: EnvironmentCache, wrong: str) -> None:
    """Neither got nor removed, whatever it looks like; the message names those there are."""
    there = _ensure(cache)
    for method in (cache.get, cache.remove):
        with pytest.raises(PythonEnvironmentError, match=there.id):
            asyncio.run(method(EnvironmentId(wrong)))
    assert tmp_path.is_dir()
    assert asyncio.run(cache.list()) == (there,)


def test_removed_is_gone_and_can_be_built_again(local_cache: EnvironmentCache, make_wheel: MakeWheel) -> None:
    """Removal reaches what is remembered too."""
    make_wheel("apple")
    environment = _ensure(local_cache, "apple")
    asyncio.run(local_cache.remove(environment.id))
    assert not environment.path.exists()
    assert asyncio.run(local_cache.list()) == ()
    assert _ensure(local_cache, "apple") == environment
    assert environment.path.exists()


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path, variables: Mapping[str, str]) -> None:
    """A fault of the disk is the platform's, and says where."""
    blocked = tmp_path / "a-file"
    blocked.write_text("")
    cache = EnvironmentCache(blocked / "environments", environ=variables)
    with pytest.raises(EnvironmentUnavailableError, match="a-file"):
        _ensure(cache)


def test_a_project_above_the_folder_changes_nothing(
    shelf: Path, local_variables: Mapping[str, str], make_wheel: MakeWheel
) -> None:
    """Configuration of the installer that lies in a folder above ours is not taken."""
    make_wheel("apple")
    project = shelf.parent / "project"
    project.mkdir()
    (project / "uv.toml").write_text("this is no configuration")
    (project / "pyproject.toml").write_text("[tool.uv]\nconstraint-dependencies = ['apple<1']\n")
    cache = EnvironmentCache(project / "environments", environ=local_variables)
    assert [package.name for package in _ensure(cache, "apple").packages] == ["apple"]
    assert not (project / ".venv").exists()
