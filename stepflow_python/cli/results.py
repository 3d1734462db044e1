"""What `run` and `submit --wait` print of a result, and the code they end with."""

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from stepflow_python.cli.exits import code_of_result
from stepflow_python.cli.render import as_json, complain, emit_json, mebibytes, note, worded, write
from stepflow_python.errors import ErrorCategory, ExecutionError, InternalError, PythonError
from stepflow_python.model.result import ErrorInfo, ExecutionResult, Status


@dataclass(frozen=True, slots=True, kw_only=True)
class Manner:
    """How a result is told. `called`: a function was, whose result is printed; `output` takes the tool's files."""

    json: bool
    verbose: bool = False
    called: bool = False
    output: Path | None = None


def refusal(error: PythonError | ErrorInfo, execution_id: str, *, status: Status | None = None) -> ExecutionResult:
    """The result of a request that came to nothing before it was on record."""
    info = ErrorInfo.of(error) if isinstance(error, PythonError) else error
    refused = Status.REJECTED if info.category is ErrorCategory.REQUEST else Status.FAILED
    return ExecutionResult(execution_id=execution_id, status=status or refused, error=info)


def tell(result: ExecutionResult, manner: Manner) -> int:
    """Print a result and keep its files.

    Returns:
        The exit code.

    Raises:
        InternalError: the files cannot be written.
    """
    if manner.json:
        emit_json(as_json(result))
    else:
        _pass_through(result, manner)
        _tell_end(result, manner)
    if manner.output is not None:
        keep_files(result.files, manner.output)
    return code_of_result(result)


def prepare_output(folder: Path | None) -> None:
    """Make the folder for a tool's files before the tool runs.

    Raises:
        ExecutionError: it cannot be made.
    """
    if folder is None:
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ExecutionError(f"--output {folder}: {error.strerror or error}; give a folder to write to") from error


def keep_files(files: Mapping[str, bytes], folder: Path) -> None:
    """Write the files that a tool left; their names are the tool's, so none may lead out of the folder.

    Raises:
        InternalError: one cannot be written.
    """
    for name, content in files.items():
        inside = PurePosixPath(name)
        if inside.is_absolute() or ".." in inside.parts:
            raise InternalError(f"--output: the file name {name!r} leads out of {folder}; it was not written")
        path = folder / inside
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        except (OSError, ValueError) as error:
            raise InternalError(f"--output: {path} cannot be written: {error}") from error


def _pass_through(result: ExecutionResult, manner: Manner) -> None:
    write(result.stdout)
    write(result.stderr, err=True)
    if result.stderr and not result.stderr.endswith("\n"):
        write("\n", err=True)
    if manner.called and result.status is Status.SUCCEEDED:
        if result.stdout and not result.stdout.endswith("\n"):
            write("\n")
        emit_json(result.result)


def _tell_end(result: ExecutionResult, manner: Manner) -> None:
    if result.status is not Status.SUCCEEDED:
        _tell_failure(result)
    if not (manner.verbose or sys.stderr.isatty()):
        return
    if result.files and manner.output is None:
        note(f"it left {len(result.files)} file(s); --output DIR keeps them: {json.dumps(list(result.files))}")
    note(summary(result))


def _tell_failure(result: ExecutionResult) -> None:
    error = result.error
    if error is None:
        note(str(result.status))
    elif result.attempt == 0 or result.status is Status.REJECTED or error.category is ErrorCategory.PLATFORM:
        complain(error)
    else:
        line = _last_line(result) if error.line is None else error.line
        note(f"{result.status}: {worded(error.model_copy(update={'line': line}))}")


def _last_line(result: ExecutionResult) -> int | None:
    """The tool's own line that raised."""
    frames = result.exceptions[0].frames if result.exceptions else ()
    return frames[-1].line if frames else None


def summary(result: ExecutionResult) -> str:
    """Status, time, memory, isolation and id, in one line."""
    parts = [f"{result.status} in {result.execution_time_ms:,.1f} ms"]
    if result.memory_usage_kb is not None:
        parts.append(mebibytes(result.memory_usage_kb))
    if result.isolation is not None:
        held = f" (memory: {result.memory_enforcement})" if result.memory_enforcement is not None else ""
        parts.append(f"isolation {result.isolation}{held}")
    return ", ".join([*parts, f"id {result.execution_id}"])
