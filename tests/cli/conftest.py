"""What the tests of the command line share."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.program import Program


@pytest.fixture
def stepflow(home: Path) -> Program:
    """The program on an empty home."""
    return Program(home=home, settings={})


@pytest.fixture
def home() -> Iterator[Path]:
    """A folder for a home that is not there yet."""
    with _outside() as folder:
        yield folder / "home"


@pytest.fixture(scope="module")
def shared() -> Iterator[Program]:
    """The program on a home that the tests of a module share: they use ids of their own."""
    with _outside() as folder:
        yield Program(home=folder / "home", settings={})


@contextmanager
def _outside() -> Iterator[Path]:
    """A folder outside /tmp, which a box has one of its own of."""
    with tempfile.TemporaryDirectory(dir="/var/tmp", prefix="stepflow-") as folder:
        yield Path(folder)


@pytest.fixture(scope="module")
def tool(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small tool: a function with several types, one that fails, and a script part."""
    path = tmp_path_factory.mktemp("tools") / "greeter.py"
    path.write_text(SOURCE)
    return path


SOURCE = '''"""Greets people."""

import json
import sys


def greet(name: str, times: int = 1, *, loud: bool = False, tags: list[str] | None = None) -> dict:
    """Greet somebody.

    Args:
        name: who.
    """
    print("greeting")
    words = " ".join([f"hello {name}"] * times)
    return {"words": words.upper() if loud else words, "tags": tags}


def fail(why: str = "it had to") -> None:
    """Fail."""
    raise ValueError(why)


if __name__ == "__main__":
    print("as a script", sys.stdin.read())
'''
