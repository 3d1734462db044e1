"""The compiled guest."""

import asyncio
import importlib.util
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from stepflow_python.errors import InternalError, PythonEnvironmentError
from stepflow_python.sandbox import guest_files
from stepflow_python.sandbox.guest_files import PACKAGE, compiled_guest

HERE = Path(sys.executable)


def test_it_is_compiled_without_sources(tmp_path: Path) -> None:
    """Every module is there as byte code of that interpreter, readable by all, checked against no source."""
    folder = asyncio.run(compiled_guest(HERE, folder=tmp_path / "new"))
    assert folder.parent == tmp_path / "new"
    assert folder.name.endswith(f"-{sys.implementation.cache_tag}")
    source = Path(guest_files.__file__).parent.parent / "guest"
    names = {path.name for path in (folder / PACKAGE).iterdir()}
    assert names == {path.name + "c" for path in source.glob("*.py")}
    for path in (folder / PACKAGE).iterdir():
        data = path.read_bytes()
        assert data[:4] == importlib.util.MAGIC_NUMBER
        assert int.from_bytes(data[4:8], "little") == 1, "a hash that nobody checks"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o755


def test_a_cold_run_opens_one_file_of_it(tmp_path: Path) -> None:
    """All that it imports comes with the package's own module, `__future__` left out; other modules are files."""
    folder = asyncio.run(compiled_guest(HERE, folder=tmp_path))
    for path in (folder / PACKAGE).iterdir():
        if path.stem not in {"__init__", "exceptions"}:
            path.unlink()
    asked = "import sys; sys.path.insert(0, sys.argv[1]); from stepflow_guest.main import main; "
    asked += "import stepflow_guest.supervisor as it; future = '__future__' in sys.modules; "
    asked += "import stepflow_guest.exceptions; "
    asked += "print(main.__module__, it.__file__, it.supervise.__code__.co_filename, future)"
    done = subprocess.run([HERE, "-I", "-S", "-c", asked, folder], capture_output=True, text=True, check=False)
    file = f"{folder}/{PACKAGE}/supervisor.pyc"
    assert done.stdout.split() == ["stepflow_guest.main", file, "/run/guest/stepflow_guest/supervisor.py", "False"]


def test_it_is_made_once(tmp_path: Path) -> None:
    """A second call changes nothing; a folder that was removed is made again."""
    first = asyncio.run(compiled_guest(HERE, folder=tmp_path))
    before = (first / PACKAGE / "main.pyc").stat().st_ino
    assert asyncio.run(compiled_guest(HERE, folder=tmp_path)) == first
    assert (first / PACKAGE / "main.pyc").stat().st_ino == before
    first.rename(tmp_path / "away")
    assert asyncio.run(compiled_guest(HERE, folder=tmp_path)) == first
    assert (first / PACKAGE / "main.pyc").exists()


def test_many_at_a_time_leave_one(tmp_path: Path) -> None:
    """Those who come at once all get the one whole folder; nothing else is left."""

    async def together() -> list[Path]:
        return await asyncio.gather(*(compiled_guest(HERE, folder=tmp_path) for _ in range(6)))

    assert len(set(asyncio.run(together()))) == 1
    assert len(list(tmp_path.iterdir())) == 1


def test_what_cannot_be_compiled_is_named(tmp_path: Path) -> None:
    """No interpreter, one that is none, and a folder that cannot be made are told apart."""
    with pytest.raises(PythonEnvironmentError, match="no interpreter at"):
        asyncio.run(compiled_guest(tmp_path / "none", folder=tmp_path))
    (tmp_path / "text").write_text("no program")
    with pytest.raises(PythonEnvironmentError, match="cannot be started"):
        asyncio.run(compiled_guest(tmp_path / "text", folder=tmp_path))
    with pytest.raises(InternalError, match="could not compile the guest into"):
        asyncio.run(compiled_guest(HERE, folder=tmp_path / "text" / "below"))
