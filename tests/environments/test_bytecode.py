"""Bytecode that environments share."""

import asyncio
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

from stepflow_python.environments.cache import EnvironmentCache
from stepflow_python.environments.inventory import is_compiled
from stepflow_python.model.environment import Environment
from stepflow_python.ports import EnvironmentSpec

MakeWheel = Callable[..., Path]


def _settled(cache: EnvironmentCache, *requirements: str) -> tuple[Environment, bool]:
    """The environment, and whether it had all its bytecode at once."""

    async def main() -> tuple[Environment, bool]:
        environment = await cache.ensure(EnvironmentSpec(requirements=requirements))
        at_once = is_compiled(environment.path)
        await cache.settle()
        return environment, at_once

    return asyncio.run(main())


def _bytecode(environment: Environment, module: str) -> Path:
    (found,) = (environment.site_packages / "__pycache__").glob(f"{module}.*.pyc")
    return found


def test_a_wheel_is_compiled_once(local_cache: EnvironmentCache, make_wheel: MakeWheel) -> None:
    """The second environment with it links the same file; what is new in it is compiled afterwards."""
    make_wheel("apple")
    make_wheel("pear", files={"pear/__init__.py": "", "pear/deep/stone.py": "VALUE = 7\n"})
    first, at_once = _settled(local_cache, "apple")
    assert not at_once
    second, at_once = _settled(local_cache, "apple", "pear")
    assert not at_once
    assert _bytecode(first, "apple").samefile(_bytecode(second, "apple"))
    asyncio.run(local_cache.remove(second.id))
    again, at_once = _settled(local_cache, "apple", "pear")
    assert at_once
    assert list(again.site_packages.glob("pear/deep/__pycache__/stone.*.pyc"))


def test_the_bytecode_is_what_runs(local_cache: EnvironmentCache, make_wheel: MakeWheel) -> None:
    """Python takes the linked file as valid, and tracebacks name the environment that it runs in."""
    make_wheel("apple", files={"apple.py": "def fail():\n    raise ValueError\n"})
    make_wheel("pear")
    _settled(local_cache, "apple")
    second, _ = _settled(local_cache, "apple", "pear")
    code = "import apple; print(apple.fail.__code__.co_filename)"
    done = subprocess.run([second.interpreter, "-v", "-I", "-c", code], capture_output=True, text=True, check=True)
    assert f"matches {second.site_packages / 'apple.py'}" in done.stderr
    assert done.stdout.strip() == str(second.site_packages / "apple.py")


def test_a_wheel_cannot_have_its_bytecode_run_in_another_ones_place(
    local_cache: EnvironmentCache, make_wheel: MakeWheel
) -> None:
    """One that brings the other's metadata and file list word for word is still told apart."""
    make_wheel("apple", files={"core.py": "VALUE = 'good'\n"})
    make_wheel("evil", files={"core.py": "VALUE = 'evil'\n"})
    evil, _ = _settled(local_cache, "evil")
    good, _ = _settled(local_cache, "apple")
    done = subprocess.run(
        [good.interpreter, "-I", "-c", "import core; print(core.VALUE)"], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "good"
    assert not _bytecode(evil, "core").samefile(_bytecode(good, "core"))


def test_what_was_cut_off_is_completed_at_the_next_use(
    tmp_path: Path, local_variables: Mapping[str, str], make_wheel: MakeWheel
) -> None:
    """An environment whose bytecode was lost before it was complete gets it when it is found again."""
    make_wheel("apple")
    path = tmp_path / "environments"
    environment, _ = _settled(EnvironmentCache(path, environ=local_variables), "apple")
    environment.path.chmod(0o755)
    (environment.path / ".inventory").unlink()
    found, at_once = _settled(EnvironmentCache(path, environ=local_variables), "apple")
    assert (found, at_once) == (environment, False)
    assert is_compiled(environment.path)
