"""No run finds anything of another one: not of the one before it, and not of the one beside it."""

import ast
from dataclasses import replace

import pytest
from support.attacks import FOLDER, TRADE
from support.outside import Outside
from support.ways import Way

from stepflow_python.ports import SandboxRun

SOURCE = (FOLDER / "lasting.py").read_text()
NAMES = [node.name for node in ast.parse(SOURCE).body if isinstance(node, ast.FunctionDef)]
LEFT = [name.removeprefix("leaves_") for name in NAMES if name.startswith("leaves_")]


def half(way: Way, world: Outside, name: str) -> SandboxRun:
    """One half of a pair."""
    run = way.tool(SOURCE, name, world=world.described())
    return replace(run, files={TRADE.name: TRADE.read_bytes()})


@pytest.mark.parametrize("what", LEFT)
def test_the_next_run_finds_nothing(what: str, way: Way, world: Outside) -> None:
    """What one run has left is gone when the next one starts."""
    [left] = way.run(half(way, world, f"leaves_{what}"))
    [found] = way.run(half(way, world, f"finds_{what}"))
    assert (left.status, found.status, found.result) == ("succeeded", "succeeded", []), (left.stderr, found.stderr)


@pytest.mark.parametrize("what", LEFT)
def test_the_run_beside_it_finds_nothing(what: str, way: Way, world: Outside) -> None:
    """What one run does cannot be seen by one that runs at the same time."""
    left, found = way.run(half(way, world, f"leaves_{what}"), half(way, world, f"finds_{what}"))
    assert (left.status, found.status, found.result) == ("succeeded", "succeeded", []), (left.stderr, found.stderr)
