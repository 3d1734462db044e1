"""A process that has imported what tools import, and is forked into their runs."""

import asyncio
import contextlib
import dataclasses
import json
import marshal
import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from stepflow_python.errors import InternalError
from stepflow_python.model.limits import Limits
from stepflow_python.ports import IsolationReport, SandboxRun
from stepflow_python.process.spawn import Child
from stepflow_python.sandbox.bell import Bell
from stepflow_python.sandbox.box import Box
from stepflow_python.sandbox.cgroup import RunGroup
from stepflow_python.sandbox.command import SHARED_MEMORY_BYTES, WORK
from stepflow_python.sandbox.host import Host
from stepflow_python.sandbox.memory_file import memory_file
from stepflow_python.sandbox.payload import FORMAT, site_packages, variables
from stepflow_python.sandbox.prepare import zygote_box
from stepflow_python.sandbox.streams import Messages, Wires
from stepflow_python.sandbox.warm.spare import Spare, SpareFailedError, Tool, adopted, prepared, send

SPARE: Final = b"S"
AT_ONCE: Final = b"N"
WIRES: Final = b"W"
START_S: Final = 60.0
"""Imports of a large environment from a cold disk take this long at most."""
SPARE_S: Final = 5.0
MESSAGE_BYTES: Final = 64 * 1024
COMPLAINT_BYTES: Final = 2000
BOUNDS: Final = Limits(memory_mib=2048, processes=128)
"""Of a zygote itself: it runs imports, which are a package's code."""

Imports = Sequence[tuple[str, tuple[str, ...]]]


class ZygoteFailedError(Exception):
    """It did not start; the message says why."""


@dataclass(slots=True, kw_only=True)
class Zygote:
    """A running one. `box` is a template of its runs' boxes, `unfit` what could not be imported ahead, with reasons."""

    host: Host
    child: Child
    control: socket.socket
    box: Box
    roots: frozenset[str]
    unfit: dict[str, str]
    forks: int = 0
    held: int = 0
    """Its processes that are being made, waiting, or running; `free` is set while there are none."""
    free: asyncio.Event = field(default_factory=asyncio.Event)
    started_kb: int | None = None
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def alive(self) -> bool:
        """Whether it can be forked."""
        return not self.child.ended

    def memory_kb(self) -> int | None:
        """KiB that it holds."""
        return None if self.box.group is None else self.box.group.usage().current_kb

    async def spare(self, limits: Limits, *, at_once: bool = False) -> Spare:
        """Fork one more process, for a run of such limits in the first place.

        Args:
            limits: of its control group.
            at_once: whether a run waits for it.

        Raises:
            SpareFailedError: it could not be made.
        """
        # Held from here on: one that is replaced while it forks must not be ended under the run that waits for it.
        self.held += 1
        self.free.clear()
        try:
            spare = await self._forked(limits, at_once=at_once)
        except BaseException:
            self._let_go()
            raise
        self.forks += 1
        return spare

    async def _forked(self, limits: Limits, *, at_once: bool) -> Spare:
        # Its group goes last: a supervisor ends when our end of its socket is closed.
        async with self._turn, contextlib.AsyncExitStack() as last, contextlib.AsyncExitStack() as undo:
            try:
                supervisor, its_end = _socket_pair(undo)
                supervisor.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
                with its_end:
                    send(self.control, AT_ONCE if at_once else SPARE, [its_end.fileno()])
                # All else is prepared while it wakes up and forks.
                group = self._group(limits, last)
                wires, tool = self._given(supervisor, group, undo)
                async with asyncio.timeout(SPARE_S):
                    process = await adopted(supervisor)
                    undo.callback(process.close)
                    # A run's request may lie there before the process that reads it.
                    ready = Tool(tool) if at_once else await prepared(tool)
            except (OSError, TimeoutError, SpareFailedError) as error:
                raise SpareFailedError(f"a waiting process could not be made: {error}") from error
            wires.direct = Messages(tool, sender=ready.spoke if at_once else None)
            wires.direct.listen()
            if group is not None:
                group.toll()  # its files are open then
            undo.pop_all()
            last.pop_all()
        return Spare(
            limits=limits,
            box=dataclasses.replace(self.box, group=group, confinement={}),
            process=process,
            wires=wires,
            supervisor=supervisor,
            tool=ready,
            forked_from=self.child,
            heard=wires.bell is not None and wires.bell.hung,
            let_go=self._let_go,
        )

    def _group(self, limits: Limits, undo: contextlib.AsyncExitStack) -> RunGroup | None:
        if self.host.groups is None:
            return None
        group = self.host.groups.create()
        undo.push_async_callback(group.remove)
        group.limit(limits)
        return group

    def _given(
        self, supervisor: socket.socket, group: RunGroup | None, undo: contextlib.AsyncExitStack
    ) -> tuple[Wires, socket.socket]:
        """Our ends of what a run needs; the others are sent to its supervisor."""
        wires = undo.enter_context(Wires())
        tool, its_end = _socket_pair(undo)
        tool.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        wires.report = os.memfd_create("report")
        with contextlib.ExitStack() as theirs:
            theirs.enter_context(its_end)
            files = [] if group is None else group.enter_files()
            for file in files:
                theirs.callback(os.close, file)
            send(supervisor, WIRES, [its_end.fileno(), *wires.ends, wires.report, *files])
        wires.hand_over()
        wires.bell = Bell(self.host.bells, wires.report)
        wires.bell.hang()
        wires.listen()
        return wires, tool

    def _let_go(self) -> None:
        self.held -= 1
        if not self.held:
            self.free.set()

    async def close(self) -> None:
        """End it, and with it all that it was forked into."""
        self.control.close()
        await _ended(self.child)
        if self.box.group is not None:
            await self.box.group.remove()


async def start_zygote(host: Host, report: IsolationReport, run: SandboxRun, imports: Imports) -> Zygote:
    """Start one for runs like this one.

    Raises:
        ZygoteFailedError: it did not start, or not in time.
    """
    unfit: dict[str, str] = {}
    while True:
        wanted = [(module, names) for module, names in imports if _root(module) not in unfit]
        try:
            zygote = await _start(host, report, run, wanted)
        except (OSError, InternalError, TimeoutError) as error:
            raise ZygoteFailedError(str(error) or "it took too long to start") from error
        if not zygote.unfit:
            zygote.unfit = unfit
            return zygote
        # What did not fit may have left traces, so it starts anew without it.
        unfit |= zygote.unfit
        await zygote.close()


async def _start(host: Host, report: IsolationReport, run: SandboxRun, imports: Imports) -> Zygote:
    roots = frozenset(_root(module) for module, _ in imports)
    async with contextlib.AsyncExitStack() as undo:
        group = None if host.groups is None else host.groups.create()
        if group is not None:
            undo.push_async_callback(group.remove)
            group.limit(BOUNDS)
        with contextlib.ExitStack() as theirs, memory_file("output", b"") as output:
            control, its_end = _socket_pair(undo)
            theirs.enter_context(its_end)
            async with zygote_box(host, report, run, group) as box:
                config = theirs.enter_context(memory_file("config", _config(host, box, run, imports)))
                launch = box.launch(stdout=output, stderr=output, fds=(config, its_end.fileno()), module="zygote")
                child = await host.spawner.spawn(launch)
            undo.push_async_callback(_ended, child)
            theirs.close()
            async with asyncio.timeout(START_S):
                said = await asyncio.get_running_loop().sock_recv(control, MESSAGE_BYTES)
            unfit = _unfit(said, roots, complaint=_complaint(output))
        undo.pop_all()
    zygote = Zygote(host=host, child=child, control=control, box=box, roots=roots, unfit=unfit)
    zygote.started_kb = zygote.memory_kb()
    return zygote


async def _ended(child: Child) -> None:
    await child.kill(patience_s=0.1)
    await child.wait()
    child.close()


def _config(host: Host, box: Box, run: SandboxRun, imports: Imports) -> bytes:
    work = run.limits.work_bytes
    folders = [(WORK, "0755", work), ("/tmp", "1777", work), ("/dev/shm", "1777", SHARED_MEMORY_BYTES)]  # noqa: S108 - inside the box
    shown = {str(path) for path in (run.environment.path, run.environment.base_prefix)}
    return marshal.dumps(
        {
            "site_packages": site_packages(run, box),
            "prefix": str(box.prefix),
            "env": variables(run, box),
            "imports": [[module, list(names)] for module, names in imports],
            "folders": folders,
            "kept": sorted(path for path in shown if path.startswith(tuple(f"{folder}/" for folder, _, _ in folders))),
            "output_folder": box.output_folder,
            "network": run.security.enable_network_access,
            "confinement": {"filters": [] if host.means.filters.every_run is None else [host.means.filters.every_run]},
            "tools": host.means.in_namespaces(run.security),
        },
        FORMAT,
    )


def _unfit(message: bytes, roots: frozenset[str], *, complaint: str) -> dict[str, str]:
    """What a zygote said at its start. Package code may have written it: data about what was asked, no more.

    Raises:
        OSError: it ended instead.
    """
    try:
        said = json.loads(message)
        unfit = {name: str(reason) for name, reason in said["unfit"].items() if name in roots}
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise OSError(f"it ended at its start: {complaint}") from error
    return unfit


def _complaint(output: int) -> str:
    return os.pread(output, COMPLAINT_BYTES, 0).decode("utf-8", "replace").strip()


def _root(module: str) -> str:
    return module.partition(".")[0]


def _socket_pair(ours: contextlib.AsyncExitStack) -> tuple[socket.socket, socket.socket]:
    """Our end, closed with the stack, and the guest's."""
    pair = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    pair[0].setblocking(False)
    ours.callback(pair[0].close)
    return pair
