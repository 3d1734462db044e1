"""What an unprivileged box can reach of a root worker's files.

Root's interpreter and environments often lie below folders that nobody else may enter, such as `/root`. A root worker
shows them, in a mount namespace that only its spawning thread has, below a tmpfs that everybody may enter; on the host
no permission changes. Workers that are not root reach their own files and stage nothing.
"""

import os
from collections.abc import Sequence
from pathlib import Path

from stepflow_python.process.mounts import bind, leave_mount_namespace, mount_tmpfs

# Folders that the file system standard sets aside for people, so that covering one hides nothing a box needs.
COVERABLE = (Path("/media"), Path("/mnt"), Path("/srv"))


class Staging:
    """Maps host paths to where the spawning thread's children find them; it changes in that thread only."""

    def __init__(self, *, avoid: tuple[Path, ...]) -> None:
        self._avoid = avoid
        self._root: Path | None = None
        self._staged: dict[Path, Path] = {}
        self.problem: str | None = None

    def prepare(self) -> None:
        """Make the private view; where the host refuses, paths stay what they are and `problem` says why."""
        try:
            root = next(
                folder
                for folder in COVERABLE
                if folder.is_dir() and not any(path.is_relative_to(folder) for path in self._avoid)
            )
            leave_mount_namespace()
            mount_tmpfs(root)
        except StopIteration:
            self.problem = f"none of {', '.join(map(str, COVERABLE))} is free to show a box its files"
        except OSError as error:
            self.problem = (
                f"root without the right to mount ({error}); add the capability SYS_ADMIN or run unprivileged"
            )
        else:
            self._root = root

    def shown(self, paths: Sequence[Path]) -> list[Path] | None:
        """Where these are, if all of them were shown before. From any thread."""
        found = [self._staged.get(path) for path in paths]
        return None if None in found else [path for path in found if path is not None]

    def show(self, paths: Sequence[Path]) -> list[Path]:
        """Where an unprivileged process finds these folders."""
        return [self._staged.get(path) or self._show(path) for path in paths]

    def _show(self, path: Path) -> Path:
        target = path
        if self._root is not None and not reachable(path):
            target = self._root / str(len(self._staged))
            target.mkdir()
            bind(path, target)
        self._staged[path] = target
        return target


def reachable(path: Path) -> bool:
    """Whether others may enter every folder on the way, and the folder itself."""
    return all(os.stat(folder).st_mode & 0o005 == 0o005 for folder in (path, *path.parents))  # noqa: PLR2004, PTH116 - mode bits
