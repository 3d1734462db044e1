"""What is in a finished environment, so that a missing or changed file is noticed.

Times of folders tell of files that came, went or were replaced, and are few; times and sizes of files tell the rest.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from stepflow_python.environments.files import write_whole

INVENTORY = ".inventory"
"""Written last, when the bytecode is complete too: an environment without one is whole, but not compiled."""

_OURS = frozenset({INVENTORY, ".complete"})
"""Written after the inventory was taken, or brought by a package that poses as whole."""

_WRITE = 0o222
_READ = 0o444
_RUN = 0o111
_OWNER_RUNS = 0o100


@dataclass(frozen=True, slots=True, kw_only=True)
class Inventory:
    """Folders with their times, files with their times and sizes in bytes, by path inside the environment."""

    folders: dict[str, int]
    files: dict[str, tuple[int, int]]


def protect(path: Path) -> Inventory:
    """Make everything below a folder readable by everyone and writable by none; returns what is there."""
    found = Inventory(folders={}, files={})
    for entry, name in _entries(str(path), ""):
        if name in _OURS:
            continue
        status = entry.stat(follow_symlinks=False)
        if entry.is_dir(follow_symlinks=False):
            # Those of bytecode are half of all; Python makes up for what is missing there.
            if entry.name != "__pycache__":
                found.folders[name] = status.st_mtime_ns
        else:
            found.files[name] = (status.st_mtime_ns, status.st_size)
        # Never through a link: `bin/python` links to the machine's own interpreter.
        if not entry.is_symlink():
            protect_one(entry.path, status.st_mode & 0o7777)
    return found


def protect_one(path: str | Path, mode: int) -> None:
    """The same for one file or folder that has this mode now."""
    wanted = (mode | _READ | (_RUN if mode & _OWNER_RUNS else 0)) & ~_WRITE
    if wanted != mode:
        os.chmod(path, wanted)  # noqa: PTH101 - thousands of files: a `Path` for each costs more than the change


def keep(path: Path, inventory: Inventory) -> None:
    """Write the inventory of an environment into it."""
    folders = [f"{mtime} {name}" for name, mtime in inventory.folders.items()]
    files = [f"{mtime} {size} {name}" for name, (mtime, size) in inventory.files.items()]
    text = "\n".join(folders) + "\n\n" + "\n".join(files)
    write_whole(path / INVENTORY, text.encode("utf-8", "surrogateescape"), durable=False)
    protect_one(path / INVENTORY, 0o600)


def is_compiled(path: Path) -> bool:
    """Whether the environment's bytecode is complete."""
    return os.path.exists(path / INVENTORY)  # noqa: PTH110 - on the way of every run


def changed_folders(path: Path) -> tuple[str, ...]:
    """Folders in which files came, went or were replaced; a hundred looks at the disk, a quarter of a millisecond."""
    folders, _ = _kept(path)
    root = f"{path}/"
    lines = (line.partition(" ") for line in folders.split("\n")) if folders else ()
    return tuple(name for mtime, _, name in lines if _mtime(root + name) != mtime)


def changed_files(path: Path) -> tuple[str, ...]:
    """Files that are gone, or whose time or size is another one; some milliseconds for thousands."""
    _, files = _kept(path)
    root = str(path)
    found = []
    for line in files.split("\n") if files else ():
        mtime, size, name = line.split(" ", 2)
        try:
            status = os.lstat(f"{root}/{name}")
        except OSError:
            found.append(name)
            continue
        if (status.st_mtime_ns, status.st_size) != (int(mtime), int(size)):
            found.append(name)
    return tuple(found)


def _mtime(path: str) -> str:
    try:
        return str(os.lstat(path).st_mtime_ns)
    except OSError:
        return "gone"


def _kept(path: Path) -> tuple[str, str]:
    try:
        text = (path / INVENTORY).read_bytes().decode("utf-8", "surrogateescape")
    except OSError:
        return "", ""
    folders, _, files = text.partition("\n\n")
    return folders, files


def _entries(folder: str, inside: str) -> Iterator[tuple[os.DirEntry[str], str]]:
    """Everything below a folder, a folder after what is in it: its own time is read last."""
    with os.scandir(folder) as entries:
        for entry in entries:
            name = f"{inside}{entry.name}"
            if entry.is_dir(follow_symlinks=False):
                yield from _entries(entry.path, f"{name}/")
            yield entry, name
