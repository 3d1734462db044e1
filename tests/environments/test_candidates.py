"""Where interpreters are looked for."""

import os
import sys
from pathlib import Path

import pytest

from stepflow_python.environments.candidates import candidates
from stepflow_python.environments.interpreters import running_interpreter

REAL = running_interpreter().resolve()


def _link(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(REAL)
    return path


def test_a_shim_is_no_interpreter(tmp_path: Path) -> None:
    """A version switcher's script on PATH is left out."""
    shim = tmp_path / "python3.12"
    shim.write_text("#!/bin/sh\nexit 1\n")
    shim.chmod(0o755)
    assert shim not in candidates({"PATH": str(tmp_path)}, running=REAL)


def test_links_to_one_program_count_once(tmp_path: Path) -> None:
    """The real file behind PATH, pyenv and the installer's folder is given once, the running one first."""
    _link(tmp_path / "bin" / "python3.11")
    _link(tmp_path / ".pyenv" / "versions" / "3.11.1" / "bin" / "python3")
    found = candidates({"PATH": str(tmp_path / "bin"), "HOME": str(tmp_path)}, running=REAL)
    assert found[0] == REAL
    assert found.count(REAL) == 1


def test_version_folders_are_searched(tmp_path: Path) -> None:
    """Installations of pyenv and of the installer are found without being on PATH."""
    places = [
        tmp_path / "pyenv" / "versions" / "3.9.1" / "bin" / "python3",
        tmp_path / "data" / "uv" / "python" / "cpython-3.12" / "bin" / "python3",
    ]
    for place in places:
        place.parent.mkdir(parents=True)
        place.write_bytes(b"\x7fELF")
        place.chmod(0o755)
    environ = {"PYENV_ROOT": str(tmp_path / "pyenv"), "XDG_DATA_HOME": str(tmp_path / "data")}
    assert set(places) <= set(candidates(environ, running=REAL))


def test_the_current_folder_is_not_searched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A relative entry of PATH would take whatever lies where the worker was started."""
    program = tmp_path / "python3.9"
    program.write_bytes(b"\x7fELF")
    program.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    assert program not in candidates({"PATH": ".::" + os.path.relpath(tmp_path)}, running=REAL)
    assert program in candidates({"PATH": str(tmp_path)}, running=REAL)


def test_odd_entries_are_passed_over(tmp_path: Path) -> None:
    """A loop of links, a folder and a file that may not run do no harm."""
    (tmp_path / "python3").symlink_to(tmp_path / "python3")
    (tmp_path / "python3.12").mkdir()
    (tmp_path / "python3.10").write_bytes(b"\x7fELF")
    environ = {"PATH": os.pathsep.join(["", str(tmp_path), str(tmp_path / "none")])}
    found = candidates(environ, running=Path(sys.executable))
    assert not [path for path in found if tmp_path in path.parents]
