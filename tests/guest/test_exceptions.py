"""Exceptions as data, also those that resist."""

from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from stepflow_python.guest.exceptions import chain, report, summary

if TYPE_CHECKING:
    from conftest import Guest

HOSTILE = """
class Hostile(Exception):
    def __str__(self):
        {body}

def f():
    raise Hostile("x")
"""


def test_a_str_that_misbehaves_breaks_nothing(guest: "Guest") -> None:
    """A message that cannot be had is said to be so; the frames are there."""
    for body in (
        "raise ValueError",
        "raise SystemExit(0)",
        "return self.__str__()",
        "return 5",
        "raise KeyboardInterrupt",
    ):
        ran = guest.run(HOSTILE.format(body=body), "f")
        assert ran.report is not None
        (one,) = ran.report["exceptions"]
        assert (one["type"], one["message"]) == ("tool.Hostile", "<exception str() failed>")
        assert one["frames"][0]["function"] == "f"
        assert ran.status["exit"] == 1


def test_a_failing_hook_does_not_take_the_traceback(guest: "Guest") -> None:
    """A tool's own hook is used; if it fails, Python's prints."""
    hooked = guest.run("import sys\nsys.excepthook = lambda *a: print('hooked')\n1 / 0\n")
    assert (hooked.stdout, hooked.stderr) == ("hooked\n", "")
    assert "invalid literal" in guest.run("import sys\nsys.excepthook = lambda *a: 1 / 0\nint('x')\n").stderr


def test_endless_recursion_is_bounded(guest: "Guest") -> None:
    """A thousand frames become a hundred: the first and the last."""
    ran = guest.run("def f(n=0):\n    return f(n + 1)\n", "f")
    assert ran.report is not None
    (one,) = ran.report["exceptions"]
    assert one["type"] == "RecursionError"
    assert len(one["frames"]) == 100


def test_a_report_fits_its_limit(guest: "Guest") -> None:
    """However much was raised, the report passes the supervisor's bound."""
    source = (
        "def f():\n    error = None\n    for n in range(200):\n        new = ValueError('\\0' * 20_000)\n"
        "        new.__cause__ = error\n        error = new\n    raise error\n"
    )
    ran = guest.run(source, "f", limits={"result_bytes": 10})
    assert ran.report is not None
    assert not ran.status["flooded"]
    assert len(ran.report["exceptions"]) == 1
    many = guest.run(source, "f", limits={"result_bytes": 1 << 23, "file_bytes": 1 << 24})
    assert many.report is not None
    assert len(many.report["exceptions"]) == 50


def test_library_frames_are_left_out(guest: "Guest") -> None:
    """Frames of the standard library are in the traceback on stderr, not in the report."""
    ran = guest.run("import json\ndef f():\n    return json.loads('{')\n", "f")
    assert ran.report is not None
    (one,) = ran.report["exceptions"]
    assert one["type"] == "json.decoder.JSONDecodeError"
    assert [frame["function"] for frame in one["frames"]] == ["f"]
    assert "decoder.py" in ran.stderr


def test_a_suppressed_context_is_left_out() -> None:
    """`raise ... from None` reports one exception; without it, what was being handled follows."""

    def raised(*, suppress: bool) -> list[str]:
        outer = ValueError("outer")
        outer.__context__ = KeyError("inner")
        outer.__suppress_context__ = suppress
        return [one["type"] for one in report(outer, most_bytes=10_000)]

    assert raised(suppress=True) == ["ValueError"]
    assert raised(suppress=False) == ["ValueError", "KeyError"]


def test_members_of_groups_are_appended() -> None:
    """A group is followed by its members, and theirs."""
    inner = ExceptionGroup("inner", [KeyError("k")])
    group = ExceptionGroup("outer", [ValueError("v"), inner])
    assert [one["type"] for one in report(group, most_bytes=10_000)] == [
        "ExceptionGroup",
        "ValueError",
        "ExceptionGroup",
        "KeyError",
    ]


def test_a_cycle_of_causes_ends() -> None:
    """Each exception is reported once."""
    first, second = ValueError("1"), ValueError("2")
    first.__cause__, second.__cause__ = second, first
    assert list(chain(first)) == [first, second]


@given(st.text())
def test_a_summary_is_made_of_any_message(message: str) -> None:
    """The sentence holds the type and the beginning of the message."""
    assert summary(ValueError(message)).startswith("ValueError")
    assert message[:300] in summary(ValueError(message))
