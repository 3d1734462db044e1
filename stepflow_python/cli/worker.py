"""`stepflow worker`: runs what is submitted."""

import asyncio
import contextlib
import itertools
import signal
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from functools import partial
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

import click

from stepflow_python.bootstrap.loop import LoopThread
from stepflow_python.bootstrap.redelivery import tie_up_for_ever
from stepflow_python.bootstrap.runtime import Runtime, Watched, open_runtime, sandbox_config, warm_options
from stepflow_python.cli.exits import SUCCEEDED
from stepflow_python.cli.render import note, write
from stepflow_python.cli.session import Session, open_session
from stepflow_python.config import Settings
from stepflow_python.errors import DatabaseUnavailableError
from stepflow_python.messaging.dispatch import backoff_s
from stepflow_python.metrics import WARM_POOL
from stepflow_python.ports import IsolationReport
from stepflow_python.sandbox.remedies import require
from stepflow_python.tracing import switch_on
from stepflow_python.worker.health import PATIENCE_S, Check, health_server
from stepflow_python.worker.main import WorkerOptions, run_worker
from stepflow_python.worker.service import JobService

if TYPE_CHECKING:
    from stepflow_python.worker.exposition import PrometheusMeter

LONGEST_WAIT_S = 15.0
"""Between two tries to reach the record at the start."""


@click.command("worker")
@click.option("--concurrency", type=click.IntRange(1, 1024), metavar="N", help="Executions at a time.")
@click.option("--cold", is_flag=True, help="Start a process for each run; none waits for tools that are called again.")
@click.option("--queues", metavar="Q", help="Queues to take from, separated by commas.")
@click.option(
    "--health-port", type=click.IntRange(0, 65535), metavar="P", help="Answer /live, /ready and /metrics here."
)
def worker(*, concurrency: int | None, queues: str | None, cold: bool, health_port: int | None) -> None:
    """Run what is submitted, until stopped: at the first SIGTERM or Ctrl-C running tools finish, at the second not.

    What has not finished STOP_TIMEOUT seconds after the first is handed back, and run again by another worker.
    """
    session = open_session()
    signal.signal(signal.SIGTERM, _stop_before_it_works)
    loop = LoopThread()
    warm = warm_options(session.settings) if session.settings.warm and not cold else None
    meter = _meter(session.settings) if health_port is not None else None
    watched = Watched(meter=meter, tracer=switch_on(session.environ, service="stepflow-worker"))
    opening = partial(open_runtime, session.settings, environ=session.environ, warm=warm, watched=watched)
    checks = {"loop": partial(_loop_answers, loop)}
    try:
        opened, runtime = _opened(opening, loop, checks=checks, health_port=health_port)
        if meter is not None:
            meter.ask(lambda: [(WARM_POOL, (event,), count) for event, count in dict(runtime.warm_counts).items()])
        ties = loop.start(tie_up_for_ever(session.settings, runtime.loose))
        options = WorkerOptions(
            concurrency=concurrency,
            queues=queues,
            health_port=health_port,
            checks={**checks, "record": partial(_record_answers, runtime, loop)},
            meter=meter,
        )
        try:
            code = run_worker(
                session.settings,
                jobs=JobService(runtime, loop),
                isolation=loop.call(_isolation(runtime, session)),
                announce=lambda text: write(f"{text}\n"),
                options=options,
            )
        finally:
            ties.cancel()
            loop.call(opened.__aexit__(None, None, None))
    finally:
        loop.close()
    click.get_current_context().exit(code)


def _stop_before_it_works(_number: int, _frame: FrameType | None) -> NoReturn:
    """Until the worker has a way of its own to stop: the first process of a container has none to begin with."""
    raise SystemExit(SUCCEEDED)


def _loop_answers(loop: LoopThread) -> bool:
    loop.start(asyncio.sleep(0)).result(PATIENCE_S)
    return True


def _record_answers(runtime: Runtime, loop: LoopThread) -> bool:
    loop.start(runtime.history.result("")).result(PATIENCE_S)
    return True


def _opened(
    opening: Callable[[], AbstractAsyncContextManager[Runtime]],
    loop: LoopThread,
    *,
    checks: Mapping[str, Check],
    health_port: int | None,
) -> tuple[AbstractAsyncContextManager[Runtime], Runtime]:
    """The runtime, as soon as its record can be reached; alive and not ready until then."""
    with contextlib.ExitStack() as stack:
        for attempt in itertools.count(1):
            opened = opening()
            try:
                return opened, loop.call(opened.__aenter__())
            except DatabaseUnavailableError as error:
                delay_s = min(backoff_s(attempt), LONGEST_WAIT_S)
                note(f"waiting for the record, next try in {delay_s:.1f} s: {error.message}")
                if attempt == 1 and health_port is not None:
                    ready = {**checks, "record": lambda: False}
                    stack.enter_context(health_server(health_port, {"live": checks, "ready": ready}))
                time.sleep(delay_s)
    raise AssertionError("it is tried for ever")


async def _isolation(runtime: Runtime, session: Session) -> IsolationReport:
    """What holds runs here, with a note for whatever could be better.

    Raises:
        IsolationUnavailableError: less than the settings ask for. A worker that could run nothing would only use up the
            attempts of jobs that others can run.
    """
    report = await runtime.sandbox.isolation()
    if not session.settings.custom_executor:
        require(sandbox_config(session.settings, session.environ).min_isolation, report)
        for reason in report.reasons:
            note(f"isolation: {reason}")
    return report


def _meter(settings: Settings) -> "PrometheusMeter":
    from stepflow_python.worker.exposition import PrometheusMeter  # noqa: PLC0415 - only who is asked waits for its library

    return PrometheusMeter(tools=settings.metrics_tools)
