"""Who wants functions to be called at a fork is noted, and what they would do for the standard library is done."""

import os
import posix
import random
import threading

import pytest

from stepflow_python.guest.forking import ForkHooks, renew


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """What is registered; this process forks without it."""
    found: list[object] = []
    for module in (posix, os):
        monkeypatch.setattr(module, "register_at_fork", lambda **functions: found.extend(functions.values()))
    return found


def test_hooks_of_the_standard_library_are_not_needed(registered: list[object]) -> None:
    """They are registered all the same."""
    seed, after = random.Random().seed, threading._after_fork  # type: ignore[attr-defined]  # noqa: S311 - no secret
    with ForkHooks() as hooks:
        os.register_at_fork(after_in_child=seed)
        posix.register_at_fork(before=after, after_in_child=after)
    assert registered == [seed, after, after]
    assert not hooks.needed


def test_hooks_of_others_are_needed(registered: list[object]) -> None:
    """Of whatever kind; what is registered later is not noted."""
    with ForkHooks() as hooks:
        os.register_at_fork(after_in_parent=print)
    assert hooks.needed
    with ForkHooks() as hooks:
        pass
    os.register_at_fork(before=print)
    assert not hooks.needed
    assert registered == [print, print]


def test_random_numbers_are_new() -> None:
    """The state of before does not come again."""
    before = random.getstate()
    renew()
    assert random.getstate() != before
