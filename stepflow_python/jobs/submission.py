"""Handing a request to the workers."""

from collections.abc import Sequence

from stepflow_python.errors import ExecutionError
from stepflow_python.jobs.execution import with_source
from stepflow_python.messages import Dispatcher
from stepflow_python.model.request import ExecutionRequest
from stepflow_python.model.result import ExecutionResult
from stepflow_python.ports import Ledger


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
        InternalError: the broker cannot be reached; the execution stays queued, and is sent by a worker later.
        QueueFullError: too many wait already.
    """
    request = await with_source(request, max_code_size=max_code_size)
    delivery = dispatcher.pack(request)
    claim = await ledger.enqueue(request, delivery)
    if claim.result is None:
        await dispatcher.send(delivery)
    return claim.result


async def submit_chain(
    requests: Sequence[ExecutionRequest], *, ledger: Ledger, dispatcher: Dispatcher, max_code_size: int
) -> None:
    """Record the steps of a chain, then send it.

    A later step's parameters may hold `{"$previous": "/json/pointer"}`, a part of the result before it. A step whose
    predecessor did not succeed is refused.

    Raises:
        ExecutionError: an id was used before; a chain runs whole or not at all.
        InternalError: the broker cannot be reached; the executions stay queued.
    """
    steps = [await with_source(request, max_code_size=max_code_size) for request in requests]
    delivery = dispatcher.pack_chain(steps)
    for number, step in enumerate(steps):
        # The later ones have no message yet: the worker that ends the one before sends it.
        claim = await ledger.enqueue(step, None if number else delivery)
        if claim.result is not None:
            raise ExecutionError(f"execution_id: {step.execution_id} has ended before; give each step a new id")
    await dispatcher.send(delivery)
