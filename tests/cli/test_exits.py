import pytest

from stepflow_python.cli.exits import BY_CATEGORY, BY_STATUS, code_of_error, code_of_result
from stepflow_python.errors import ErrorCategory, ErrorKind
from stepflow_python.model.result import ErrorInfo, ExecutionResult, Status


def test_every_status_and_category_has_a_code() -> None:
    """No status and no category is left out of the tables."""
    assert set(BY_STATUS) == set(Status)
    assert set(BY_CATEGORY) == set(ErrorCategory)


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (Status.SUCCEEDED, 0),
        (Status.FAILED, 1),
        (Status.OUTPUT_EXCEEDED, 1),
        (Status.REJECTED, 2),
        (Status.LOST, 3),
        (Status.TIMED_OUT, 124),
        (Status.CANCELLED, 130),
        (Status.MEMORY_EXCEEDED, 137),
    ],
)
def test_code_of_each_end(status: Status, code: int) -> None:
    """The exit code tells how a tool ended."""
    assert code_of_result(ExecutionResult(execution_id="a", status=status)) == code


def test_our_fault_is_not_the_tools_failure() -> None:
    """A run that failed because the platform did ends with the code of our faults."""
    error = ErrorInfo(kind=ErrorKind.INTERNAL_ERROR, message="no disk", category=ErrorCategory.PLATFORM)
    assert code_of_result(ExecutionResult(execution_id="a", status=Status.FAILED, error=error)) == 3
    assert code_of_error(error) == 3
