"""Writes to a file are heard, by whoever listens, while the kernel gives room for it."""

import asyncio
import select
from pathlib import Path

import pytest

from stepflow_python.process import inotify
from stepflow_python.process.inotify import FileNews


def heard(news: FileNews, *, within_s: float = 0.0) -> bool:
    """Whether something waits to be cleared."""
    return bool(select.select([news], [], [], within_s)[0])


def test_writes_are_heard_and_reads_are_not(tmp_path: Path) -> None:
    """Until they are cleared; several at a time are one."""
    file = tmp_path / "log"
    file.write_text("a")
    news = FileNews(file)
    assert news.listen()
    assert file.read_text() == "a"
    assert not heard(news)
    for _ in range(3):
        with file.open("a") as log:
            log.write("b")
    assert heard(news, within_s=5.0)
    news.clear()
    assert not heard(news)
    news.close()
    news.close()


def test_a_file_that_comes_later_is_heard(tmp_path: Path) -> None:
    """Nothing is heard before, and it is asked again; likewise when it was removed and another one is there."""
    file = tmp_path / "log"
    news = FileNews(file)
    assert not news.listen()
    for text in ("a", "b"):
        file.write_text(text)
        assert news.listen()
        with file.open("a") as log:
            log.write("c")
        assert heard(news, within_s=5.0)
        file.unlink()
        news.clear()
        assert not news.listen()
    news.close()


def test_no_room_for_it_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A user has so many instances of the kernel's and no more."""
    monkeypatch.setattr(inotify, "Inotify", _none_left)
    news = FileNews(tmp_path)
    assert (news.listen(), news.fileno()) == (False, -1)
    news.clear()
    news.close()


def test_a_loop_can_wait_for_it(tmp_path: Path) -> None:
    """It has a descriptor like any other."""
    file = tmp_path / "log"
    file.write_text("a")

    async def wait() -> None:
        loop, news, told = asyncio.get_running_loop(), FileNews(file), asyncio.Event()
        assert news.listen()
        loop.add_reader(news, told.set)
        file.write_text("b")
        async with asyncio.timeout(5):
            await told.wait()
        loop.remove_reader(news)
        news.close()

    asyncio.run(wait())


def _none_left() -> None:
    raise OSError(24, "Too many open files")
