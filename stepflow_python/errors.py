"""The one error tree: eleven kinds, each with a category and a retry verdict.

A tool that fails is a result, never one of these. What is raised here is either a request that cannot be used or a
fault of our own. Foreign errors are translated at the door where they enter, with the cause kept (`raise ... from`).
"""

from enum import StrEnum
from typing import ClassVar


class ErrorKind(StrEnum):
    """Stable names; producers in any language match on these."""

    PARSE_ERROR = "parse_error"
    SYNTAX_ERROR = "syntax_error"
    EXECUTION_ERROR = "execution_error"
    ENVIRONMENT_ERROR = "environment_error"
    DEPENDENCY_ERROR = "dependency_error"
    SECURITY_VIOLATION = "security_violation"
    TIMEOUT_EXCEEDED = "timeout_exceeded"
    MEMORY_LIMIT_EXCEEDED = "memory_limit_exceeded"
    IMPORT_ERROR = "import_error"
    DATABASE_ERROR = "database_error"
    INTERNAL_ERROR = "internal_error"


class ErrorCategory(StrEnum):
    """Who can mend it."""

    REQUEST = "request"
    """The caller: the same request will be refused again."""
    PLATFORM = "platform"
    """The operator, or time: the same request may pass later."""


class PythonError(Exception):
    """Something about this request or this worker is wrong.

    Args:
        message: what was wrong, where (line and column, parameter, package), and what to do. Never a secret.
        line: 1-based line in the tool's source, where there is one.
        column: 1-based column in that line.
    """

    kind: ClassVar[ErrorKind] = ErrorKind.INTERNAL_ERROR
    category: ClassVar[ErrorCategory] = ErrorCategory.PLATFORM
    retryable: ClassVar[bool] = False

    def __init__(self, message: str = "", *, line: int | None = None, column: int | None = None) -> None:
        self.message = message or (type(self).__doc__ or "").splitlines()[0]
        self.line = line
        self.column = column
        super().__init__(self.message)


class ParseError(PythonError):
    """The payload or the source cannot be read: not JSON, not the model, too large, undecodable, nested too deep."""

    kind = ErrorKind.PARSE_ERROR
    category = ErrorCategory.REQUEST


class PythonSyntaxError(PythonError):
    """The source is not Python; line and column say where."""

    kind = ErrorKind.SYNTAX_ERROR
    category = ErrorCategory.REQUEST


class ExecutionError(PythonError):
    """The request cannot be executed as it stands: unknown function, missing, unknown or ill-typed parameter."""

    kind = ErrorKind.EXECUTION_ERROR
    category = ErrorCategory.REQUEST


class QueueFullError(ExecutionError):
    """So many executions wait already that no further one is taken; a later try may succeed."""

    category = ErrorCategory.PLATFORM
    retryable = True


class PythonEnvironmentError(PythonError):
    """An environment or interpreter is unknown, or could not be built."""

    kind = ErrorKind.ENVIRONMENT_ERROR
    category = ErrorCategory.REQUEST


class EnvironmentUnavailableError(PythonEnvironmentError):
    """An environment could not be built now (disk, registry); a later try may succeed."""

    category = ErrorCategory.PLATFORM
    retryable = True


class DependencyError(PythonError):
    """A requirement is malformed, unknown or impossible; the resolver's own words are in the message."""

    kind = ErrorKind.DEPENDENCY_ERROR
    category = ErrorCategory.REQUEST


class SecurityViolationError(PythonError):
    """The code or the request asks for what its security level, or the worker's ceiling, does not allow."""

    kind = ErrorKind.SECURITY_VIOLATION
    category = ErrorCategory.REQUEST


class TimeoutExceededError(PythonError):
    """The requested time is over the worker's ceiling."""

    kind = ErrorKind.TIMEOUT_EXCEEDED
    category = ErrorCategory.REQUEST


class MemoryLimitExceededError(PythonError):
    """The requested memory is over the worker's ceiling."""

    kind = ErrorKind.MEMORY_LIMIT_EXCEEDED
    category = ErrorCategory.REQUEST


class PythonImportError(PythonError):
    """A module that the tool needs cannot be had in its environment."""

    kind = ErrorKind.IMPORT_ERROR
    category = ErrorCategory.REQUEST


class DatabaseError(PythonError):
    """The store cannot be reached, is locked, full, or has a schema that this version does not know."""

    kind = ErrorKind.DATABASE_ERROR
    retryable = True


class DatabaseUnavailableError(DatabaseError):
    """The store cannot be reached now: its server is away, starts, stops or is busy."""


class InternalError(PythonError):
    """A fault of our own."""

    retryable = True


class ConfigurationError(PythonError):
    """A setting is unknown or malformed; the message names the variable and the remedy."""

    kind = ErrorKind.ENVIRONMENT_ERROR
    category = ErrorCategory.REQUEST


class IsolationUnavailableError(PythonError):
    """This host cannot isolate a run as well as the worker's settings demand."""

    kind = ErrorKind.SECURITY_VIOLATION
    category = ErrorCategory.PLATFORM
