"""Built whole or not at all, and without running what is installed."""

import asyncio
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from stepflow_python.environments import folder
from stepflow_python.environments.cache import CacheOptions, EnvironmentCache
from stepflow_python.errors import DependencyError, EnvironmentUnavailableError
from stepflow_python.model.environment import Environment
from stepflow_python.ports import EnvironmentSpec, Steps

MakeWheel = Callable[..., Path]
ENSURE_ONCE = Path(__file__).parent / "ensure_once.py"


async def _settled(cache: EnvironmentCache, *requirements: str) -> Environment:
    environment = await cache.ensure(EnvironmentSpec(requirements=requirements))
    await cache.settle()
    return environment


def _run(environment: Environment, code: str) -> str:
    command = [environment.interpreter, "-I", "-c", code]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.mark.parametrize(
    "end",
    [
        ["resolving"],
        ["creating"],
        ["creating", "2"],
        ["installing"],
        ["installing", "5"],
        ["installing", "25"],
        ["compiling"],
        ["compiling", "20"],
        ["sealing"],
        ["sealing", "2"],
    ],
    ids="-".join,
)
def test_killed_anywhere_it_is_none_or_whole(
    tmp_path: Path, local_variables: Mapping[str, str], make_wheel: MakeWheel, end: list[str]
) -> None:
    """After a killed build there is no half environment, and the next one succeeds."""
    make_wheel("apple", files={f"apple/m{number}.py": f"VALUE = {number}\n" for number in range(300)})
    path = tmp_path / "environments"
    killed = subprocess.run(
        [sys.executable, ENSURE_ONCE, path, "apple", *end], env=local_variables, capture_output=True, check=False
    )
    assert end[1:] or killed.returncode == -9
    cache = EnvironmentCache(path, environ=local_variables)
    before = asyncio.run(cache.list())
    for environment in before:
        assert _run(environment, "import apple.m299; print(apple.m299.VALUE)") == "299"
    environment = asyncio.run(cache.ensure(EnvironmentSpec(requirements=("apple",))))
    assert _run(environment, "import apple.m299; print(apple.m299.VALUE)") == "299"
    assert set(before) <= {environment}


def test_no_code_of_a_package_runs_in_the_worker(
    tmp_path: Path, local_cache: EnvironmentCache, make_wheel: MakeWheel
) -> None:
    """Lines that a package would have every start of the virtualenv's python execute are not executed by a build."""
    witness = tmp_path / "it-ran"
    trap = f"import pathlib; pathlib.Path({str(witness)!r}).touch()\n"
    make_wheel("apple", files={"apple.py": "", "apple.pth": trap, "sitecustomize.py": trap})
    environment = asyncio.run(local_cache.ensure(EnvironmentSpec(requirements=("apple",))))
    assert not witness.exists()
    _run(environment, "pass")
    assert witness.exists()


def test_a_package_cannot_pose_as_a_whole_environment(
    tmp_path: Path, local_variables: Mapping[str, str], make_wheel: MakeWheel
) -> None:
    """A marker that comes with a package does not survive, nor count when the build dies right after it."""
    data = "apple-1.0.data/data"
    make_wheel("apple", files={"apple.py": "", f"{data}/{folder.MARKER}": '{"key": "x"}'})
    path = tmp_path / "environments"
    command = [sys.executable, ENSURE_ONCE, path, "apple", "sealing"]
    subprocess.run(command, env=local_variables, capture_output=True, check=False)
    assert list(path.glob(f"cp*/{folder.MARKER}"))
    cache = EnvironmentCache(path, environ=local_variables)
    assert asyncio.run(cache.list()) == ()
    environment = asyncio.run(cache.ensure(EnvironmentSpec(requirements=("apple",))))
    assert folder.read(environment.path) == environment


def test_it_is_compiled_and_read_only(local_cache: EnvironmentCache, make_wheel: MakeWheel) -> None:
    """Every module has its bytecode, a broken one excepted, and no file of it can be written."""
    make_wheel("apple", files={"apple.py": "", "old.py": "print 'two'\n"})
    environment = asyncio.run(_settled(local_cache, "apple"))
    compiled = [path.name.partition(".")[0] for path in environment.site_packages.glob("__pycache__/*.pyc")]
    assert compiled == ["apple"]
    for path in [environment.path, *environment.path.rglob("*")]:
        assert path.is_symlink() or not path.stat().st_mode & 0o222


def test_a_file_that_is_not_the_locked_one_is_refused(
    tmp_path: Path, local_variables: Mapping[str, str], make_wheel: MakeWheel
) -> None:
    """What changed on the registry after it was locked is not installed."""
    make_wheel("apple")
    path = tmp_path / "environments"
    cache = EnvironmentCache(path, environ=local_variables)
    environment = asyncio.run(cache.ensure(EnvironmentSpec(requirements=("apple",))))
    asyncio.run(cache.remove(environment.id))
    make_wheel("apple", files={"apple.py": "EVIL = True\n"})
    emptied = {**local_variables, "UV_CACHE_DIR": str(tmp_path / "emptied")}
    again = EnvironmentCache(path, environ=emptied)
    with pytest.raises(DependencyError, match="Hash mismatch"):
        asyncio.run(again.ensure(EnvironmentSpec(requirements=("apple",))))
    assert asyncio.run(again.list()) == ()
    assert not list(path.glob("cp*"))


def test_a_build_that_takes_too_long_is_given_up(
    tmp_path: Path, local_variables: Mapping[str, str], make_wheel: MakeWheel
) -> None:
    """Time is a retryable reason, and nothing stays of the attempt."""
    make_wheel("apple")
    path = tmp_path / "environments"
    hasty = EnvironmentCache(path, environ=local_variables, options=CacheOptions(build_timeout_s=0.0001))
    with pytest.raises(EnvironmentUnavailableError):
        asyncio.run(hasty.ensure(EnvironmentSpec(requirements=("apple",))))
    assert not list(path.glob("cp*"))


def test_a_cancelled_build_leaves_nothing_running(
    tmp_path: Path, local_variables: Mapping[str, str], make_wheel: MakeWheel
) -> None:
    """Whoever gives up waiting leaves a place where the next one builds at once."""
    make_wheel("apple")
    cache = EnvironmentCache(tmp_path / "environments", environ=local_variables)
    spec = EnvironmentSpec(requirements=("apple",))

    async def main() -> Environment:
        for step in ("resolving", "creating", "installing", "compiling", "sealing"):
            reached = asyncio.Event()

            def progress(message: str, step: str = step, reached: asyncio.Event = reached) -> None:
                if message.startswith(step):
                    reached.set()

            task = asyncio.create_task(cache.ensure(spec, steps=Steps(progress=progress)))
            arrived = asyncio.create_task(reached.wait())
            await asyncio.wait([task, arrived], return_when=asyncio.FIRST_COMPLETED)
            task.cancel()
            arrived.cancel()
            await asyncio.gather(task, arrived, return_exceptions=True)
        return await cache.ensure(spec)

    environment = asyncio.run(main())
    assert _run(environment, "import apple; print(apple.VERSION)") == "1.0"


def test_each_step_is_told_and_timed(local_cache: EnvironmentCache, make_wheel: MakeWheel) -> None:
    """With the names of what is resolved and installed; built again, nothing is resolved nor fetched."""
    make_wheel("apple")
    spec = EnvironmentSpec(requirements=("apple",))
    told: list[str] = []
    steps, again = Steps(progress=told.append), Steps()
    environment = asyncio.run(local_cache.ensure(spec, steps=steps))
    assert told[0] == "resolving apple"
    assert "installing apple 1.0" in told
    times = local_cache.build_times(environment.id)
    assert set(times) - {"downloading"} == {"resolving", "creating", "installing"}
    assert min(times.values()) > 0
    assert steps.times.keys() == times.keys() | {"sealing"}
    asyncio.run(local_cache.ensure(spec, steps=again))
    assert again.times.keys() == {"found"}
    asyncio.run(local_cache.remove(environment.id))
    asyncio.run(local_cache.ensure(spec))
    assert set(local_cache.build_times(environment.id)) == {"creating", "installing"}
