"""The output folder is a stranger's: links, pipes, floods and sparse files."""

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Guest


def test_files_of_folders_are_collected(guest: "Guest") -> None:
    """Files come with their relative names, whatever bytes they hold."""
    source = (
        "import os\nos.makedirs('output/a/b')\nopen('output/a/b/ü.bin', 'wb').write(bytes(range(256)))\n"
        "open('output/empty', 'w')\n"
    )
    ran = guest.run(source)
    assert ran.files == {"a/b/ü.bin": bytes(range(256)), "empty": b""}
    assert ran.status["files_error"] is None


def test_nothing_but_regular_files_is_read(guest: "Guest", tmp_path: "Path") -> None:
    """Links, pipes and sockets are left where they are; a link to a folder is not walked."""
    (tmp_path / "secret").write_text("secret")
    source = (
        f"import os, socket\nos.symlink({str(tmp_path / 'secret')!r}, 'output/link')\n"
        f"os.symlink({str(tmp_path)!r}, 'output/folder')\nos.mkfifo('output/pipe')\n"
        "os.chdir('output')\nsocket.socket(socket.AF_UNIX).bind('socket')\nopen('plain', 'w').write('plain')\n"
    )
    ran = guest.run(source)
    assert ran.files == {"plain": b"plain"}
    assert ran.status["files_error"] is None


def test_an_output_folder_that_is_a_link_is_refused(guest: "Guest", tmp_path: "Path") -> None:
    """The folder itself may have been replaced."""
    (tmp_path / "secret").write_text("secret")
    ran = guest.run(f"import os\nos.rmdir('output')\nos.symlink({str(tmp_path)!r}, 'output')\n")
    assert ran.files == {}
    assert "cannot be read" in ran.status["files_error"]


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("[open(f'output/{n}', 'w') for n in range(9)]", "more than 8 files"),
        ("open('output/sparse', 'wb').truncate(1 << 26)", "larger than 65536 bytes"),
        ("[open(f'output/{n}', 'wb').write(b'x' * 30000) for n in range(3)]", "larger than 65536 bytes"),
        ("import os\nos.makedirs('output/' + 'd/' * 12)", "nested 8 deep"),
        ("open(b'output/\\xff', 'w')", "must be UTF-8"),
        ("import os\n[os.symlink('x', f'output/{n}') for n in range(10_001)]", "more than 10000 entries"),
    ],
)
def test_nothing_is_cut_in_silence(guest: "Guest", source: str, words: str) -> None:
    """Each cap says which file it met."""
    ran = guest.run(source)
    assert ran.value is None
    assert words in ran.status["files_error"]
    assert len(ran.files) <= 8
    assert sum(map(len, ran.files.values())) <= 65536


@pytest.mark.parametrize("name", ["../up", "/absolute", "a/../../b", "nul\0"])
def test_names_that_lead_outside_are_refused(guest: "Guest", name: str) -> None:
    """The guest does not rely on the host's check of names."""
    ran = guest.run("", files={name: b""})
    assert ran.code == 70
    assert "no name inside the work folder" in ran.frames[0][1].decode()


def test_files_that_cannot_be_written_are_named(guest: "Guest") -> None:
    """A file that is another's folder is the request's fault, said before anything runs."""
    ran = guest.run("", files={"a": b"", "a/b": b""})
    assert (ran.code, ran.frames[0][0]) == (70, b"X")
    assert "work folder cannot be filled" in ran.frames[0][1].decode()
