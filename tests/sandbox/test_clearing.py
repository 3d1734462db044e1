"""A folder goes as a whole, whatever was put in it."""

import os
from pathlib import Path

from stepflow_python.sandbox.clearing import BATCH, remove_tree


def test_a_folder_deeper_than_any_path_goes(tmp_path: Path) -> None:
    """Neither the length of a path nor the depth of the stack is a limit."""
    work = tmp_path / "work"
    work.mkdir()
    inner = os.open(work, os.O_RDONLY)
    for _ in range(3000):
        os.mkdir("folder", dir_fd=inner)
        outer, inner = inner, os.open("folder", os.O_RDONLY, dir_fd=inner)
        os.close(outer)
    os.close(inner)
    remove_tree(work)
    assert list(tmp_path.iterdir()) == []


def test_many_files_and_closed_folders_go(tmp_path: Path) -> None:
    """More files than are looked at a time, pipes, links, and folders that their owner had closed."""
    work = tmp_path / "work"
    closed = work / "a" / "closed"
    closed.mkdir(parents=True)
    (closed / "inside").mkdir()
    for number in range(BATCH + 5):
        (work / "a" / f"{number}").touch()
    os.mkfifo(work / "pipe")
    for folder in (closed / "inside", closed, work / "a"):
        folder.chmod(0)
    remove_tree(work)
    assert list(tmp_path.iterdir()) == []


def test_links_are_removed_and_not_followed(tmp_path: Path) -> None:
    """What a link leads to stays, file or folder."""
    kept, work = tmp_path / "kept", tmp_path / "work"
    kept.mkdir()
    (kept / "file").touch()
    work.mkdir()
    (work / "folder").symlink_to(kept)
    (work / "file").symlink_to(kept / "file")
    remove_tree(work)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["file", "kept"]
