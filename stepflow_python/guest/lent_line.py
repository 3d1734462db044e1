"""Calls to the host, over the run's own socket: from any thread, and from asyncio.

A message is four bytes of length and JSON. Whoever waits for an answer and finds that nobody reads becomes the reader
and hands the answers of others to them; so a tool of one thread needs no second one, and no lock is waited for while
the host thinks.
"""

from __future__ import annotations

import _thread
import json
import posix

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, Iterator, Optional

CHUNK_BYTES = 1 << 16
HEADER = 4
RAISED = {kind.__name__: kind for kind in (TypeError, KeyError, ValueError, OSError, TimeoutError)}
SEVERED = "the host has closed the line to its extensions"


class Waiting:
    """A question whose answer is awaited by a thread: `wake` is released with the answer, or to read for all."""

    __slots__ = ("answer", "leads", "wake")

    def __init__(self) -> None:
        self.answer: Optional[Dict[str, Any]] = None
        self.leads = False
        self.wake = _thread.allocate_lock()
        self.wake.acquire()

    def go_on(self) -> None:
        """Wake the thread, if it has not been already: under the line's guard."""
        if self.wake.locked():
            self.wake.release()


class Line:
    """The run's end of the socket."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._owner = posix.getpid()
        self._guard = _thread.allocate_lock()
        self._sending = _thread.allocate_lock()
        self._read = bytearray()
        self._last = 0
        self._threads: Dict[int, Waiting] = {}
        self._tasks: Dict[int, Callable[[Dict[str, Any]], None]] = {}
        self._led = False
        self._severed = False
        self._reason = SEVERED
        self._pump: Any = None

    def functions(self, module: str) -> Functions:
        """What the functions of a module are made of."""
        return Functions(self, module)

    def ask(self, question: Dict[str, Any]) -> Any:
        """Send a question and wait for its answer's value.

        Raises:
            Exception: what the host raised, as the built-in type of the same name.
        """
        return value_of(self.exchange(question))

    def exchange(self, question: Dict[str, Any]) -> Dict[str, Any]:
        """Send a question and wait for its answer."""
        waiting = Waiting()
        number = self._register(self._threads, waiting)
        try:
            self.send({**question, "id": number})
            self._await(waiting)
        finally:
            with self._guard:
                self._threads.pop(number, None)
            if waiting.leads:
                self._hand_over()
        if waiting.answer is None:
            raise RuntimeError(self._reason)
        return waiting.answer

    async def exchange_later(self, question: Dict[str, Any]) -> Dict[str, Any]:
        """The same for a coroutine: the loop goes on meanwhile; cancelled, the host is told."""
        import asyncio

        loop = asyncio.get_running_loop()
        future: Any = loop.create_future()

        def settle(answer: Dict[str, Any]) -> None:
            if not future.done():
                future.set_result(answer)

        def deliver(answer: Dict[str, Any]) -> None:
            try:
                loop.call_soon_threadsafe(settle, answer)
            except RuntimeError:  # the loop is closed: nobody waits any more
                return

        number = self._register(self._tasks, deliver)
        try:
            self.send({**question, "id": number})
            self._start_pump()
            answer: Dict[str, Any] = await future
        except asyncio.CancelledError:
            self.drop(number)
            raise
        finally:
            self._tasks.pop(number, None)
        return answer

    def drop(self, number: int) -> None:
        """Tell the host that nobody waits for this answer, or for more of this stream."""
        if not self._severed and posix.getpid() == self._owner:
            try:
                self.send({"drop": number})
            except (OSError, RuntimeError):
                return

    def send(self, message: Dict[str, Any]) -> None:
        """Write a whole message.

        Raises:
            TypeError: an argument is no JSON value.
            RuntimeError: the host is gone, or this is a process that the tool started.
        """
        if posix.getpid() != self._owner:
            raise RuntimeError("extensions can only be called from the process that they were lent to")
        body = json.dumps(message, allow_nan=False, separators=(",", ":")).encode("ascii")
        view = memoryview(len(body).to_bytes(HEADER, "big") + body)
        with self._sending:
            try:
                while view:
                    view = view[posix.write(self._descriptor, view) :]
            except OSError:
                self._sever()
                raise RuntimeError(self._reason) from None

    def _register(self, table: Dict[int, Any], waiter: Any) -> int:
        with self._guard:
            if self._severed:
                raise RuntimeError(self._reason)
            self._last += 1
            table[self._last] = waiter
            return self._last

    def _await(self, waiting: Waiting) -> None:
        """Until there is an answer: by reading if nobody does, else by being woken."""
        with self._guard:
            if not self._led:
                self._led = waiting.leads = True
        while waiting.answer is None and not self._severed:
            if waiting.leads:
                self._receive()
            else:
                waiting.wake.acquire()

    def _hand_over(self) -> None:
        """Let another one read, if there is one who waits."""
        with self._guard:
            if self._severed:
                return
            for waiting in self._threads.values():
                if waiting.answer is None:
                    waiting.leads = True
                    waiting.go_on()
                    return
            if self._tasks and self._pump is not None:
                self._pump.release()
            else:
                self._led = False

    def _receive(self) -> None:
        """Read once, and deliver what is whole."""
        try:
            data = posix.read(self._descriptor, CHUNK_BYTES)
        except ConnectionResetError:  # the host closed the line while more from here was on its way
            data = b""
        if not data:
            self._sever()
            return
        self._read += data
        while len(self._read) >= HEADER:
            end = HEADER + int.from_bytes(self._read[:HEADER], "big")
            if len(self._read) < end:
                return
            body = bytes(self._read[HEADER:end])
            del self._read[:end]
            self._deliver(json.loads(body))

    def _deliver(self, answer: Dict[str, Any]) -> None:
        with self._guard:
            if answer["id"] == 0:  # the host's last words
                self._reason = answer["error"][1]
            deliver = self._tasks.pop(answer["id"], None)
            waiting = self._threads.get(answer["id"])
            if waiting is not None:
                waiting.answer = answer
                waiting.go_on()
        if deliver is not None:
            deliver(answer)

    def _sever(self) -> None:
        """Nobody will be answered any more: wake all."""
        with self._guard:
            self._severed = True
            tasks = list(self._tasks.items())
            self._tasks.clear()
            for waiting in self._threads.values():
                waiting.go_on()
            if self._pump is not None and self._pump.locked():
                self._pump.release()
        for number, deliver in tasks:
            deliver({"id": number, "error": ["RuntimeError", self._reason]})

    def _start_pump(self) -> None:
        """Have a thread that reads for coroutines while no waiting thread does."""
        with self._guard:
            if self._pump is None:
                self._pump = _thread.allocate_lock()
                self._pump.acquire()
                import threading

                threading.Thread(target=self._pump_on, name="stepflow-lent", daemon=True).start()
            if self._led or not self._tasks:
                return
            self._led = True
        self._pump.release()

    def _pump_on(self) -> None:
        while not self._severed:
            self._pump.acquire()
            while self._tasks and not self._severed:
                self._receive()
            self._hand_over()


class Functions:
    """The four ways in which the functions of one module are called; `arguments` are by name."""

    __slots__ = ("_line", "_module")

    def __init__(self, line: Line, module: str) -> None:
        self._line = line
        self._module = module

    def call(self, function: str, arguments: Dict[str, Any]) -> Any:
        """The value of a call."""
        return self._line.ask(self._question(function, arguments))

    async def call_later(self, function: str, arguments: Dict[str, Any]) -> Any:
        """The same, awaited."""
        return value_of(await self._line.exchange_later(self._question(function, arguments)))

    def stream(self, function: str, arguments: Dict[str, Any]) -> Iterator[Any]:
        """The items of a stream, each fetched when it is asked for."""
        number = self._line.exchange(self._question(function, arguments))
        value_of(number)
        ended = False
        try:
            while True:
                answer = self._line.exchange({"next": number["id"]})
                ended = "item" not in answer
                if ended:
                    value_of(answer)
                    return
                yield answer["item"]
        finally:
            if not ended:
                self._line.drop(number["id"])

    async def stream_later(self, function: str, arguments: Dict[str, Any]) -> Any:
        """The same, by `async for`."""
        number = await self._line.exchange_later(self._question(function, arguments))
        value_of(number)
        ended = False
        try:
            while True:
                answer = await self._line.exchange_later({"next": number["id"]})
                ended = "item" not in answer
                if ended:
                    value_of(answer)
                    return
                yield answer["item"]
        finally:
            if not ended:
                self._line.drop(number["id"])

    def _question(self, function: str, arguments: Dict[str, Any]) -> Dict[str, Any]:
        # What the tool left out has a default that only the host has.
        given = {name: value for name, value in arguments.items() if value is not ...}
        return {"call": [self._module, function], "with": given}


def value_of(answer: Dict[str, Any]) -> Any:
    """The value of an answer.

    Raises:
        Exception: what the host raised.
    """
    error = answer.get("error")
    if error is None:
        return answer.get("value")
    name, message = error
    raise RAISED.get(name, RuntimeError)(message) from None
