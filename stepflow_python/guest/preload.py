"""Imports ahead of time, and what must not be imported ahead of time.

A module that is imported before a fork has to behave as if the tool had imported it: it may not have started threads
(a fork leaves them behind), opened descriptors (a tool's process closes those it does not know) or printed anything
(that belongs to the tool's own output).
"""

from __future__ import annotations

import posix

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, Sequence, Tuple

    Wanted = Sequence[Tuple[str, Sequence[str]]]
    """Module and the names that are imported from it, none for a plain `import`."""


def preload(wanted: Wanted, *, output: int) -> Dict[str, str]:
    """Import what is wanted.

    Args:
        wanted: the imports, in order.
        output: descriptor of the file that stdout and stderr lead to.

    Returns:
        Each module that is unfit, by its top-level name, with the reason. It may have left traces: start anew without.
    """
    unfit: Dict[str, str] = {}
    for module, names in wanted:
        root = module.partition(".")[0]
        if root in unfit:
            continue
        before = _traces(output)
        try:
            _import(module, names)
        except BaseException as error:  # noqa: BLE001 - an import runs a package's code, which may raise anything
            unfit[root] = f"cannot be imported: {type(error).__name__}"
            continue
        after = _traces(output)
        changed = [what for what, count in after.items() if count != before[what]]
        if changed:
            unfit[root] = f"its import leaves {' and '.join(changed)}"
    return unfit


def _import(module: str, names: Sequence[str]) -> None:
    """Import as the statement does; packages with attributes made on demand make those that are named."""
    imported = __import__(module, {}, {}, list(names) or ["__name__"], 0)
    for name in names:
        getattr(imported, name, None)


def _traces(output: int) -> Dict[str, int]:
    return {
        "threads": len(posix.listdir("/proc/self/task")),
        "open files": len(posix.listdir("/proc/self/fd")),
        "output": posix.fstat(output).st_size,
    }
