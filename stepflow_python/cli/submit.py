"""`stepflow submit`: the same request, through the broker."""

import asyncio
from collections.abc import Mapping
from pathlib import Path

import click
from pydantic import ValidationError

from stepflow_python.cli.exits import TIMED_OUT, code_of_result
from stepflow_python.cli.render import as_json, complain, emit_json, line
from stepflow_python.cli.requests import RequestOptions, Unusable, request_options, request_or_error
from stepflow_python.cli.results import Manner, prepare_output, refusal, tell
from stepflow_python.cli.session import Session, open_session, trace
from stepflow_python.client.client import open_client
from stepflow_python.errors import ErrorKind, InternalError, ParseError, PythonError
from stepflow_python.model.request import ExecutionRequest, new_execution_id
from stepflow_python.model.result import ErrorInfo, ExecutionResult, Status
from stepflow_python.tracing import switch_on


@click.command("submit")
@request_options
@click.option("--wait", is_flag=True, help="Wait for the result, and print it as `run` does.")
@click.option("--wait-timeout", type=click.FloatRange(min=0), metavar="S", help="Wait so many seconds; implies --wait.")
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Keep the files that the tool leaves; implies --wait.",
)
@click.option("--queue", metavar="Q", help="To the workers that take from this queue.")
@click.option("--priority", type=click.IntRange(0, 9), metavar="N", help="What waits is started highest first.")
@click.option("--max-attempts", type=click.IntRange(1, 100), metavar="N", help="How often it may be started.")
@click.option("-v", "--verbose", is_flag=True, help="Tell how it ended.")
@click.option("--json", "json_", is_flag=True, help="Print one JSON value, nothing else.")
def submit(
    options: RequestOptions,
    *,
    wait: bool,
    wait_timeout: float | None,
    output: Path | None,
    verbose: bool,
    json_: bool,
    **routing: str | int | None,
) -> None:
    """Send FILE to the workers and print the execution's id, or wait for its result."""
    execution_id = options.execution_id or new_execution_id()
    manner = Manner(json=json_, verbose=verbose, called=options.function is not None, output=output)
    waiting = wait or wait_timeout is not None or output is not None
    try:
        session = open_session()
        prepare_output(output)
        request = _routed(request_or_error(options, session, execution_id=execution_id), routing)
        sent = asyncio.run(_submit(session, request, waiting=waiting, timeout_s=wait_timeout))
    except PythonError as error:
        trace()
        # Recorded before it is sent: an execution whose message the broker did not take stays queued.
        status = Status.QUEUED if isinstance(error, InternalError) else None
        sent = refusal(error, execution_id, status=status)
    click.get_current_context().exit(_tell(sent, manner, waiting=waiting))


def _routed(request: ExecutionRequest | Unusable, routing: Mapping[str, object]) -> ExecutionRequest | Unusable:
    """The same request with where and when it is to run; a queue may have a name that is none."""
    if isinstance(request, Unusable):
        return request
    given = {name: value for name, value in routing.items() if value is not None}
    try:
        return ExecutionRequest.model_validate(dict(request) | given)
    except ValidationError as error:
        problem = error.errors()[0]
        return Unusable(execution_id=request.execution_id, error=ParseError(f"{problem['loc'][0]}: {problem['msg']}"))


async def _submit(
    session: Session, request: ExecutionRequest | Unusable, *, waiting: bool, timeout_s: float | None
) -> ExecutionResult:
    """The result, or as much of it as there is now."""
    switch_on(session.environ, service="stepflow-submit")
    async with open_client(session.settings) as client:
        if isinstance(request, Unusable):
            return await client.refuse(request.execution_id, request.error)
        execution_id = await client.submit(request)
        if not waiting:
            record = await client.show(execution_id)
            return ExecutionResult(execution_id=execution_id, status=record.status)
        try:
            return await client.wait(execution_id, timeout_s=timeout_s)
        except TimeoutError:
            record = await client.show(execution_id)
    message = f"not ended after {timeout_s:g} s; it goes on, `stepflow show {execution_id}` tells how it ends"
    error = ErrorInfo(kind=ErrorKind.TIMEOUT_EXCEEDED, message=message, retryable=True)
    return ExecutionResult(execution_id=execution_id, status=record.status, error=error)


def _tell(sent: ExecutionResult, manner: Manner, *, waiting: bool) -> int:
    """Print what came of it; the exit code."""
    if sent.status.ended and (waiting or sent.error is not None):
        return tell(sent, manner)
    if sent.error is None:
        if manner.json:
            emit_json({"execution_id": sent.execution_id, "status": sent.status})
        else:
            line(sent.execution_id)
        return 0
    if manner.json:
        emit_json(as_json(sent))
    else:
        complain(sent.error)
    return TIMED_OUT if sent.error.kind is ErrorKind.TIMEOUT_EXCEEDED else code_of_result(sent)
