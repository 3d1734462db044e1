"""Which limits a run met: by what the host saw, and for those that only make a call fail, by what the tool raised."""

import errno
import re
import signal
from dataclasses import dataclass

from stepflow_python.model.limits import Limit
from stepflow_python.model.result import Status, Truncated
from stepflow_python.sandbox.channel import Answer

BY_ERRNO = {
    errno.EMFILE: Limit.OPEN_FILES,
    errno.EFBIG: Limit.FILE_SIZE,
    errno.ENOSPC: Limit.WORK_SIZE,
    errno.EAGAIN: Limit.PROCESSES,
}
ERRNO = re.compile(r"\[Errno (\d+)\]")
NO_THREAD = "can't start new thread"


@dataclass(frozen=True, slots=True, kw_only=True)
class Signs:
    """What tells of limits; `forks_refused` counts what the control group refused."""

    answer: Answer
    stopped: Status | None
    stopped_for: Limit | None
    out_of_memory: bool
    forks_refused: int
    truncated: Truncated


def limits_met(signs: Signs, status: Status) -> tuple[Limit, ...]:
    """The limits, in the order of their declaration; `status` is the verdict on the run."""
    met = {signs.stopped_for} if signs.stopped_for is not None else set()
    supervisor, report = signs.answer.status, signs.answer.report
    if status is Status.MEMORY_EXCEEDED:
        met.add(Limit.MEMORY)
    if signs.forks_refused:
        met.add(Limit.PROCESSES)
    if signs.truncated.stdout or signs.truncated.stderr:
        met.add(Limit.OUTPUT)
    if (report is not None and report.too_large) or (supervisor is not None and supervisor.flooded):
        met.add(Limit.RESULT)
    if supervisor is not None and supervisor.files_error is not None:
        met.add(Limit.FILES)
    if signs.stopped is None and supervisor is not None and supervisor.signal == signal.SIGXCPU:
        met.add(Limit.CPU_TIME)
    met |= _raised(signs.answer)
    return tuple(limit for limit in Limit if limit in met) if met else ()


def _raised(answer: Answer) -> set[Limit]:
    """What the exception that ended the tool, or one that caused it, says. A tool can forge that, of itself."""
    raised = answer.report.exceptions if answer.report is not None else ()
    numbers = [int(found[1]) for one in raised if (found := ERRNO.match(one.message))]
    met = {BY_ERRNO[number] for number in numbers if number in BY_ERRNO}
    return met | ({Limit.PROCESSES} if any(one.message == NO_THREAD for one in raised) else set())
