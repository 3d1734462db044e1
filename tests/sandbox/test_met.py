"""Which limits a run met, from what was seen."""

import signal

import pytest

from stepflow_python.model.limits import Limit
from stepflow_python.model.result import ExceptionInfo, Status, Truncated
from stepflow_python.sandbox.channel import Answer, Report, SupervisorStatus
from stepflow_python.sandbox.met import Signs, limits_met


def met(status: Status = Status.FAILED, **signs: object) -> tuple[Limit, ...]:
    """The limits of a run of which nothing else is known."""
    blank = {"answer": Answer(), "stopped": None, "stopped_for": None, "out_of_memory": False, "forks_refused": 0}
    return limits_met(Signs(**{**blank, "truncated": Truncated(), **signs}), status)  # type: ignore[arg-type]


def raised(*messages: str) -> Answer:
    """An answer of a tool that ended with exceptions."""
    exceptions = tuple(ExceptionInfo(type="OSError", message=message) for message in messages)
    return Answer(complete=True, report=Report(ok=False, exceptions=exceptions), status=SupervisorStatus(exit=1))


def test_a_run_within_its_limits_met_none() -> None:
    """Nothing is named without a sign."""
    assert met(Status.SUCCEEDED, answer=Answer(report=Report(ok=True), status=SupervisorStatus(exit=0))) == ()


@pytest.mark.parametrize(
    ("message", "limit"),
    [
        ("[Errno 24] Too many open files: 'x'", Limit.OPEN_FILES),
        ("[Errno 27] File too large", Limit.FILE_SIZE),
        ("[Errno 28] No space left on device", Limit.WORK_SIZE),
        ("[Errno 11] Resource temporarily unavailable", Limit.PROCESSES),
        ("can't start new thread", Limit.PROCESSES),
    ],
)
def test_a_call_that_failed_tells_its_limit(message: str, limit: Limit) -> None:
    """Also where that error was only the cause of the one that ended the tool."""
    assert met(answer=raised(message)) == (limit,)
    assert met(answer=raised("it did not work", message)) == (limit,)
    assert met(answer=raised("it did not work")) == ()


def test_what_the_host_saw() -> None:
    """Stops, kills for memory and refused forks are named in the order of declaration."""
    assert met(Status.TIMED_OUT, stopped=Status.TIMED_OUT, stopped_for=Limit.WALL_TIME) == (Limit.WALL_TIME,)
    both = met(Status.MEMORY_EXCEEDED, out_of_memory=True, forks_refused=3)
    assert both == (Limit.MEMORY, Limit.PROCESSES)
    assert met(Status.OUTPUT_EXCEEDED, truncated=Truncated(stderr=True)) == (Limit.OUTPUT,)


def test_what_the_guest_saw() -> None:
    """A signal of the CPU clock, a result or files over their limits."""
    answer = Answer(complete=True, status=SupervisorStatus(signal=int(signal.SIGXCPU), flooded=True, files_error="65"))
    assert met(Status.TIMED_OUT, answer=answer) == (Limit.CPU_TIME, Limit.RESULT, Limit.FILES)
    assert met(Status.CANCELLED, stopped=Status.CANCELLED, answer=answer) == (Limit.RESULT, Limit.FILES)
