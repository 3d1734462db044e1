"""A box for one run: its control group, its view of the host, the command that starts it."""

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from stepflow_python.errors import InternalError, SecurityViolationError
from stepflow_python.model.environment import Environment
from stepflow_python.model.security import IsolationTier
from stepflow_python.ports import IsolationReport, SandboxRun
from stepflow_python.sandbox.box import TEMPORARY, Box
from stepflow_python.sandbox.cgroup import RunGroup
from stepflow_python.sandbox.clearing import remove_tree
from stepflow_python.sandbox.command import GUEST, WORK, View, bubblewrap_command
from stepflow_python.sandbox.guest_files import compiled_guest
from stepflow_python.sandbox.host import Host
from stepflow_python.sandbox.memory_file import memory_file

ZYGOTE_RIGHTS = ("CAP_SYS_ADMIN", "CAP_NET_ADMIN")
"""Inside the user namespace of its box: to make namespaces and mounts, and to raise the loopback interface."""


@asynccontextmanager
async def prepared_box(host: Host, report: IsolationReport, run: SandboxRun) -> AsyncIterator[Box]:
    """A box of this host's tier; nothing of it is left afterwards.

    Raises:
        SecurityViolationError: it brings files, and may have none.
        InternalError: it could not be prepared.
    """
    if run.files and not run.security.enable_file_access:
        raise SecurityViolationError("files: this run may use none; send what it needs in parameters or stdin")
    guest = await compiled_guest(run.environment.interpreter, folder=host.config.folder / "guest")
    async with _control_group(host, run) as group:
        place = _Place(run=run, guest=guest, group=group)
        if report.tier is IsolationTier.NAMESPACES:
            with memory_file("filter", host.means.filters.every_run or b"") as filter_fd:
                yield await _namespaces_box(host, report, place, filter_fd=filter_fd)
        else:
            async with _work_folder(host) as work:
                yield await _open_box(host, report, place, work=work)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """What every tier's box is made of."""

    run: SandboxRun
    guest: Path
    group: RunGroup | None


@asynccontextmanager
async def _control_group(host: Host, run: SandboxRun) -> AsyncIterator[RunGroup | None]:
    if host.groups is None:
        yield None
        return
    try:
        group = host.groups.create()
    except OSError as error:
        raise InternalError(f"no control group could be made for a run: {error}") from error
    try:
        group.limit(run.limits)
        yield group
    finally:
        await group.remove()


@asynccontextmanager
async def zygote_box(
    host: Host, report: IsolationReport, run: SandboxRun, group: RunGroup | None
) -> AsyncIterator[Box]:
    """A box for a process that is forked into runs like this one, in namespaces that it makes for them.

    Raises:
        InternalError: it could not be prepared.
    """
    guest = await compiled_guest(run.environment.interpreter, folder=host.config.folder / "guest")
    place = _Place(run=run, guest=guest, group=group)
    with memory_file("filter", host.means.filters.zygote or b"") as fd:
        yield await _namespaces_box(host, report, place, filter_fd=fd, capabilities=ZYGOTE_RIGHTS)


async def _namespaces_box(
    host: Host, report: IsolationReport, place: _Place, *, filter_fd: int, capabilities: tuple[str, ...] = ()
) -> Box:
    if host.bubblewrap is None:
        raise InternalError("the tier is `namespaces`, but bubblewrap is gone; start the worker again")
    environment, folder = place.run.environment, host.bubblewrap.folder
    needed = (folder, host.etc, place.guest, environment.base_prefix, environment.path)
    program, etc, guest, base_prefix, path = await host.show(*needed)
    view = View(
        shown=((base_prefix, environment.base_prefix), (path, environment.path)),
        guest=guest,
        etc=etc,
        network=place.run.security.enable_network_access,
        capabilities=capabilities,
        files=place.run.security.enable_file_access,
    )
    program /= host.bubblewrap.program
    filtered = host.means.filters.every_run is not None
    argv = bubblewrap_command(program, view, place.run.limits, filter_fd=filter_fd if filtered else None)
    uid = host.starts_as if place.group is None or not place.group.join else None
    return Box(
        tier=report.tier,
        head=host.unprivileged(argv) if uid is None else argv,
        uid=uid,
        interpreter=environment.interpreter,
        guest=GUEST,
        group=place.group,
        enforcement=report.memory,
        output_folder=f"{WORK}/output",
        prefix=environment.path,
        pass_fds=(filter_fd,),
        confinement=host.means.in_namespaces(place.run.security),
    )


async def _open_box(host: Host, report: IsolationReport, place: _Place, *, work: Path) -> Box:
    """A box without namespaces: its folders are the host's."""
    environment, security = place.run.environment, place.run.security
    guest, base_prefix, path = await host.show(place.guest, environment.base_prefix, environment.path)
    return Box(
        tier=report.tier,
        head=host.unprivileged([]),
        owner=host.config.uid if host.is_root else os.geteuid(),
        interpreter=_shown_interpreter(environment, base_prefix),
        guest=str(guest),
        group=place.group,
        enforcement=report.memory,
        output_folder=str(work / "output"),
        cwd=str(work),
        disk=work,
        prefix=path,
        confinement=host.means.alone(report.tier, security, readable=(guest, base_prefix, path), work=work),
    )


def _shown_interpreter(environment: Environment, base_prefix: Path) -> Path:
    """The environment's own, or where its link leads if the installation lies elsewhere for a run."""
    if base_prefix == environment.base_prefix:
        return environment.interpreter
    return base_prefix / environment.interpreter.resolve().relative_to(environment.base_prefix.resolve())


@asynccontextmanager
async def _work_folder(host: Host) -> AsyncIterator[Path]:
    """A folder on disk for a run without namespaces. Other runs go on while it is removed, full as it may be."""
    work = _new_work_folder(host)
    try:
        yield work
    finally:
        await asyncio.to_thread(remove_tree, work)


def _new_work_folder(host: Host) -> Path:
    work = Path(tempfile.mkdtemp(prefix="stepflow-run-")).resolve()
    for folder in (work / TEMPORARY, work):
        folder.mkdir(mode=0o700, exist_ok=True)
        if host.is_root:
            os.chown(folder, host.config.uid, host.config.uid)
    return work
