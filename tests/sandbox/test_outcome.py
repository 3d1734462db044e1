"""What the host saw outranks what the guest said."""

import signal

import pytest

from stepflow_python.errors import ErrorKind
from stepflow_python.model.limits import Limits
from stepflow_python.model.result import ExceptionInfo, MemoryEnforcement, SandboxOutcome, Status, Truncated
from stepflow_python.model.security import IsolationTier
from stepflow_python.sandbox.channel import Answer, GuestError, Report, SupervisorStatus
from stepflow_python.sandbox.outcome import Seen, outcome_of

FINE = Answer(began=True, complete=True, report=Report(ok=True, value=42), status=SupervisorStatus(exit=0, maxrss_kb=9))


def judge(answer: Answer = FINE, *, stopped: Status | None = None, out_of_memory: bool = False) -> SandboxOutcome:
    """The outcome of a run with this answer."""
    return outcome_of(
        Seen(
            answer=answer,
            limits=Limits(),
            stdout="out",
            stderr="err",
            truncated=Truncated(stdout=stopped is Status.OUTPUT_EXCEEDED),
            stopped=stopped,
            stopped_for=None,
            out_of_memory=out_of_memory,
            forks_refused=0,
            box_code=0,
            wall_ms=1.0,
            dispatch_ms=0.5,
            cpu_ms=2.0,
            memory_kb=None,
            isolation=IsolationTier.NAMESPACES,
            warm=False,
            memory_enforcement=MemoryEnforcement.WATCHDOG,
        )
    )


def test_a_return_value_is_a_success() -> None:
    """A complete answer with a value succeeds and carries it."""
    outcome = judge()
    assert (outcome.status, outcome.result, outcome.return_code, outcome.error) == (Status.SUCCEEDED, 42, 0, None)
    assert outcome.memory_usage_kb == 9


@pytest.mark.parametrize("why", [Status.TIMED_OUT, Status.OUTPUT_EXCEEDED, Status.CANCELLED, Status.MEMORY_EXCEEDED])
def test_a_run_that_was_stopped_has_no_result(why: Status) -> None:
    """A result that arrived just before the kill does not turn it into a success; what was printed is kept."""
    outcome = judge(stopped=why)
    assert (outcome.status, outcome.result, outcome.stdout) == (why, None, "out")
    assert outcome.error is not None


def test_a_run_without_an_answer_that_was_stopped_died_by_our_signal() -> None:
    """The record says which signal ended it, as subprocess does."""
    outcome = judge(Answer(began=True), stopped=Status.TIMED_OUT)
    assert (outcome.return_code, outcome.signal) == (-9, signal.SIGKILL)
    assert outcome.error is not None
    assert outcome.error.kind is ErrorKind.TIMEOUT_EXCEEDED


def test_a_kill_for_memory_outranks_any_answer() -> None:
    """A tool that survived the killing of its child went over its limit all the same."""
    assert judge(out_of_memory=True).status is Status.MEMORY_EXCEEDED


FAILURES = {
    "half an answer": (Answer(began=True), "without an answer"),
    "fault": (Answer(began=True, complete=True, fault="nested too deep"), "nested too deep"),
    "signal": (Answer(complete=True, status=SupervisorStatus(signal=11)), "11 (SIGSEGV)"),
    "odd signal": (Answer(complete=True, status=SupervisorStatus(signal=99)), "signal 99"),
    "exit code": (Answer(complete=True, status=SupervisorStatus(exit=3)), "code 3"),
    "left silently": (Answer(complete=True, status=SupervisorStatus(exit=0)), "os._exit"),
}


@pytest.mark.parametrize(("answer", "words"), FAILURES.values(), ids=FAILURES)
def test_failures_say_why(answer: Answer, words: str) -> None:
    """Each way of failing has its own sentence."""
    outcome = judge(answer)
    assert outcome.status is Status.FAILED
    assert outcome.error is not None
    assert words in outcome.error.message


def test_an_exception_is_a_failure_with_its_kind() -> None:
    """An import that fails inside is an import_error."""
    report = Report(
        ok=False,
        exceptions=(ExceptionInfo(type="ModuleNotFoundError", message="No module named 'llm'"),),
        error=GuestError(kind="import_error", message="No module named 'llm'"),
    )
    outcome = judge(Answer(complete=True, report=report, status=SupervisorStatus(exit=1)))
    assert outcome.error is not None
    assert outcome.error.kind is ErrorKind.IMPORT_ERROR
    assert outcome.exceptions[0].message == "No module named 'llm'"


def test_an_uncaught_memory_error_is_a_memory_limit() -> None:
    """Where the limit is on the data segment, Python itself notices first."""
    report = Report(ok=False, exceptions=(ExceptionInfo(type="MemoryError", message=""),))
    assert judge(Answer(complete=True, report=report, status=SupervisorStatus(exit=1))).status is Status.MEMORY_EXCEEDED


def test_too_much_output_is_told_apart() -> None:
    """A result, a channel or files over their limits are output_exceeded, and marked."""
    too_large = judge(Answer(complete=True, report=Report(ok=False, too_large=True), status=SupervisorStatus(exit=0)))
    assert (too_large.status, too_large.truncated.result) == (Status.OUTPUT_EXCEEDED, True)
    flooded = judge(Answer(complete=True, report=None, status=SupervisorStatus(exit=0, flooded=True)))
    assert flooded.status is Status.OUTPUT_EXCEEDED
    files = Answer(complete=True, report=Report(ok=True), status=SupervisorStatus(exit=0, files_error="65 files"))
    assert judge(files).status is Status.OUTPUT_EXCEEDED


def test_the_cpu_limit_is_a_timeout() -> None:
    """SIGXCPU comes from the CPU limit and nowhere else."""
    assert judge(Answer(complete=True, status=SupervisorStatus(signal=signal.SIGXCPU))).status is Status.TIMED_OUT


@pytest.mark.parametrize(("cpu_ms", "status"), [(60_000.0, Status.TIMED_OUT), (59_000.0, Status.FAILED)])
def test_who_ignores_the_end_of_its_cpu_time_is_out_of_time_too(cpu_ms: float, status: Status) -> None:
    """At the hard limit the kernel kills; a kill before that time is somebody else's."""
    killed = SupervisorStatus(signal=signal.SIGKILL, cpu_ms=cpu_ms)
    assert judge(Answer(complete=True, status=killed)).status is status
