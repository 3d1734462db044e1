"""A folder on disk against its bounds."""

import os
from pathlib import Path

import pytest

from stepflow_python.sandbox import disk
from stepflow_python.sandbox.disk import over

KIB = 1024


def test_sizes_of_all_levels_count(tmp_path: Path) -> None:
    """Files in folders below count as those at the top, by the room that they take."""
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "x").write_bytes(bytes(300 * KIB))
    (tmp_path / "y").write_bytes(bytes(300 * KIB))
    assert not over(tmp_path, 700 * KIB)
    assert over(tmp_path, 500 * KIB)


def test_what_takes_no_room_does_not_count(tmp_path: Path) -> None:
    """A sparse file is as large as what is in it; a link is not what it leads to, be it a loop."""
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(1 << 30)
    (tmp_path / "loop").symlink_to(tmp_path)
    (tmp_path / "usr").symlink_to("/usr")
    assert not over(tmp_path, 64 * KIB)


def test_too_many_entries_or_levels_are_too_much(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody can keep the host busy with empty files, or with folders in folders."""
    for number in range(20):
        (tmp_path / str(number)).touch()
    monkeypatch.setattr(disk, "MOST_ENTRIES", 10)
    assert over(tmp_path, 1 << 30)
    monkeypatch.setattr(disk, "MOST_ENTRIES", 1000)
    assert not over(tmp_path, 1 << 30)
    (tmp_path / "/".join("d" * 80)).mkdir(parents=True)
    assert over(tmp_path, 1 << 30)


def test_what_cannot_be_looked_into_is_passed_over(tmp_path: Path) -> None:
    """A folder that is gone, or a pipe in place of one, is no reason to wait or to fail; descriptors are closed."""
    os.mkfifo(tmp_path / "pipe")
    before = len(list(Path("/proc/self/fd").iterdir()))
    assert not over(tmp_path, 1 << 30)
    assert not over(tmp_path / "gone", 1)
    assert not over(tmp_path / "pipe", 1)
    assert len(list(Path("/proc/self/fd").iterdir())) == before
