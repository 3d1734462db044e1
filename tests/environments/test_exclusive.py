"""One holder at a time."""

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from stepflow_python.environments.exclusive import exclusive


def test_tasks_take_turns(tmp_path: Path) -> None:
    """What one task does under the lock is not interleaved with another's."""
    steps: list[str] = []

    async def hold(name: str) -> None:
        async with exclusive(tmp_path / "x.lock", timeout_s=30):
            steps.append(name)
            await asyncio.sleep(0)
            steps.append(name)

    async def main() -> None:
        await asyncio.gather(*(hold(name) for name in "abc"))

    asyncio.run(main())
    assert steps[::2] == steps[1::2]


def test_waiting_has_an_end_and_the_loop_turns_meanwhile(tmp_path: Path) -> None:
    """A lock that is not let go is a timeout; other tasks run while one waits."""
    turned: list[None] = []

    async def turn() -> None:
        while True:
            turned.append(None)
            await asyncio.sleep(0)

    async def main() -> None:
        async with exclusive(tmp_path / "x.lock", timeout_s=1):
            task = asyncio.create_task(turn())
            with pytest.raises(TimeoutError, match="x was held"):
                async with exclusive(tmp_path / "x.lock", timeout_s=0.05):
                    pass
            task.cancel()

    asyncio.run(main())
    assert len(turned) > 1


def test_a_child_keeps_the_lock_of_its_parent(tmp_path: Path) -> None:
    """What a killed worker started and still lives holds others off."""
    path = tmp_path / "x.lock"

    def start(descriptor: int) -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=(descriptor,))

    async def main() -> None:
        async with exclusive(path, timeout_s=1) as descriptor:
            child = start(descriptor)
        with pytest.raises(TimeoutError):
            async with exclusive(path, timeout_s=0.05):
                pass
        child.communicate(b"\n")
        async with exclusive(path, timeout_s=10):
            pass

    asyncio.run(main())
