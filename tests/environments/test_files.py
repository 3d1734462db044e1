"""Files that are there whole or not at all."""

from pathlib import Path

import pytest

from stepflow_python.environments.files import write_whole


def test_content_is_replaced(tmp_path: Path) -> None:
    """The folder is made when it is missing, and the second content replaces the first."""
    path = tmp_path / "a" / "b"
    write_whole(path, b"one")
    write_whole(path, b"two")
    assert path.read_bytes() == b"two"
    assert list(path.parent.iterdir()) == [path]


def test_a_failure_leaves_nothing_behind(tmp_path: Path) -> None:
    """Where the file cannot be put in its place, no half of it stays."""
    path = tmp_path / "taken"
    path.mkdir()
    with pytest.raises(OSError, match="taken"):
        write_whole(path, b"content")
    assert list(tmp_path.iterdir()) == [path]
