"""What tests lend."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator


def add(a: int, b: int = 2, *more: int, scale: float = 1.0, **others: int) -> float:
    """Add numbers, scaled."""
    return (a + b + sum(more) + sum(others.values())) * scale


async def wait(seconds: float) -> str:
    """Wait for so long."""
    await asyncio.sleep(seconds)
    return "waited"


def block(seconds: float) -> str:
    """Wait in the thread."""
    time.sleep(seconds)
    return "blocked"


def fail(kind: str) -> None:
    """Raise what is asked for."""
    raise {
        "key": KeyError("endpoint"),
        "type": TypeError("two words"),
        "value": ValueError("no such value"),
        "system": ConnectionRefusedError(111, "refused"),
        "time": TimeoutError("too late"),
        "runtime": RuntimeError("broken"),
        "index": IndexError("out of range"),
    }[kind]


async def tokens(count: int) -> AsyncIterator[str]:
    """Give tokens one by one."""
    for number in range(count):
        yield f"t{number}"


def numbers(count: int) -> Iterator[int]:
    """Give numbers one by one."""
    yield from range(count)


def echo(value: object) -> object:
    """Give back what came."""
    return value


def unspeakable() -> object:
    """Give what is no JSON."""
    return object()
