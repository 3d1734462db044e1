"""What each security level allows, as settings."""

from collections.abc import Sequence
from typing import Final

from stepflow_python.model.security import SecurityLevel, SecuritySettings

PROCESS_MODULES: Final = ("subprocess", "pty")
"""Modules that are there to start processes."""

PROCESS_FUNCTIONS: Final = (
    "os.system",
    "os.popen",
    "os.exec*",
    "os.spawn*",
    "os.posix_spawn*",
    "os.fork",
    "os.forkpty",
    "pty.fork",
    "pty.spawn",
    "multiprocessing.Process",
    "multiprocessing.Pool",
    "multiprocessing.Manager",
    "concurrent.futures.ProcessPoolExecutor",
    "asyncio.create_subprocess_*",
    "asyncio.subprocess.create_subprocess_*",
)
"""Functions that start processes, in modules which honest code imports for other things; `*` ends a family."""


def settings_for(
    level: SecurityLevel, *, blocked_imports: Sequence[str], allowed_imports: Sequence[str]
) -> SecuritySettings:
    """The settings of a level on a worker.

    Args:
        level: of the request.
        blocked_imports: the worker's list; `standard` may still import what starts processes, `permissive` all.
        allowed_imports: the worker's list, on every level; empty allows all.
    """
    if level is SecurityLevel.PERMISSIVE:
        return SecuritySettings(
            allowed_modules=tuple(allowed_imports), enable_system_calls=True, enable_network_access=True
        )
    if level is SecurityLevel.STANDARD:
        return SecuritySettings(
            allowed_modules=tuple(allowed_imports),
            blocked_modules=tuple(module for module in blocked_imports if not _starts_processes(module)),
            enable_system_calls=True,
        )
    return SecuritySettings(
        allowed_modules=tuple(allowed_imports),
        blocked_modules=tuple(blocked_imports),
        blocked_functions=PROCESS_FUNCTIONS,
    )


def _starts_processes(module: str) -> bool:
    return module.partition(".")[0] in PROCESS_MODULES
