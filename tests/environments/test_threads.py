"""Blocking work beside the loop."""

import asyncio
import threading

import pytest

from stepflow_python.environments.threads import in_thread


def test_a_cancelled_caller_waits_for_the_thread() -> None:
    """Cancelling, even twice, does not return before the work is at its end."""
    go, done = threading.Event(), threading.Event()

    def work() -> None:
        go.wait(30)
        done.set()

    async def main() -> None:
        task = asyncio.create_task(in_thread(work))
        await asyncio.sleep(0)
        for _ in range(2):
            task.cancel()
            await asyncio.sleep(0.01)
        assert not task.done()
        go.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert done.is_set()

    asyncio.run(main())


def test_what_the_function_raises_is_raised() -> None:
    """The caller sees the function's own error."""
    with pytest.raises(ValueError, match="invalid literal"):
        asyncio.run(in_thread(int, "x"))
