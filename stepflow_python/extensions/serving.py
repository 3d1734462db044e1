"""The host's end of a run's line: questions come in, are checked, answered and noted."""

import asyncio
import contextlib
import json
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, Final

from pydantic import JsonValue
from pydantic_core import PydanticSerializationError, to_json

from stepflow_python.extensions import calls
from stepflow_python.extensions.context import ExtensionContext, made_by
from stepflow_python.extensions.description import Function, Module
from stepflow_python.extensions.lending import Lending
from stepflow_python.extensions.quota import CallLimits, Quota, QuotaError
from stepflow_python.extensions.raised import type_and_message
from stepflow_python.extensions.signatures import guest_source
from stepflow_python.extensions.threads import Threads
from stepflow_python.model.extension import ExtensionCall
from stepflow_python.model.values import now

HEADER: Final = 4
FRAME_COST: Final = 64
"""Bytes that a message costs besides its own: a flood of empty ones has an end too."""
SUCCEEDED: Final = "ok"

Message = dict[str, Any]


class BadLineError(Exception):
    """The run does not speak as agreed; nothing more is taken from it."""


class Line:
    """Answers one run until it ends; `lend` makes what a factory is told, `note` takes each call that was made."""

    def __init__(
        self,
        context: ExtensionContext,
        granted: frozenset[str],
        *,
        limits: CallLimits,
        lend: Callable[[str], Lending],
        note: Callable[[ExtensionCall], None],
    ) -> None:
        self._context = context
        self._granted = granted
        self._lend = lend
        self._note = note
        self._quota = Quota(limits)
        self._slots = asyncio.Semaphore(limits.at_once)
        self._most_bytes = limits.bytes
        self._most_streams = limits.at_once
        self._modules: dict[str, tuple[Module, Lending]] = {}
        self._descriptions: dict[str, Message] = {}
        self._streams: dict[int, _Stream] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._threads = Threads()

    async def serve(self, ours: socket.socket) -> None:
        """Answer until the other end is closed, breaks its word, or this is cancelled."""
        reader, writer = await asyncio.open_unix_connection(sock=ours)
        try:
            while True:
                # One more is read only when it can be begun: who floods fills its own socket and waits.
                await self._slots.acquire()
                message = await self._read(reader)
                self._begin(message, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        except (BadLineError, QuotaError) as error:
            # To nobody in particular: the run is told why there will be no more answers.
            await _send(writer, _refused(0, error))
        finally:
            await self._end()
            writer.close()

    async def _read(self, reader: asyncio.StreamReader) -> Message:
        length = int.from_bytes(await reader.readexactly(HEADER), "big")
        if length > self._most_bytes:
            raise BadLineError(f"a message claims {length} bytes")
        self._quota.pass_on(length + FRAME_COST)
        try:
            message = json.loads(await reader.readexactly(length))
        except (ValueError, RecursionError) as error:
            raise BadLineError(str(error)) from error
        if not isinstance(message, dict):
            raise BadLineError("a message is no object")
        message["size"] = length
        return message

    def _begin(self, message: Message, writer: asyncio.StreamWriter) -> None:
        dropped = message.get("drop")
        if isinstance(dropped, int):
            self._slots.release()
            self._drop(dropped)
            return
        number = message.get("id")
        if not isinstance(number, int) or number in self._tasks:
            raise BadLineError("a message without a number of its own")
        task = asyncio.create_task(self._answer(number, message, writer))
        self._tasks[number] = task
        task.add_done_callback(lambda _: self._ended(number))

    def _ended(self, number: int) -> None:
        self._tasks.pop(number, None)
        self._slots.release()

    def _drop(self, number: int) -> None:
        task, stream = self._tasks.get(number), self._streams.pop(number, None)
        if task is not None:
            task.cancel()
        if stream is not None:
            closing = asyncio.create_task(stream.close())
            self._tasks[-number] = closing
            closing.add_done_callback(lambda _: self._tasks.pop(-number, None))

    async def _answer(self, number: int, message: Message, writer: asyncio.StreamWriter) -> None:
        try:
            body = await self._answered(number, message)
            self._quota.pass_on(len(body) + FRAME_COST)
        except Exception as error:  # noqa: BLE001 - what an extension raises is the tool's to handle
            body = _refused(number, error)
        await _send(writer, body)

    async def _answered(self, number: int, message: Message) -> bytes:
        match message:
            case {"describe": str(name)}:
                return _encoded({"id": number, "value": self._described(name)})
            case {"call": [str(name), str(function)], "with": dict(given)}:
                return await self._called(number, (name, function), given, size=message["size"])
            case {"next": int(begun)}:
                return await self._next(number, begun)
        raise ValueError("a question of no known kind")

    def _described(self, name: str) -> Message:
        """What is in a module, put together once however often a run asks."""
        if name not in self._descriptions:
            self._descriptions[name] = _described(self._module(name)[0])
        return self._descriptions[name]

    async def _called(self, number: int, what: tuple[str, str], given: dict[str, JsonValue], *, size: int) -> bytes:
        self._quota.call()
        name, function_name = what
        module, _ = self._module(name)
        function = module.by_name.get(function_name)
        if function is None:
            raise ValueError(f"{name} has no function {function_name}")
        noting = _Noting(name, function, given, size=size)
        if function.kind == "stream":
            if len(self._streams) >= self._most_streams:
                raise RuntimeError(f"{self._most_streams} streams are open; end one before another begins")
            with noting.failure(self._note):
                self._streams[number] = _Stream(calls.stream(function, given, self._threads), noting, self._note)
            return _encoded({"id": number, "stream": True})
        with noting.failure(self._note):
            body = _encoded({"id": number, "value": await calls.call(function, given, self._threads)})
        self._note(noting.noted(SUCCEEDED, answered=len(body)))
        return body

    async def _next(self, number: int, begun: int) -> bytes:
        stream = self._streams.get(begun)
        if stream is None:
            return _encoded({"id": number, "end": True})
        try:
            return await stream.next(number)
        finally:
            if stream.ended:
                self._streams.pop(begun, None)

    def _module(self, name: str) -> tuple[Module, Lending]:
        """The module of this run: made when it is first asked for."""
        known = self._modules.get(name)
        if known is not None:
            return known
        extension = self._context.get(name)
        if name not in self._granted or extension is None or extension.factory is None:
            raise RuntimeError(f"{name!r} is not lent to this run")
        lending = self._lend(name)
        self._modules[name] = made_by(extension.factory, name, lending), lending
        return self._modules[name]

    async def _end(self) -> None:
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for stream in self._streams.values():
            await stream.close()
        self._threads.end()
        for _, lending in self._modules.values():
            with contextlib.suppress(Exception):  # what an extension fails to close is not the run's fault
                await lending.end()


class _Noting:
    """What is noted of a call while it is under way."""

    def __init__(self, extension: str, function: Function, given: dict[str, JsonValue], *, size: int) -> None:
        self._extension = extension
        self._function = function.name
        self._size = size
        self._audited = function.recorded(given)
        self._called_at = now()
        self._started = time.monotonic()

    def noted(self, outcome: str, *, answered: int = 0) -> ExtensionCall:
        """The call, now that it has ended."""
        return ExtensionCall(
            extension=self._extension,
            function=self._function,
            called_at=self._called_at,
            duration_ms=round((time.monotonic() - self._started) * 1000, 3),
            request_bytes=self._size,
            response_bytes=answered,
            outcome=outcome,
            arguments=self._audited,
        )

    @contextlib.contextmanager
    def failure(self, note: Callable[[ExtensionCall], None], *, answered: int = 0) -> Iterator[None]:
        """Note the call as failed if it is."""
        try:
            yield
        except asyncio.CancelledError:
            note(self.noted("cancelled", answered=answered))
            raise
        except Exception as error:
            note(self.noted(type_and_message(error)[0], answered=answered))
            raise


class _Stream:
    """A stream of which the run fetches one item after the other."""

    def __init__(self, items: AsyncIterator[Any], noting: _Noting, note: Callable[[ExtensionCall], None]) -> None:
        self._items = items
        self._noting = noting
        self._note = note
        self._sent = 0
        self._turn = asyncio.Lock()
        self.ended = False

    async def next(self, number: int) -> bytes:
        """The answer with the next item, or with the end."""
        async with self._turn:
            if self.ended:
                return _encoded({"id": number, "end": True})
            try:
                with self._noting.failure(self._note, answered=self._sent):
                    item = await anext(self._items, calls.END)
                    body = _encoded({"id": number, "end": True} if item is calls.END else {"id": number, "item": item})
            except BaseException:
                self.ended = True
                raise
            self._sent += len(body)
            if item is calls.END:
                self.ended = True
                self._note(self._noting.noted(SUCCEEDED, answered=self._sent))
            return body

    async def close(self) -> None:
        """Give up what has not been fetched."""
        if not self.ended:
            self.ended = True
            self._note(self._noting.noted("dropped", answered=self._sent))
        close = getattr(self._items, "aclose", None)
        if close is not None:
            with contextlib.suppress(Exception):  # a stranger's generator
                await close()


async def _send(writer: asyncio.StreamWriter, body: bytes) -> None:
    writer.write(len(body).to_bytes(HEADER, "big") + body)
    with contextlib.suppress(ConnectionError):
        await writer.drain()


def _described(module: Module) -> Message:
    functions = module.by_name.values()
    return {
        "doc": module.doc,
        "constants": dict(module.constants),
        "functions": list(module.by_name),
        "source": "\n".join(guest_source(function, awaited=False) for function in functions),
        "aio_source": "\n".join(guest_source(function, awaited=True) for function in functions),
    }


def _encoded(answer: Message) -> bytes:
    try:
        return to_json(answer, inf_nan_mode="constants")
    except (PydanticSerializationError, ValueError, RecursionError) as error:
        raise RuntimeError(f"the extension gave what is no JSON value: {error}") from error


def _refused(number: int, error: Exception) -> bytes:
    return json.dumps({"id": number, "error": type_and_message(error)}).encode("ascii")
