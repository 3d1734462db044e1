"""Handing a request to the workers."""

from stepflow_python.jobs.execution import with_source
from stepflow_python.model.request import ExecutionRequest
from stepflow_python.model.result import ExecutionResult
from stepflow_python.ports import Dispatcher, Ledger


async def submit(
    request: ExecutionRequest, *, ledger: Ledger, dispatcher: Dispatcher, max_code_size: int
) -> ExecutionResult | None:
    """Record a request, then send it.

    The row is durable before the message leaves: a crash in between leaves a queued execution to see, never a message
    that nobody knows of.

    Returns:
        The recorded result, if an execution of this id has ended before; nothing is sent then.

    Raises:
        ParseError: the script cannot be read.
        DatabaseError: the record cannot be written.
        InternalError: the broker cannot be reached; the execution stays queued.
    """
    request = await with_source(request, max_code_size=max_code_size)
    claim = await ledger.enqueue(request)
    if claim.result is None:
        await dispatcher.send(request)
    return claim.result
