"""What the tests of the command line share."""

from pathlib import Path

import pytest
from support.program import Program


@pytest.fixture
def stepflow(home: Path) -> Program:
    """The program on an empty home."""
    return Program(home=home, settings={})


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A folder for a home that is not there yet."""
    return tmp_path / "home"


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Program:
    """The program on a home that the tests of a module share: they use ids of their own."""
    return Program(home=tmp_path_factory.mktemp("shared") / "home", settings={})


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
