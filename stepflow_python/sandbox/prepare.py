"""A box for one run: its control group, its view of the host, the command that starts it."""

import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from stepflow_python.errors import InternalError
from stepflow_python.model.environment import Environment
from stepflow_python.model.security import IsolationTier
from stepflow_python.ports import IsolationReport, SandboxRun
from stepflow_python.sandbox.box import Box
from stepflow_python.sandbox.cgroup import RunGroup
from stepflow_python.sandbox.command import GUEST, WORK, View, bubblewrap_command
from stepflow_python.sandbox.guest_files import compiled_guest
from stepflow_python.sandbox.host import Host


@asynccontextmanager
async def prepared_box(host: Host, report: IsolationReport, run: SandboxRun) -> AsyncIterator[Box]:
    """A box of this host's tier; nothing of it is left afterwards.

    Raises:
        InternalError: it could not be prepared.
    """
    guest = await compiled_guest(run.environment.interpreter, folder=host.config.folder / "guest")
    async with _control_group(host, run) as group:
        place = _Place(run=run, guest=guest, group=group)
        if report.tier is IsolationTier.NAMESPACES:
            yield await _namespaces_box(host, report, place)
        else:
            with _work_folder(host) as work:
                yield await _process_box(host, report, place, work=work)


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


async def _namespaces_box(host: Host, report: IsolationReport, place: _Place) -> Box:
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
    )
    program /= host.bubblewrap.program
    return Box(
        tier=report.tier,
        head=host.unprivileged(bubblewrap_command(program, view, place.run.limits)),
        interpreter=environment.interpreter,
        guest=GUEST,
        group=place.group,
        enforcement=report.memory,
        output_folder=f"{WORK}/output",
        prefix=environment.path,
    )


async def _process_box(host: Host, report: IsolationReport, place: _Place, *, work: Path) -> Box:
    environment = place.run.environment
    guest, base_prefix, path = await host.show(place.guest, environment.base_prefix, environment.path)
    return Box(
        tier=report.tier,
        head=host.unprivileged([]),
        interpreter=_shown_interpreter(environment, base_prefix),
        guest=str(guest),
        group=place.group,
        enforcement=report.memory,
        output_folder=str(work / "output"),
        cwd=str(work),
        prefix=path,
    )


def _shown_interpreter(environment: Environment, base_prefix: Path) -> Path:
    """The environment's own, or where its link leads if the installation lies elsewhere for a run."""
    if base_prefix == environment.base_prefix:
        return environment.interpreter
    return base_prefix / environment.interpreter.resolve().relative_to(environment.base_prefix.resolve())


@contextmanager
def _work_folder(host: Host) -> Iterator[Path]:
    """A folder on disk for a run without namespaces; `rmtree` does not follow the links that a run left in it."""
    work = Path(tempfile.mkdtemp(prefix="stepflow-run-"))
    try:
        if host.is_root:
            os.chown(work, host.config.uid, host.config.uid)
        yield work
    finally:
        shutil.rmtree(work, ignore_errors=True)
