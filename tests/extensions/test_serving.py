"""The host's end of a line against runs that flood, stall and make things up."""

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.lent_functions import add, echo, numbers, tokens, wait

from stepflow_python.extensions import ExtensionContext, Lending, Module
from stepflow_python.extensions.quota import CallLimits
from stepflow_python.extensions.serving import Line
from stepflow_python.model.extension import ExtensionCall

PATIENCE_S = 20.0


def frame(message: object) -> bytes:
    """A message as it travels."""
    body = json.dumps(message).encode()
    return len(body).to_bytes(4, "big") + body


class Run:
    """A run's end of a line, with nothing of ours that would keep it honest."""

    def __init__(
        self, ours: socket.socket, line: Line, notes: list[ExtensionCall], serving: "asyncio.Task[None]"
    ) -> None:
        self.socket = ours
        self.line = line
        self.notes = notes
        self.serving = serving
        self._loop = asyncio.get_running_loop()

    async def send(self, data: bytes) -> None:
        """Write all of it, as far as the host takes it."""
        await self._loop.sock_sendall(self.socket, data)

    async def receive(self) -> Any:
        """The host's next message; none where it has closed the line."""
        async with asyncio.timeout(PATIENCE_S):
            header = await self._exactly(4)
            return None if header is None else json.loads(await self._exactly(int.from_bytes(header, "big")) or b"")

    async def ask(self, message: dict[str, Any]) -> Any:
        """Send a message and get the next one."""
        await self.send(frame(message))
        return await self.receive()

    async def call(self, function: str, number: int = 1, **arguments: Any) -> Any:
        """Call a function of the module `m`."""
        return await self.ask({"id": number, "call": ["m", function], "with": arguments})

    async def _exactly(self, size: int) -> bytes | None:
        data = b""
        while len(data) < size:
            with contextlib.suppress(ConnectionError):
                chunk = await self._loop.sock_recv(self.socket, size - len(data))
                if chunk:
                    data += chunk
                    continue
            return None
        return data


@contextlib.asynccontextmanager
async def opened(**limits: int) -> AsyncIterator[Run]:
    """A line to a module of every kind of function, ended as the sandbox ends it."""
    context = ExtensionContext()
    for name in ("m", "other"):
        context.register_extension(name, lambda: Module(functions=[add, echo, wait, tokens, numbers]))
    theirs, ours = socket.socketpair()
    ours.setblocking(False)
    notes: list[ExtensionCall] = []
    bounds = CallLimits(**{"calls": 10**9, "bytes": 10**12, **limits})
    line = Line(context, frozenset({"m"}), limits=bounds, lend=lambda _: Lending(execution_id="one"), note=notes.append)
    serving = asyncio.create_task(line.serve(theirs))
    try:
        yield Run(ours, line, notes, serving)
    finally:
        ours.close()
        serving.cancel()
        async with asyncio.timeout(PATIENCE_S):
            [ended] = await asyncio.gather(serving, return_exceptions=True)
        assert ended is None or isinstance(ended, asyncio.CancelledError), ended


def test_a_flood_fills_its_own_socket_only() -> None:
    """A run that asks without end and never listens has sixteen calls under way; another run is answered meanwhile."""

    async def flood(run: Run) -> None:
        with contextlib.suppress(OSError):
            for number in range(1, 10**6):
                await run.send(frame({"id": number, "call": ["m", "wait"], "with": {"seconds": 60}}))

    async def check() -> None:
        async with opened() as flooding, opened() as honest:
            flooded = asyncio.create_task(flood(flooding))
            for number in range(1, 20):
                assert (await honest.call("add", number, a=number))["value"] == number + 2
            assert len(flooding.line._tasks) <= 16
            flooded.cancel()

    asyncio.run(check())


def test_a_run_that_does_not_listen_costs_what_is_under_way() -> None:
    """Large answers that nobody reads hold up that run alone, and its end ends them."""

    async def check() -> None:
        async with opened() as stalling, opened() as honest:
            await stalling.send(frame({"id": 1, "call": ["m", "echo"], "with": {"value": "x" * 3_000_000}}))
            for number in range(2, 10):
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(0.2):
                        question = {"id": number, "call": ["m", "echo"], "with": {"value": "x" * 3_000_000}}
                        await stalling.send(frame(question))
            assert (await honest.call("add", a=1))["value"] == 3
            assert not stalling.serving.done()

    asyncio.run(check())


def test_only_what_was_granted_answers() -> None:
    """A module that is there but was not lent to this run cannot be asked for by its name either."""

    async def check() -> None:
        async with opened() as run:
            assert "'other' is not lent to this run" in (await run.ask({"id": 1, "describe": "other"}))["error"][1]
            refused = await run.ask({"id": 2, "call": ["other", "add"], "with": {"a": 1}})
            assert refused["error"] == ["RuntimeError", "'other' is not lent to this run"]
            assert "has no function __class__" in (await run.call("__class__"))["error"][1]
            assert (await run.call("add", a=1))["value"] == 3

    asyncio.run(check())


def test_streams_are_bounded_and_end() -> None:
    """So many are open at a time; one that was dropped, or never was, has nothing more to give."""

    async def check() -> None:
        async with opened(at_once=2) as run:
            assert (await run.call("tokens", 1, count=5))["stream"] is True
            assert (await run.call("numbers", 2, count=5))["stream"] is True
            assert "2 streams are open" in (await run.call("tokens", 3, count=5))["error"][1]
            assert (await run.ask({"id": 4, "next": 1}))["item"] == "t0"
            await run.send(frame({"drop": 1}))
            assert (await run.ask({"id": 5, "next": 1})) == {"id": 5, "end": True}
            assert (await run.call("tokens", 6, count=1))["stream"] is True
            assert (await run.ask({"id": 7, "next": 99})) == {"id": 7, "end": True}
        assert [note.outcome for note in run.notes] == ["dropped", "dropped", "dropped"]

    asyncio.run(check())


@pytest.mark.parametrize(
    "data",
    [
        b"\xff" * 100,
        frame([]),
        frame({}),
        frame({"id": "one"}),
        frame({"id": 1.5, "describe": "m"}),
        b"\0\0\0\x05{{{{{",
        b"\0\0\xff\xff" + b"[" * 65535,
        frame({"id": 1, "call": ["m", "wait"], "with": {"seconds": 60}}) * 2,
    ],
    ids=["length", "list", "empty", "text id", "fraction", "no JSON", "deep", "number twice"],
)
def test_who_breaks_the_agreement_is_told_and_left(data: bytes) -> None:
    """The last word says why, and the line is closed."""

    async def check() -> None:
        async with opened(bytes=10**6) as run:
            await run.send(data)
            last = await run.receive()
            assert last["id"] == 0
            assert last["error"][0] == "RuntimeError"
            assert await run.receive() is None

    asyncio.run(check())


anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["m", "add", "echo"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "id", "with", "value"]), inner),
    max_leaves=8,
)
messages = st.fixed_dictionaries(
    {"id": st.integers(1, 5) | anything},
    optional={
        "call": anything,
        "with": anything,
        "describe": anything,
        "next": anything,
        "drop": st.integers() | anything,
    },
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(sent=st.lists(messages, max_size=6))
def test_whatever_comes_in_nothing_is_a_fault_of_ours(sent: list[object]) -> None:
    """Messages of any shape end in answers or in the end of the line, never in an exception of the host."""

    async def check() -> None:
        async with opened() as run:
            with contextlib.suppress(OSError):
                for message in sent:
                    await run.send(frame(message))
                answer = await run.call("add", 77, a=1)
                while answer is not None and answer["id"] != 77:
                    answer = await run.receive()

    asyncio.run(check())
