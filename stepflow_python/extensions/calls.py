"""Calling a function of an extension, whatever kind of function it is."""

import inspect
from collections.abc import AsyncIterator, Iterator
from typing import Any

from pydantic import JsonValue

from stepflow_python.extensions.arguments import bound
from stepflow_python.extensions.description import Function
from stepflow_python.extensions.threads import Threads

END = object()


async def call(function: Function, given: dict[str, JsonValue], threads: Threads) -> Any:  # noqa: ANN401 - whatever the function gives
    """The value of one call.

    Raises:
        Exception: what the function raises, or a TypeError or ValueError about the arguments.
    """
    arguments = bound(function, given)
    if inspect.iscoroutinefunction(function.call):
        return await function.call(*arguments.args, **arguments.kwargs)
    return await threads.run(lambda: function.call(*arguments.args, **arguments.kwargs))


def stream(function: Function, given: dict[str, JsonValue], threads: Threads) -> AsyncIterator[Any]:
    """The items of one call.

    Raises:
        Exception: a TypeError or ValueError about the arguments; what the function raises comes with the items.
    """
    arguments = bound(function, given)
    made = function.call(*arguments.args, **arguments.kwargs)
    return made if isinstance(made, AsyncIterator) else _in_threads(made, threads)


async def _in_threads(items: Iterator[Any], threads: Threads) -> AsyncIterator[Any]:
    while True:
        item = await threads.run(lambda: next(items, END))
        if item is END:
            return
        yield item
