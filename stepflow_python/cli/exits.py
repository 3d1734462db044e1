"""Two small tables: what a status and what an error mean as the exit code of a command."""

from collections.abc import Mapping
from typing import Final

from stepflow_python.errors import ErrorCategory
from stepflow_python.model.result import ErrorInfo, ExecutionResult, Status

SUCCEEDED: Final = 0
UNUSABLE: Final = 2
OUR_FAULT: Final = 3
TIMED_OUT: Final = 124
"""As `timeout(1)` has it."""
INTERRUPTED: Final = 130
"""128 and SIGINT, as a shell has it."""

BY_STATUS: Mapping[Status, int] = {
    Status.SUCCEEDED: SUCCEEDED,
    Status.FAILED: 1,
    Status.OUTPUT_EXCEEDED: 1,
    Status.REJECTED: UNUSABLE,
    Status.LOST: OUR_FAULT,
    # Only a command that stopped waiting ends with one of these two.
    Status.QUEUED: OUR_FAULT,
    Status.RUNNING: OUR_FAULT,
    Status.TIMED_OUT: TIMED_OUT,
    Status.CANCELLED: INTERRUPTED,
    Status.MEMORY_EXCEEDED: 137,
}

BY_CATEGORY: Mapping[ErrorCategory, int] = {
    ErrorCategory.REQUEST: UNUSABLE,
    ErrorCategory.PLATFORM: OUR_FAULT,
}


def code_of_error(error: ErrorInfo) -> int:
    """The exit code of a command that could not do its work."""
    return BY_CATEGORY[error.category]


def code_of_result(result: ExecutionResult) -> int:
    """The exit code of an execution; one that failed through a fault of ours is not the tool's failure."""
    if result.status is Status.FAILED and result.error is not None and result.error.category is ErrorCategory.PLATFORM:
        return OUR_FAULT
    return BY_STATUS[result.status]
