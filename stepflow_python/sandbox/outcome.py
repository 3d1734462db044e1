"""What a run's end means: a pure function from what was seen to a `SandboxOutcome`."""

import signal
from dataclasses import dataclass

from stepflow_python.errors import ErrorKind
from stepflow_python.model.limits import Limit, Limits
from stepflow_python.model.result import ErrorInfo, MemoryEnforcement, SandboxOutcome, Status, Truncated
from stepflow_python.model.security import IsolationTier
from stepflow_python.sandbox.channel import Answer, Report, SupervisorStatus
from stepflow_python.sandbox.met import Signs, limits_met


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """All that the host saw of a run. `stopped` is why the host killed it, if it did."""

    answer: Answer
    limits: Limits
    stdout: str
    stderr: str
    truncated: Truncated
    stopped: Status | None
    stopped_for: Limit | None
    out_of_memory: bool
    forks_refused: int
    box_code: int
    wall_ms: float
    cpu_ms: float | None
    dispatch_ms: float | None
    memory_kb: int | None
    isolation: IsolationTier
    warm: bool
    memory_enforcement: MemoryEnforcement


def outcome_of(seen: Seen) -> SandboxOutcome:
    """Judge a run: what the host saw outranks what the guest said."""
    status, error = _verdict(seen)
    report, supervisor = seen.answer.report, seen.answer.status
    killed = (
        supervisor.signal if supervisor is not None else signal.SIGKILL if seen.stopped or seen.out_of_memory else None
    )
    code = supervisor.exit if supervisor is not None else None
    return SandboxOutcome(
        status=status,
        result=report.value if report is not None and status is Status.SUCCEEDED else None,
        stdout=seen.stdout,
        stderr=seen.stderr,
        execution_time_ms=round(seen.wall_ms, 3),
        dispatch_time_ms=None if seen.dispatch_ms is None else round(seen.dispatch_ms, 3),
        cpu_time_ms=seen.cpu_ms,
        memory_usage_kb=_memory(seen),
        return_code=-int(killed) if killed else code,
        signal=int(killed) if killed else None,
        exceptions=report.exceptions if report is not None else (),
        error=error,
        isolation=seen.isolation,
        warm=seen.warm,
        memory_enforcement=seen.memory_enforcement,
        truncated=_truncated(seen),
        limits_met=limits_met(_signs(seen), status),
        files=seen.answer.files,
    )


def _truncated(seen: Seen) -> Truncated:
    too_large = seen.answer.report is not None and seen.answer.report.too_large
    return seen.truncated.model_copy(update={"result": True}) if too_large else seen.truncated


def _signs(seen: Seen) -> Signs:
    return Signs(
        answer=seen.answer,
        stopped=seen.stopped,
        stopped_for=seen.stopped_for,
        out_of_memory=seen.out_of_memory,
        forks_refused=seen.forks_refused,
        truncated=seen.truncated,
    )


def _verdict(seen: Seen) -> tuple[Status, ErrorInfo | None]:
    if seen.stopped is not None:
        return seen.stopped, _stopped(seen.stopped, seen)
    if seen.out_of_memory:
        return Status.MEMORY_EXCEEDED, _out_of_memory(seen.limits)
    answer = seen.answer
    if answer.fault is not None:
        return Status.FAILED, _failed(f"the run's answer is unusable: {answer.fault}")
    if answer.status is None or not answer.complete:
        return Status.FAILED, _failed(f"the run ended without an answer (exit code {seen.box_code})")
    if _out_of_cpu_time(answer.status, seen.limits):
        return Status.TIMED_OUT, _stopped(Status.TIMED_OUT, seen)
    return _by_report(seen)


def _out_of_cpu_time(supervisor: SupervisorStatus, limits: Limits) -> bool:
    """Who ignores the soft limit's SIGXCPU is killed at the hard one, a second later."""
    if supervisor.signal == signal.SIGKILL:
        return supervisor.cpu_ms >= limits.cpu_s * 1000
    return supervisor.signal == signal.SIGXCPU


def _by_report(seen: Seen) -> tuple[Status, ErrorInfo | None]:
    """The verdict on a run that came to its own end."""
    supervisor, report = seen.answer.status or SupervisorStatus(), seen.answer.report
    if (report is not None and report.too_large) or supervisor.flooded:
        message = f"the result is larger than {seen.limits.result_bytes} bytes; return less, or leave a file in output/"
        return Status.OUTPUT_EXCEEDED, _failed(message)
    if report is not None and any(raised.type == "MemoryError" for raised in report.exceptions[:1]):
        return Status.MEMORY_EXCEEDED, _out_of_memory(seen.limits)
    failure = _failure(supervisor, report)
    if failure is not None:
        return Status.FAILED, failure
    if supervisor.files_error is not None:
        return Status.OUTPUT_EXCEEDED, _failed(supervisor.files_error)
    return Status.SUCCEEDED, None


def _failure(supervisor: SupervisorStatus, report: Report | None) -> ErrorInfo | None:
    """Why the tool failed, if it did."""
    if supervisor.signal is not None:
        return _failed(f"the tool was killed by signal {_signal_name(supervisor.signal)}")
    if report is not None and report.error is not None:
        kind = ErrorKind.IMPORT_ERROR if report.error.kind == "import_error" else ErrorKind.EXECUTION_ERROR
        return _failed(report.error.message, kind)
    if report is not None and not report.ok and report.exceptions:
        raised = report.exceptions[0]
        return _failed(f"{raised.type}: {raised.message}"[:1000])
    if supervisor.exit != 0:
        return _failed(f"the tool exited with code {supervisor.exit}")
    if report is None or not report.ok:
        return _failed("the tool ended without giving its result: it left by os._exit or closed its descriptors")
    return None


def _stopped(status: Status, seen: Seen) -> ErrorInfo | None:
    limits = seen.limits
    match status:
        case Status.TIMED_OUT:
            cpu = seen.stopped is None or seen.stopped_for is Limit.CPU_TIME
            spent = f"CPU time limit of {limits.cpu_s:g} s" if cpu else f"time limit of {limits.timeout_s:g} s"
            message = f"stopped after its {spent}; ask for more with `timeout`"
            return _failed(message, ErrorKind.TIMEOUT_EXCEEDED)
        case Status.MEMORY_EXCEEDED:
            return _out_of_memory(limits)
        case Status.FAILED:
            return _failed(f"stopped when its work folder held more than {limits.work_bytes} bytes, or too many files")
        case Status.OUTPUT_EXCEEDED:
            stream = "stdout" if seen.truncated.stdout else "stderr"
            return _failed(f"stopped after printing more than {limits.output_bytes} bytes to {stream}")
        case _:
            return _failed("stopped on request")


def _out_of_memory(limits: Limits) -> ErrorInfo:
    message = f"stopped at its memory limit of {limits.memory_mib} MiB; ask for more with `memory_limit`"
    return _failed(message, ErrorKind.MEMORY_LIMIT_EXCEEDED)


def _failed(message: str, kind: ErrorKind = ErrorKind.EXECUTION_ERROR) -> ErrorInfo:
    return ErrorInfo(kind=kind, message=message)


def _memory(seen: Seen) -> int | None:
    said = seen.answer.status.maxrss_kb if seen.answer.status is not None else None
    measured = [value for value in (seen.memory_kb, said if seen.memory_kb is None else None) if value is not None]
    return max(measured, default=None)


def _signal_name(number: int) -> str:
    try:
        return f"{number} ({signal.Signals(number).name})"
    except ValueError:
        return str(number)
