"""Which environments have to go: least recently used first, until number and bytes are within their limits."""

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from stepflow_python.model.environment import Environment


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How many environments stay, and how many bytes of disk they may take together; none: no limit."""

    environments: int | None = None
    bytes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """The files of an environment on the disk: bytes by (device, inode). Environments share files."""

    files: dict[tuple[int, int], int]

    @classmethod
    def of(cls, path: Path) -> "Size":
        """Measured now; what disappears meanwhile counts nothing."""
        files = {}
        for parent, _folders, names in os.walk(path):
            for name in names:
                try:
                    status = os.lstat(f"{parent}/{name}")
                except OSError:
                    continue
                files[(status.st_dev, status.st_ino)] = status.st_blocks * 512
        return cls(files=files)


def over_number(oldest_first: Sequence[Environment], limit: int | None) -> tuple[Environment, ...]:
    """Those over a number."""
    return () if limit is None else tuple(oldest_first[: max(0, len(oldest_first) - limit)])


def over_bytes(oldest_first: Sequence[Environment], sizes: Sequence[Size], limit: int) -> tuple[Environment, ...]:
    """Those over a number of bytes; a file that several share counts once, and until the last of them goes."""
    holders = Counter(file for size in sizes for file in size.files)
    total = sum({file: held for size in sizes for file, held in size.files.items()}.values())
    gone = []
    for environment, size in zip(oldest_first, sizes, strict=True):
        if total <= limit:
            break
        gone.append(environment)
        holders.subtract(size.files.keys())
        total -= sum(held for file, held in size.files.items() if holders[file] == 0)
    return tuple(gone)
