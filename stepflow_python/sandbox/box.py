"""A place to run in, and a run that is under way in it."""

import asyncio
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from stepflow_python.model.limits import Limit
from stepflow_python.model.result import MemoryEnforcement, Status
from stepflow_python.model.security import IsolationTier, SecurityStatus
from stepflow_python.ports import SandboxRun
from stepflow_python.process.spawn import Launch
from stepflow_python.sandbox.cgroup import RunGroup
from stepflow_python.sandbox.command import python_command
from stepflow_python.sandbox.streams import Capture
from stepflow_python.sandbox.watchdog import Taken, taken_by

TEMPORARY = "tmp"
"""The folder for temporary files below a work folder on disk."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """A prepared place to run in.

    `head` is the argv up to the interpreter; `guest`, `output_folder` and `prefix`, the environment's, are paths as the
    run sees them.
    """

    tier: IsolationTier
    head: list[str]
    interpreter: Path
    guest: str
    group: RunGroup | None
    enforcement: MemoryEnforcement
    output_folder: str
    prefix: Path
    cwd: str = "/"
    uid: int | None = None
    """Whom `head` is started as; none is us."""
    owner: int = field(default_factory=os.geteuid)
    """Whom the tool's processes belong to, as the host sees it."""
    disk: Path | None = None
    """The work folder, where it is one of the host's disk."""
    pass_fds: tuple[int, ...] = ()
    """Open descriptors that `head` names."""
    confinement: Mapping[str, object] = field(default_factory=dict)
    """What the guest adds, in the tool's process, to what holds the box; see `Confinement` in the guest."""

    def argv(self, *fds: int, module: str = "main") -> list[str]:
        """The whole command line, once the descriptors are known that the guest's module is told."""
        return [*self.head, *python_command(self.interpreter, guest=self.guest, fds=fds, module=module)]

    def launch(
        self, *, stdout: int, stderr: int, fds: tuple[int, ...], passed: int | None = None, module: str = "main"
    ) -> Launch:
        """How to start the guest in it: it is told of `fds`, and given `passed` as well."""
        return Launch(
            argv=self.argv(*fds, module=module),
            env={},
            stdout=stdout,
            stderr=stderr,
            pass_fds=(*fds, *self.pass_fds, *(() if passed is None else (passed,))),
            join=self.group.join if self.group is not None else (),
            visit=self.group.visit if self.group is not None else (),
            cwd=self.cwd,
            uid=self.uid,
        )


class Process(Protocol):
    """What a run's tree hangs on: its end ends all of it."""

    @property
    def pid(self) -> int:
        """Its number."""

    @property
    def ended(self) -> bool:
        """Whether it has ended."""

    @property
    def code(self) -> int:
        """Its return code once it has ended; 0 where that cannot be known."""

    @property
    def cpu_ms(self) -> float | None:
        """CPU time of the tree once it has ended, if that is known from outside."""

    def call_when_ended(self, callback: Callable[[], None]) -> None:
        """Call this at its end, or now if it has ended."""

    async def wait(self) -> int:
        """Wait for its end."""

    async def kill(self, *, patience_s: float) -> None:
        """End the tree."""

    async def kill_below(self, *, patience_s: float) -> None:
        """End all that is below it."""

    def kill_now(self) -> None:
        """SIGKILL."""

    def close(self) -> None:
        """Let go of it."""


@dataclass(slots=True)
class Running:
    """A run that is under way."""

    run: SandboxRun
    box: Box
    started: float = field(default_factory=time.monotonic)
    stopped: Status | None = None
    stopped_for: Limit | None = None
    peak_kb: int = 0
    wall_ms: float = 0.0
    taken_ms: float | None = None
    """CPU time of its tree when it was killed."""
    cpu_clock: Callable[[], float | None] | None = None
    """CPU time in ms of the tool's process while there is one, where that can be read."""
    process: Process | None = None
    streams: tuple[Capture, Capture] | None = None
    """What it has printed so far on stdout and stderr."""
    began_ms: float | None = None
    """Wall time until the guest had all it needed and went on to the tool."""
    code: bytes | None = None
    """The source, compiled by the interpreter that it runs on."""
    compile_only: bool = False
    warm: bool = False
    over: asyncio.Event = field(default_factory=asyncio.Event)

    def began(self) -> None:
        """The tool is about to run."""
        self.began_ms = self.elapsed_ms()

    def elapsed_ms(self) -> float:
        """Wall time since it was asked for."""
        return (time.monotonic() - self.started) * 1000

    def stop(self, why: Status, limit: Limit | None = None) -> None:
        """End the run for this reason, and this limit if it was one; the first reason stays."""
        if self.stopped is None:
            self.stopped, self.stopped_for = why, limit
        self.over.set()

    def status(self) -> SecurityStatus:
        """What is known of it now."""
        usage = self.box.group.usage() if self.box.group is not None else None
        taken = taken_by(self.process.pid) if self.process is not None else Taken()
        return SecurityStatus(
            execution_id=self.run.execution_id,
            running=True,
            isolation=self.box.tier,
            memory_usage_kb=usage.current_kb if usage is not None else self.peak_kb or None,
            cpu_time_ms=usage.cpu_ms if usage is not None and usage.cpu_ms is not None else taken.cpu_ms,
            processes=usage.processes if usage is not None and usage.processes is not None else taken.tasks,
        )
