"""Run one tool in this process, from its source to its report; how the process came to be is others' concern."""

from __future__ import annotations

import marshal
import sys

from .calling import call_function
from .plain import NotJSONError
from .request import ToolError
from .writer import TooLargeError, failure, to_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import CodeType, ModuleType
    from typing import Any, Callable

    from .request import Request

REPORT_ROOM_BYTES = 48 * 1024
"""What exceptions may take beyond the limit of results; the supervisor's own slack is larger."""


def run_tool(request: Request, source: str, *, deliver: Callable[[str], None]) -> int:
    """Run it, deliver the report, and give the exit code that Python would.

    Whatever the tool raises is caught here: this is where it becomes a record.

    Args:
        request: the run.
        source: path of the source, for tracebacks.
        deliver: takes the report as JSON text.
    """
    try:
        value = _call(request, source)
    except SystemExit as error:
        return _report_exit(error, request, deliver)
    except BaseException as error:  # noqa: BLE001 - the recording boundary: a tool's failure is a result
        _deliver_failure(error, request, deliver)
        return 1
    return _deliver_value(value, request, deliver)


def _call(request: Request, source: str) -> Any:
    """Execute the source; in function mode call the function."""
    if request.compile_only:
        return _base64(marshal.dumps(_compiled(request, source)))
    name = request.module_name if request.function is not None else "__main__"
    module = _new_module(name, source)
    exec(_compiled(request, source), module.__dict__)  # noqa: S102 - this is what a box is for
    if request.function is None:
        return None
    return call_function(request, module.__dict__)


def _compiled(request: Request, source: str) -> CodeType:
    if request.code is not None:
        code: CodeType = marshal.loads(request.code)  # noqa: S302 - only the trusted host can have written it
        return code
    return compile(request.source, source, "exec", dont_inherit=True)


def _base64(data: bytes) -> str:
    from binascii import b2a_base64

    return b2a_base64(data, newline=False).decode("ascii")


def _new_module(name: str, source: str) -> ModuleType:
    module = type(sys)(name)
    module.__file__ = source
    sys.modules[name] = module
    return module


def _deliver_value(value: Any, request: Request, deliver: Callable[[str], None]) -> int:
    limit = request.limits.result_bytes
    try:
        text = to_json(value, limit=limit)
    except TooLargeError:
        message = (
            f"the result is larger than {limit} bytes of JSON; return less, or write it to {request.output_folder}"
        )
        deliver(failure("execution_error", message, too_large=True))
        return 1
    except NotJSONError as error:
        exceptions = [] if error.__cause__ is None else _described(error.__cause__, request)
        deliver(failure("execution_error", error.describe("result"), exceptions=exceptions))
        return 1
    except BaseException as error:  # noqa: BLE001 - converting runs the tool's own properties and serializers
        _deliver_failure(error, request, deliver)
        return 1
    deliver('{"ok":true,"value":' + text + "}")
    return 0


def _deliver_failure(error: BaseException, request: Request, deliver: Callable[[str], None]) -> None:
    """Print and report what the tool raised; short of memory or descriptors, at least its name."""
    try:
        from . import exceptions

        kind = "import_error" if isinstance(error, ImportError) else "execution_error"
        if not isinstance(error, ToolError):
            exceptions.print_exception(error)
            deliver(failure(kind, exceptions.summary(error), exceptions=_described(error, request)))
        else:
            described = [] if error.__cause__ is None else _described(error.__cause__, request)
            deliver(failure(kind, str(error), exceptions=described))
            _say(error)
    except BaseException:  # noqa: BLE001 - the last line of the record: a tool may have left no memory, no modules
        name = type(error).__name__
        deliver(failure("execution_error", name, exceptions=[{"type": name, "message": "", "frames": []}]))


def _described(error: BaseException, request: Request) -> Any:
    from .exceptions import report

    return report(error, most_bytes=request.limits.result_bytes + REPORT_ROOM_BYTES)


def _report_exit(error: SystemExit, request: Request, deliver: Callable[[str], None]) -> int:
    """`sys.exit` by Python's rules: none is 0, a number itself, all else is printed and 1."""
    code = error.code
    if code is None:
        status = 0
    elif isinstance(code, int):
        status = int(code) & 0xFF if -(2**63) <= code < 2**63 else 0xFF
    else:
        status = 1
        _say(code)
    if status == 0:
        deliver('{"ok":true,"value":null}')
    else:
        where = "the script" if request.function is None else f"{request.function}()"
        deliver(failure("execution_error", f"{where} ended itself with exit code {status}"))
    return status


def _say(what: object) -> None:
    """A line on stderr, if the tool has left one."""
    try:
        sys.stderr.write(f"{what!s}\n")
    except Exception:  # noqa: BLE001 - its __str__, or a stream that is closed or none, is the tool's
        return
