"""Where every error of a command ends: one line on stderr, one JSON value on stdout where that was asked for."""

import sys
from collections.abc import Sequence
from types import TracebackType
from typing import Self

import click
from pydantic import JsonValue

from stepflow_python.cli.exits import INTERRUPTED, UNUSABLE, code_of_error
from stepflow_python.cli.render import as_json, complain, emit_json, note
from stepflow_python.cli.results import refusal
from stepflow_python.cli.session import trace
from stepflow_python.errors import ErrorCategory, ErrorKind, InternalError, PythonError
from stepflow_python.model.request import new_execution_id
from stepflow_python.model.result import ErrorInfo, Status

RUNNING_COMMANDS = frozenset({"run", "submit"})
"""Those whose JSON is an `ExecutionResult`, also when nothing ran."""


class Boundary:
    """Turns what a command raises into its exit code.

    Args:
        words: the command line from the command's name on.
    """

    def __init__(self, words: Sequence[str]) -> None:
        self._command = words[0] if words else ""
        options = words[: words.index("--")] if "--" in words else words
        self._json = "--json" in options

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        match error:
            case PythonError():
                trace()
                self._end(ErrorInfo.of(error))
            case click.UsageError():
                self._refuse_usage(error)
            case KeyboardInterrupt() | click.Abort():
                self._interrupt()
            case BrokenPipeError() | click.exceptions.Exit() | click.ClickException():
                return  # click's own: who reads us is gone, or the exit code is decided
            case Exception():
                trace()
                self._end(ErrorInfo.of(InternalError(f"a fault of ours: {type(error).__name__}: {error}")))

    def _end(self, error: ErrorInfo) -> None:
        if self._json:
            emit_json(self._value(error))
        complain(error)
        sys.exit(code_of_error(error))

    def _refuse_usage(self, error: click.UsageError) -> None:
        if self._json:
            emit_json(self._value(ErrorInfo(kind=ErrorKind.PARSE_ERROR, message=error.format_message())))
        error.show(file=sys.stderr)
        sys.exit(UNUSABLE)

    def _interrupt(self) -> None:
        if self._json:
            info = ErrorInfo(
                kind=ErrorKind.EXECUTION_ERROR, message="stopped on request", category=ErrorCategory.REQUEST
            )
            emit_json(self._value(info, status=Status.CANCELLED))
        note("stopped on request")
        sys.exit(INTERRUPTED)

    def _value(self, error: ErrorInfo, *, status: Status | None = None) -> JsonValue:
        if self._command in RUNNING_COMMANDS:
            return as_json(refusal(error, new_execution_id(), status=status))
        return {"error": as_json(error)}
