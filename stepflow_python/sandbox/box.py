"""One run from its first descriptor to its last: start, watch, kill, clear away."""

import asyncio
import marshal
import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from stepflow_python.errors import InternalError
from stepflow_python.model.limits import Limits
from stepflow_python.model.result import MemoryEnforcement, SandboxOutcome, Status, Truncated
from stepflow_python.model.security import IsolationTier, SecurityStatus
from stepflow_python.ports import SandboxRun
from stepflow_python.process.spawn import Child, Launch, Spawner
from stepflow_python.sandbox.cgroup import MIB, RunGroup
from stepflow_python.sandbox.channel import Answer, AnswerReader
from stepflow_python.sandbox.command import python_command
from stepflow_python.sandbox.outcome import Seen, outcome_of
from stepflow_python.sandbox.streams import Capture, Pipe
from stepflow_python.sandbox.watchdog import tree_memory_kb

WATCH_INTERVAL_S = 0.02
KILL_PATIENCE_S = 0.1
DRAIN_S = 0.25
DRAIN_BYTES = 4 * MIB


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

    def argv(self, request_fd: int, reply_fd: int) -> list[str]:
        """The whole command line, once the descriptors are known."""
        guest = python_command(self.interpreter, guest=self.guest, request_fd=request_fd, reply_fd=reply_fd)
        return [*self.head, *guest]


@dataclass(slots=True)
class Running:
    """A run that is under way."""

    run: SandboxRun
    box: Box
    started: float = field(default_factory=time.monotonic)
    stopped: Status | None = None
    peak_kb: int = 0
    wall_ms: float = 0.0
    child: Child | None = None
    over: asyncio.Event = field(default_factory=asyncio.Event)

    def stop(self, why: Status) -> None:
        """End the run for this reason; the first reason stays."""
        self.stopped = self.stopped or why
        self.over.set()

    def status(self) -> SecurityStatus:
        """What is known of it now."""
        usage = self.box.group.usage() if self.box.group is not None else None
        return SecurityStatus(
            execution_id=self.run.execution_id,
            running=True,
            isolation=self.box.tier,
            memory_usage_kb=usage.current_kb if usage is not None else self.peak_kb or None,
            cpu_time_ms=usage.cpu_ms if usage is not None else None,
            processes=usage.processes if usage is not None else None,
        )


async def run_in(running: Running, spawner: Spawner, cancel: asyncio.Event | None) -> SandboxOutcome:
    """Run to the end or to a limit; the whole tree is gone when this returns.

    Raises:
        InternalError: the box could not be started.
    """
    run, box = running.run, running.box
    answer = AnswerReader(run.limits)
    stdout = Capture(run.limits.output_bytes, lambda: running.stop(Status.OUTPUT_EXCEEDED))
    stderr = Capture(run.limits.output_bytes, lambda: running.stop(Status.OUTPUT_EXCEEDED))
    with ExitStack() as stack:
        pipes = [stack.enter_context(Pipe(sink)) for sink in (stdout, stderr, answer.feed)]
        out, err, reply = pipes
        request_fd = stack.enter_context(_request(run, box))
        launch = Launch(
            argv=box.argv(request_fd, reply.write),
            env={},
            stdout=out.write,
            stderr=err.write,
            pass_fds=(request_fd, reply.write),
            join=box.group.join if box.group is not None else (),
            visit=box.group.visit if box.group is not None else (),
            cwd=box.cwd,
        )
        try:
            child = await spawner.spawn(launch)
        except OSError as error:
            raise InternalError(f"a box could not be started: {error}") from error
        running.child = child
        try:
            for pipe in pipes:
                pipe.hand_over()
            await _watch(running, child, cancel)
        finally:
            await _clear_away(running, child, pipes)
        running.wall_ms = (time.monotonic() - running.started) * 1000
    if not answer.answer.began and running.stopped is None:
        said = stderr.text.strip()[:1000]
        raise InternalError(f"a box did not start (exit code {child.code}): {said}")
    return _judge(running, child, answer.answer, streams=(stdout, stderr))


def _judge(running: Running, child: Child, answer: Answer, *, streams: tuple[Capture, Capture]) -> SandboxOutcome:
    stdout, stderr = streams
    box = running.box
    usage = box.group.usage() if box.group is not None else None
    return outcome_of(
        Seen(
            answer=answer,
            limits=running.run.limits,
            stdout=stdout.text,
            stderr=stderr.text,
            truncated=Truncated(stdout=stdout.truncated, stderr=stderr.truncated),
            stopped=running.stopped,
            out_of_memory=usage is not None and usage.oom_kills > 0,
            box_code=child.code,
            wall_ms=running.wall_ms,
            cpu_ms=round(child.cpu_ms, 3),
            memory_kb=usage.memory_kb if usage is not None else running.peak_kb or None,
            isolation=box.tier,
            memory_enforcement=box.enforcement,
        )
    )


async def _watch(running: Running, child: Child, cancel: asyncio.Event | None) -> None:
    """Wait until the run ends or has to."""
    loop = asyncio.get_running_loop()
    waits: list[asyncio.Task[object]] = [loop.create_task(child.wait()), loop.create_task(running.over.wait())]
    if cancel is not None:
        waits.append(loop.create_task(_cancelled(running, cancel)))
    if running.box.group is None:
        waits.append(loop.create_task(_watch_memory(running, child)))
    try:
        remaining = running.started + running.run.limits.timeout_s - time.monotonic()
        done, _ = await asyncio.wait(waits, timeout=max(remaining, 0), return_when=asyncio.FIRST_COMPLETED)
        if not done:
            running.stop(Status.TIMED_OUT)
    finally:
        for wait in waits:
            wait.cancel()
        await asyncio.gather(*waits, return_exceptions=True)


async def _cancelled(running: Running, cancel: asyncio.Event) -> None:
    await cancel.wait()
    running.stop(Status.CANCELLED)


async def _watch_memory(running: Running, child: Child) -> None:
    limit_kb = running.run.limits.memory_mib * 1024
    while True:
        held = tree_memory_kb(child.popen.pid, precise_above_kb=limit_kb)
        running.peak_kb = max(running.peak_kb, held)
        if held > limit_kb:
            running.stop(Status.MEMORY_EXCEEDED)
            return
        await asyncio.sleep(WATCH_INTERVAL_S)


async def _clear_away(running: Running, child: Child, pipes: list[Pipe]) -> None:
    """Kill what is left, and keep what was printed before."""
    without_namespace = running.box.tier is IsolationTier.PROCESS
    if not child.ended or without_namespace:
        # Process 1 of the box takes its whole namespace along, and dies with its launcher at the latest.
        await child.kill(patience_s=KILL_PATIENCE_S)
        if running.box.group is not None:
            running.box.group.kill()
    await child.wait()
    child.close()
    with suppress(TimeoutError):
        async with asyncio.timeout(DRAIN_S):
            await asyncio.gather(*(pipe.closed.wait() for pipe in pipes))
    for pipe in pipes:
        pipe.drain(DRAIN_BYTES)


@contextmanager
def _request(run: SandboxRun, box: Box) -> Iterator[int]:
    """The request as a descriptor at its start: memory of ours, so nothing blocks and no file is left.

    marshal goes in this direction only, from us to the guest: the guest's words are never anything but JSON.
    """
    site_packages = run.environment.site_packages.relative_to(run.environment.path)
    payload = marshal.dumps(
        {
            "source": run.source,
            "module_name": run.module_name,
            "function": run.function,
            "parameters": [[parameter.name, parameter.kind.value] for parameter in run.parameters],
            "arguments": run.arguments,
            "input_schema": run.input_schema,
            "stdin": run.stdin,
            "files": run.files,
            "env": _places(box) | run.env,
            "site_packages": str(box.prefix / site_packages),
            "prefix": str(box.prefix),
            "output_folder": box.output_folder,
            "limits": _guest_limits(run.limits, box),
        },
        2,
    )
    fd = os.memfd_create("request")
    try:
        view = memoryview(payload)
        while view:
            view = view[os.write(fd, view) :]
        os.lseek(fd, 0, os.SEEK_SET)
        yield fd
    finally:
        os.close(fd)


def _places(box: Box) -> dict[str, str]:
    """Where a run finds its folders: every tier has its own."""
    return {"HOME": str(PurePosixPath(box.output_folder).parent), "STEPFLOW_OUTPUT_DIR": box.output_folder}


def _guest_limits(limits: Limits, box: Box) -> dict[str, int | None]:
    grouped = box.group is not None
    counted = box.group is not None and "pids" in box.group.folders
    return {
        "cpu_s": max(1, round(limits.cpu_s)),
        "open_files": limits.open_files,
        "processes": None if counted else limits.processes,
        "file_bytes": limits.file_bytes,
        "data_bytes": None if grouped else limits.memory_mib * MIB,
        "result_bytes": limits.result_bytes,
        "output_files": limits.output_files,
        "output_files_bytes": limits.output_files_bytes,
    }
