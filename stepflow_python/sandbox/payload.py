"""What the guest is told of a run.

marshal goes in this direction only, from us to the guest: the guest's words are never anything but JSON.
"""

import functools
import marshal
from pathlib import Path, PurePosixPath

from stepflow_python.model.limits import Limits
from stepflow_python.model.security import IsolationTier
from stepflow_python.ports import SandboxRun
from stepflow_python.sandbox.box import TEMPORARY, Box, Running
from stepflow_python.sandbox.cgroup import MIB
from stepflow_python.sandbox.watchdog import tasks_of

FORMAT = 2
"""Of marshal: the newest that every interpreter reads."""


def request_of(running: Running, *, env: dict[str, str], line: int | None = None, heard: bool = False) -> bytes:
    """The request as the guest reads it.

    Args:
        running: the run.
        env: the variables that the guest has to set.
        line: the descriptor, in the guest, that leads to the host's modules; none where nothing is lent.
        heard: whether the host hears when the times of the report's file are set.
    """
    run, box = running.run, running.box
    return marshal.dumps(
        {
            "source": run.source,
            "code": running.code,
            "compile_only": running.compile_only,
            "module_name": run.module_name,
            "function": run.function,
            "parameters": [[parameter.name, parameter.kind.value] for parameter in run.parameters],
            "arguments": run.arguments,
            "input_schema": run.input_schema,
            "stdin": run.stdin,
            "files": run.files,
            "env": env,
            "site_packages": site_packages(run, box),
            "prefix": str(box.prefix),
            "confinement": dict(box.confinement),
            "output_folder": box.output_folder,
            "lent": list(run.extensions),
            "line": line,
            "heard": heard,
            "limits": _guest_limits(run.limits, box),
        },
        FORMAT,
    )


def bounds_of(running: Running, *, waited_ms: float) -> bytes:
    """What bounds the answer of a run, for a supervisor that does not see the request.

    Args:
        running: the run.
        waited_ms: CPU time that the tool's process had taken before.
    """
    box = running.box
    limits = _guest_limits(running.run.limits, box)
    return marshal.dumps({"limits": limits, "output_folder": box.output_folder, "waited_ms": waited_ms}, FORMAT)


def site_packages(run: SandboxRun, box: Box) -> str:
    """The environment's packages as a run sees them."""
    return _below(box.prefix, run.environment.site_packages, run.environment.path)


@functools.lru_cache(maxsize=256)
def _below(prefix: Path, folder: Path, above: Path) -> str:
    return str(prefix / folder.relative_to(above))


def variables(run: SandboxRun, box: Box) -> dict[str, str]:
    """What every run of this environment finds, its folders included: each tier has its own."""
    work = str(PurePosixPath(box.output_folder).parent)
    temporary = "/tmp" if box.tier is IsolationTier.NAMESPACES else f"{work}/{TEMPORARY}"  # noqa: S108 - its own
    return run.variables | {"HOME": work, "STEPFLOW_OUTPUT_DIR": box.output_folder, "TMPDIR": temporary}


RESERVED_BYTES = 1024 * MIB
"""Where memory is watched, what a program may reserve without using it: stacks and buffers of numerical libraries."""


def already_running(tier: IsolationTier, owner: int) -> int:
    """What the kernel counts to a run's processes that is none of them: a user namespace has a count of its own."""
    return 0 if tier is IsolationTier.NAMESPACES else tasks_of(owner)


def _guest_limits(limits: Limits, box: Box) -> dict[str, int | None]:
    grouped = box.group is not None
    counted = box.group is not None and "pids" in box.group.folders
    return {
        "cpu_s": max(1, round(limits.cpu_s)),
        "open_files": limits.open_files,
        "processes": None if counted else limits.processes + already_running(box.tier, box.owner),
        "file_bytes": limits.file_bytes,
        "data_bytes": None if grouped else limits.memory_mib * MIB + RESERVED_BYTES,
        "result_bytes": limits.result_bytes,
        "output_files": limits.output_files,
        "output_files_bytes": limits.output_files_bytes,
    }
