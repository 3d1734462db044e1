"""A file whose times are set rings once for whoever listens, and for nobody who has stopped to."""

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable, Iterator
from types import SimpleNamespace

import pytest

from stepflow_python.sandbox.bell import AGAIN_S, Bell, Bells
from stepflow_python.sandbox.streams import Messages, Wires

LONG_S = 20 * AGAIN_S


@pytest.fixture
def file() -> Iterator[int]:
    """A file without a name."""
    descriptor = os.memfd_create("report")
    yield descriptor
    os.close(descriptor)


def listening(file: int, answer: Callable[[], bool], then: Callable[[Bell], Awaitable[None]]) -> None:
    """Do something while a file is listened to."""

    async def within() -> None:
        bells = Bells()
        bell = Bell(bells, file, answer)
        assert bell.hang()
        try:
            await then(bell)
        finally:
            bells.close()

    asyncio.run(within())


def test_it_rings_at_once_and_is_then_silent(file: int) -> None:
    """Not when the file is written to or read, only when its times are set; a second time is nobody's."""
    rung = []

    async def ring(_bell: Bell) -> None:
        os.write(file, b"report")
        os.pread(file, 1, 0)
        await asyncio.sleep(0.01)
        assert rung == []
        os.utime(file)
        await asyncio.sleep(0.01)
        assert rung == [1]
        os.utime(file)
        await asyncio.sleep(LONG_S)

    def answer() -> bool:
        rung.append(1)
        return True

    listening(file, answer, ring)
    assert rung == [1]


def test_who_rings_for_nothing_is_heard_seldom_and_still_heard_in_the_end(file: int) -> None:
    """A thousand times cost a few looks; what is there when it listens again is found without being rung for."""
    looks = []

    async def ring(_bell: Bell) -> None:
        for _ in range(1000):
            os.utime(file)
            await asyncio.sleep(0)
        assert 1 <= len(looks) < 100
        os.write(file, b"whole")
        await asyncio.sleep(LONG_S)
        assert looks[-1]

    def answer() -> bool:
        looks.append(os.fstat(file).st_size > 0)
        return looks[-1]

    listening(file, answer, ring)


def test_nobody_is_called_after_it_was_taken_down(file: int) -> None:
    """Neither at once nor by the look that was still to come; the file is let go of."""
    looks = []

    async def ring(bell: Bell) -> None:
        os.utime(file)
        await asyncio.sleep(AGAIN_S / 4)
        bell.take_down()
        os.utime(file)
        await asyncio.sleep(LONG_S)

    def answer() -> bool:
        looks.append(1)
        return False

    listening(file, answer, ring)
    assert looks == [1]


def test_without_room_in_the_kernel_nobody_listens(file: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then the supervisor is rung for."""
    monkeypatch.setattr("stepflow_python.process.inotify._libc", SimpleNamespace(inotify_init1=lambda _flags: -1))
    assert not Bell(Bells(), file, lambda: True).hang()


def test_what_was_said_before_it_rang_is_taken_first() -> None:
    """That a run has begun comes another way, which the loop may come to later."""
    heard: list[object] = []

    async def within() -> None:
        bells, wires = Bells(), Wires()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        wires.report, wires.direct = os.memfd_create("report"), Messages(ours)
        wires.bell = Bell(bells, wires.report)
        assert wires.bell.hang()
        with wires, theirs:
            nobody = heard.append
            wires.watch(nobody, nobody, nobody, direct=heard.append, left=lambda: heard.append("left") is None)
            theirs.send(b"began")
            os.utime(wires.report)
            bells._readable()
        bells.close()

    asyncio.run(within())
    assert heard == [b"began", "left"]


def test_that_a_run_has_begun_is_known_at_its_end() -> None:
    """Whatever tells of the end is heard first: a run that has begun is not started a second time."""
    heard: list[object] = []

    async def within() -> None:
        wires = Wires()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        wires.direct = Messages(ours)
        with wires, theirs:
            wires.watch(heard.append, heard.append, heard.append, direct=heard.append, left=lambda: False)
            theirs.send(b"began")
            os.write(wires.reply.write, b"ended")
            wires.drain(100)

    asyncio.run(within())
    assert heard == [b"began", b"ended"]
