"""Whole or rubbish."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from stepflow_python.environments import folder
from stepflow_python.environments.content import environment_id
from stepflow_python.model.environment import Environment

KEY = "the key"


@pytest.fixture
def environment(tmp_path: Path) -> Environment:
    """A folder with a file of each kind, not sealed yet."""
    name = environment_id("cp311", KEY)
    path = tmp_path / name
    (path / "bin").mkdir(parents=True)
    (tmp_path / "python").write_text("the machine's own")
    (tmp_path / "python").chmod(0o755)
    (path / "bin" / "python").symlink_to(tmp_path / "python")
    (path / "bin" / "tool").write_text("#!")
    (path / "bin" / "tool").chmod(0o700)
    (path / "module.py").write_text("")
    (path / "module.py").chmod(0o600)
    return Environment(
        id=name,
        python_version="3.11.7",
        path=path,
        interpreter=path / "bin" / "python",
        base_prefix=tmp_path,
        site_packages=path,
    )


def _mode(path: Path) -> int:
    return path.lstat().st_mode & 0o777


def test_sealed_is_read_by_all_and_written_by_none(tmp_path: Path, environment: Environment) -> None:
    """Every mode is as a box of another user needs it, and links are not followed."""
    folder.seal(environment, KEY, compiled=True)
    path = environment.path
    assert (_mode(path), _mode(path / "bin"), _mode(path / "bin" / "tool")) == (0o555, 0o555, 0o555)
    assert (_mode(path / "module.py"), _mode(path / folder.MARKER)) == (0o444, 0o444)
    assert _mode(tmp_path / "python") == 0o755
    assert folder.read(path) == environment
    assert folder.is_whole(environment)


@pytest.mark.parametrize("content", [b"", b"{", b"{}", b"\xff", b'{"key": "the key"}'])
def test_a_damaged_marker_is_none(environment: Environment, content: bytes) -> None:
    """Whatever stands in the marker, reading it does not fail."""
    folder.seal(environment, KEY, compiled=True)
    environment.path.chmod(0o700)
    marker = environment.path / folder.MARKER
    marker.chmod(0o600)
    marker.write_bytes(content)
    assert folder.read(environment.path) is None


def test_a_marker_with_another_key_is_none(environment: Environment) -> None:
    """A package cannot bring a marker of its own: the key must hash to the folder's name."""
    folder.seal(environment, "another key", compiled=True)
    assert folder.read(environment.path) is None


def test_a_moved_folder_is_none(tmp_path: Path, environment: Environment) -> None:
    """Virtualenvs don't move: their scripts name their place."""
    folder.seal(environment, KEY, compiled=True)
    moved = tmp_path / "elsewhere" / environment.id
    moved.parent.mkdir()
    environment.path.chmod(0o700)
    environment.path.rename(moved)
    assert folder.read(moved) is None


def test_without_its_interpreter_it_is_none(tmp_path: Path, environment: Environment) -> None:
    """An installation that was removed takes its environments with it."""
    folder.seal(environment, KEY, compiled=True)
    (tmp_path / "python").unlink()
    assert folder.read(environment.path) is None
    assert not folder.is_whole(environment)


ERASE = """
import os, sys
from pathlib import Path
from stepflow_python.environments import folder
name, uid = sys.argv[1], int(sys.argv[2])
if os.geteuid() == 0:
    os.setgroups([])
    os.setuid(uid)
folder.erase(Path(name))
"""


def test_an_ordinary_user_can_erase_what_is_sealed(tmp_path: Path, environment: Environment) -> None:
    """Root passes by all modes; for others read-only folders must be opened again first."""
    folder.seal(environment, KEY, compiled=True)
    uid = os.geteuid() or 65534
    if os.geteuid() == 0:
        for path in (tmp_path, environment.path, *environment.path.rglob("*")):
            os.chown(path, uid, -1, follow_symlinks=False)
    subprocess.run([sys.executable, "-c", ERASE, environment.id, str(uid)], cwd=tmp_path, check=True)
    assert not environment.path.exists()


def test_a_sealed_folder_can_be_erased(tmp_path: Path, environment: Environment) -> None:
    """What links lead to stays; a folder that is gone is no error."""
    folder.seal(environment, KEY, compiled=True)
    for parent, _folders, _files in os.walk(environment.path):
        assert _mode(Path(parent)) == 0o555
    folder.erase(environment.path)
    assert not environment.path.exists()
    assert (tmp_path / "python").exists()
    folder.erase(environment.path)
