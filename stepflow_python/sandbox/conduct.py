"""One run from its start to its outcome: watch, kill, clear away, judge."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from stepflow_python.errors import InternalError
from stepflow_python.model.limits import Limit
from stepflow_python.model.result import SandboxOutcome, Status, Truncated
from stepflow_python.model.security import IsolationTier
from stepflow_python.sandbox.box import Process, Running
from stepflow_python.sandbox.cgroup import MIB, Toll
from stepflow_python.sandbox.channel import Answer, AnswerReader
from stepflow_python.sandbox.disk import over
from stepflow_python.sandbox.outcome import Seen, outcome_of
from stepflow_python.sandbox.streams import Capture, Wires
from stepflow_python.sandbox.watchdog import CORES, taken_by, tree_memory_kb

WATCH_INTERVAL_S = 0.02
DISK_INTERVAL_S = 0.1
KILL_PATIENCE_S = 0.1
DRAIN_S = 0.25
SUPERVISOR_S = 0.25
"""A supervisor ends right after its last word, unless a tool has taken it over."""
DRAIN_BYTES = 4 * MIB
NOTHING_TRUNCATED = Truncated()

Start = Callable[[], Awaitable[Process]]
"""Sets a run going."""


class BoxNotStartedError(InternalError):
    """A box could not be started; nothing of the tool has run."""


async def conduct(running: Running, wires: Wires, start: Start, cancel: asyncio.Event | None) -> SandboxOutcome:
    """Run to the end or to a limit. Nothing of the tool runs any more when this returns.

    Its supervisor may be on its way out then, and namespaces take milliseconds to go: that is for `seen_off`.

    Args:
        running: the run.
        wires: its pipes, which the caller closes.
        start: sets it going.
        cancel: ends it when set.

    Raises:
        BoxNotStartedError: nothing has run.
    """
    run, box = running.run, running.box
    # Without a pid namespace, the supervisor's last word does not mean that all others are gone.
    contained = box.tier is IsolationTier.NAMESPACES
    over = running.over.set if contained else None
    answer = AnswerReader(run.limits, report=wires.report, began=running.began, over=over)
    stdout = Capture(run.limits.output_bytes, lambda: running.stop(Status.OUTPUT_EXCEEDED, Limit.OUTPUT))
    stderr = Capture(run.limits.output_bytes, lambda: running.stop(Status.OUTPUT_EXCEEDED, Limit.OUTPUT))
    running.streams = (stdout, stderr)
    wires.watch(stdout, stderr, answer.feed, direct=answer.take, left=answer.look)
    try:
        process = running.process = await start()
    except OSError as error:
        raise BoxNotStartedError(f"a box could not be started: {error}") from error
    try:
        wires.hand_over()
        await _watch(running, process, cancel)
    finally:
        if not (contained and answer.answer.complete and running.stopped is None):
            await _end(running, process, wires)
        wires.drain(DRAIN_BYTES)
    running.wall_ms = running.elapsed_ms()
    if not answer.answer.began and running.stopped is None:
        said = stderr.text.strip()[:1000]
        raise BoxNotStartedError(f"a box did not start (exit code {process.code}): {said}")
    return _judge(running, process, answer.answer, streams=(stdout, stderr))


async def seen_off(running: Running) -> None:
    """Wait until nothing is left of a run's processes."""
    process = running.process
    if process is None:
        return
    try:
        async with asyncio.timeout(SUPERVISOR_S):
            await process.wait()
    except TimeoutError:
        await process.kill(patience_s=KILL_PATIENCE_S)
        await process.wait()
    process.close()


async def _watch(running: Running, process: Process, cancel: asyncio.Event | None) -> None:
    """Wait until the run ends or has to."""
    process.call_when_ended(running.over.set)
    others: list[asyncio.Task[None]] = []
    # Most runs are over before there is anything to see: five tasks would be a tenth of what such a run takes.
    later = asyncio.get_running_loop().call_later(WATCH_INTERVAL_S, _watch_closely, running, process, cancel, others)
    try:
        async with asyncio.timeout(max(running.started + running.run.limits.timeout_s - time.monotonic(), 0)):
            await running.over.wait()
    except TimeoutError:
        running.stop(Status.TIMED_OUT, Limit.WALL_TIME)
    finally:
        later.cancel()
        for other in others:
            other.cancel()
        if others:
            await asyncio.gather(*others, return_exceptions=True)


def _watch_closely(
    running: Running, process: Process, cancel: asyncio.Event | None, tasks: list[asyncio.Task[None]]
) -> None:
    """Start what looks at the run again and again."""
    loop = asyncio.get_running_loop()
    tasks.append(loop.create_task(_watch_cpu(running, process)))
    if cancel is not None:
        tasks.append(loop.create_task(_cancelled(running, cancel)))
    if running.box.disk is not None:
        tasks.append(loop.create_task(_watch_disk(running, running.box.disk)))
    if running.box.group is None:
        tasks.append(loop.create_task(_watch_memory(running, process)))


async def _cancelled(running: Running, cancel: asyncio.Event) -> None:
    await cancel.wait()
    running.stop(Status.CANCELLED)


async def _watch_cpu(running: Running, process: Process) -> None:
    """The kernel bounds each process; what all take together is looked at when it could have become too much."""
    limit_ms = running.run.limits.cpu_s * 1000
    used_ms = 0.0
    while used_ms < limit_ms:
        await asyncio.sleep(max((limit_ms - used_ms) / CORES / 1000, WATCH_INTERVAL_S))
        used_ms = taken_by(process.pid).cpu_ms
    running.stop(Status.TIMED_OUT, Limit.CPU_TIME)


async def _watch_disk(running: Running, folder: Path) -> None:
    while True:
        if await asyncio.to_thread(over, folder, running.run.limits.work_bytes):
            running.stop(Status.FAILED, Limit.WORK_SIZE)
            return
        await asyncio.sleep(DISK_INTERVAL_S)


async def _watch_memory(running: Running, process: Process) -> None:
    limit_kb = running.run.limits.memory_mib * 1024
    while True:
        held = tree_memory_kb(process.pid, precise_above_kb=limit_kb)
        running.peak_kb = max(running.peak_kb, held)
        if held > limit_kb:
            running.stop(Status.MEMORY_EXCEEDED, Limit.MEMORY)
            return
        await asyncio.sleep(WATCH_INTERVAL_S)


async def _end(running: Running, process: Process, wires: Wires) -> None:
    """Kill what is left, and wait for what was printed before."""
    contained = running.box.tier is IsolationTier.NAMESPACES
    running.taken_ms = taken_by(process.pid).cpu_ms
    if not contained:
        await process.kill_below(patience_s=KILL_PATIENCE_S)
    if not process.ended or not contained:
        # Process 1 of the box takes its whole namespace along, and dies with its launcher at the latest.
        await process.kill(patience_s=KILL_PATIENCE_S)
        if running.box.group is not None:
            running.box.group.kill()
    await process.wait()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(DRAIN_S):
            await asyncio.gather(*(pipe.closed.wait() for pipe in wires.all))


def _judge(running: Running, process: Process, answer: Answer, *, streams: tuple[Capture, Capture]) -> SandboxOutcome:
    stdout, stderr = streams
    box = running.box
    toll = box.group.toll() if box.group is not None else Toll()
    return outcome_of(
        Seen(
            answer=answer,
            limits=running.run.limits,
            stdout=stdout.text,
            stderr=stderr.text,
            truncated=(
                Truncated(stdout=stdout.truncated, stderr=stderr.truncated)
                if stdout.truncated or stderr.truncated
                else NOTHING_TRUNCATED
            ),
            stopped=running.stopped,
            stopped_for=running.stopped_for,
            out_of_memory=toll.oom_kills > 0,
            forks_refused=toll.forks_refused,
            box_code=process.code,
            wall_ms=running.wall_ms,
            dispatch_ms=running.began_ms,
            cpu_ms=_cpu_ms(running, process, answer),
            memory_kb=toll.memory_kb if box.group is not None else running.peak_kb or None,
            isolation=box.tier,
            warm=running.warm,
            memory_enforcement=box.enforcement,
        )
    )


def _cpu_ms(running: Running, process: Process, answer: Answer) -> float | None:
    """What the guest says that the kernel told it, at least what can be seen; else what was seen from outside."""
    if answer.status is not None:
        clock = running.cpu_clock() if running.cpu_clock is not None else None
        return round(max(answer.status.cpu_ms, clock or 0.0), 3)
    seen = process.cpu_ms if process.cpu_ms is not None else running.taken_ms
    return None if seen is None else round(seen, 3)
