"""`stepflow run`: one execution, here and now, without a broker."""

import asyncio
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from stepflow_python.bootstrap.runtime import Runtime, open_runtime, warm_options
from stepflow_python.cli.progress import watched
from stepflow_python.cli.requests import RequestOptions, Unusable, request_options, request_or_error
from stepflow_python.cli.results import Manner, prepare_output, refusal, tell
from stepflow_python.cli.session import Session, open_session, trace
from stepflow_python.errors import ErrorKind, PythonError
from stepflow_python.model.request import ExecutionRequest, new_execution_id
from stepflow_python.model.result import ErrorInfo, ExecutionResult, Status
from stepflow_python.ports import Attempt, Progress, silent

STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@click.command("run")
@request_options
@click.option(
    "--output", type=click.Path(path_type=Path), metavar="DIR", help="Keep the files that the tool leaves, in DIR."
)
@click.option("--refresh", is_flag=True, help="Resolve its dependencies anew, whatever was resolved before.")
@click.option(
    "--warm/--cold", default=False, help="In a process that waits, having imported what the tool imports, or a new one."
)
@click.option("-v", "--verbose", is_flag=True, help="Tell what takes time, and how it ended.")
@click.option("--json", "json_", is_flag=True, help="Print one ExecutionResult as JSON, nothing else.")
def run(options: RequestOptions, *, output: Path | None, refresh: bool, warm: bool, verbose: bool, json_: bool) -> None:
    """Run FILE, or one function of it, here and now. `-` reads the tool from standard input."""
    execution_id = options.execution_id or new_execution_id()
    manner = Manner(json=json_, verbose=verbose, called=options.function is not None, output=output)
    try:
        session = open_session()
        prepare_output(output)
        request = request_or_error(options, session, execution_id=execution_id)
        with watched(verbose=verbose) as progress:
            result = asyncio.run(_run(session, request, progress, refresh=refresh, warm=warm))
    except PythonError as error:
        trace()
        result = refusal(error, execution_id)
    click.get_current_context().exit(tell(result, manner))


async def _run(
    session: Session, request: ExecutionRequest | Unusable, progress: Progress, *, refresh: bool, warm: bool
) -> ExecutionResult:
    options = warm_options(session.settings, eager=True) if warm else None
    async with open_runtime(session.settings, environ=session.environ, warm=options) as runtime:
        if isinstance(request, Unusable):
            return await runtime.executor.refuse(request.execution_id, request.error)
        return await execute_until_stopped(runtime, request, progress=progress, refresh=refresh)


async def execute_until_stopped(
    runtime: Runtime, request: ExecutionRequest, *, progress: Progress = silent, refresh: bool = False
) -> ExecutionResult:
    """Run a request; a signal to this process kills its tree and records it as cancelled.

    Raises:
        KeyboardInterrupt: stopped while somebody else ran the execution of this id; theirs goes on.
    """
    record = await runtime.history.get(request.execution_id)
    elsewhere = record is not None and record.status is Status.RUNNING
    cancel = asyncio.Event()
    execution = asyncio.ensure_future(
        runtime.executor.execute(request, cancel=cancel, progress=progress, refresh=refresh)
    )

    def stop() -> None:
        # Before there is a box, and at a second signal, there is nothing that would look at the event.
        if runtime.sandbox.status(request.execution_id).running and not cancel.is_set():
            cancel.set()
        else:
            execution.cancel()

    with _signals(stop):
        try:
            return await execution
        except asyncio.CancelledError:
            if elsewhere:
                raise KeyboardInterrupt from None  # what was interrupted is our waiting, not a run
            return await runtime.ledger.finish(Attempt(request=request, result=_cancelled(request)))


def _cancelled(request: ExecutionRequest) -> ExecutionResult:
    error = ErrorInfo(kind=ErrorKind.EXECUTION_ERROR, message="stopped on request, before the tool ran")
    return ExecutionResult(execution_id=request.execution_id, status=Status.CANCELLED, error=error)


@contextmanager
def _signals(stop: Callable[[], None]) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    for number in STOPPING:
        loop.add_signal_handler(number, stop)
    try:
        yield
    finally:
        for number in STOPPING:
            loop.remove_signal_handler(number)
