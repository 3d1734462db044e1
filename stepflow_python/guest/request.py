"""What the host asks for, read from its descriptor.

Marshal is a builtin, so it costs no import, and what the host writes is trusted; nothing ever travels back this way.
"""

from __future__ import annotations

import marshal
import posix

TYPE_CHECKING = False  # `typing` would cost more than the rest of this module
if TYPE_CHECKING:
    from typing import Any, Dict, List, Optional, Tuple


class BadRequestError(Exception):
    """The request cannot be used; the message names the field."""


class ToolError(Exception):
    """The tool cannot be called as it was asked for; the message says why."""


class Limits:
    """Bounds of one run; none leaves a bound as it is."""

    __slots__ = (
        "cpu_s",
        "data_bytes",
        "file_bytes",
        "open_files",
        "output_files",
        "output_files_bytes",
        "processes",
        "result_bytes",
    )

    def __init__(self, fields: Fields) -> None:
        self.cpu_s: int = fields.take("cpu_s", int)
        self.open_files: int = fields.take("open_files", int)
        self.processes: Optional[int] = fields.take("processes", int, optional=True)
        self.file_bytes: int = fields.take("file_bytes", int)
        self.data_bytes: Optional[int] = fields.take("data_bytes", int, optional=True)
        self.result_bytes: int = fields.take("result_bytes", int)
        self.output_files: int = fields.take("output_files", int)
        self.output_files_bytes: int = fields.take("output_files_bytes", int)


class Confinement:
    """What the tool's process gives up before the first line that is not ours; by default nothing.

    `filters` are programs as seccomp(2) takes them; `landlock` is what `landlock.restrict` takes; with `alone` no pid
    namespace ends what the tool leaves behind, so the supervisor does; without `files` there is no work folder.
    """

    __slots__ = ("alone", "files", "filters", "landlock")

    def __init__(self, fields: Fields) -> None:
        self.filters: List[bytes] = fields.take("filters", list, optional=True) or []
        self.landlock: Optional[Dict[str, Any]] = fields.take("landlock", dict, optional=True)
        self.alone: bool = fields.take("alone", bool, optional=True) or False
        self.files: bool = fields.take("files", bool, optional=True) is not False

    @property
    def asked(self) -> bool:
        """Whether the kernel must be asked for anything."""
        return bool(self.filters) or self.landlock is not None


class Request:
    """One run. `function` none runs the source as `__main__`; `parameters` are (name, kind) in order.

    `code` is the source compiled by this interpreter, if the host has it; `compile_only` asks for it instead of a run.
    `lent` are names of modules of the host, which answers at the other end of the socket `line`; none without them.
    With `heard`, the host hears when the times of the report's file are set.
    """

    __slots__ = (
        "arguments",
        "code",
        "compile_only",
        "confinement",
        "env",
        "files",
        "function",
        "heard",
        "input_schema",
        "lent",
        "limits",
        "line",
        "module_name",
        "output_folder",
        "parameters",
        "prefix",
        "site_packages",
        "source",
        "stdin",
    )

    def __init__(self, payload: Any) -> None:
        fields = Fields(payload, "request")
        self.source: str = fields.take("source", str)
        self.code: Optional[bytes] = fields.take("code", bytes, optional=True)
        self.compile_only = bool(fields.take("compile_only", bool, optional=True))
        self.module_name: str = fields.take("module_name", str)
        self.function: Optional[str] = fields.take("function", str, optional=True)
        self.parameters: List[Tuple[str, str]] = [(name, kind) for name, kind in fields.take("parameters", list)]
        self.arguments: Dict[str, Any] = fields.take("arguments", dict)
        self.input_schema: Dict[str, Any] = fields.take("input_schema", dict)
        self.stdin: bytes = fields.take("stdin", bytes)
        self.files: Dict[str, bytes] = fields.take("files", dict)
        self.env: Dict[str, str] = fields.take("env", dict)
        self.site_packages: str = fields.take("site_packages", str)
        self.prefix: str = fields.take("prefix", str)
        self.output_folder: str = fields.take("output_folder", str)
        self.confinement = Confinement(Fields(fields.take("confinement", dict, optional=True) or {}, "confinement"))
        self.lent: Optional[List[str]] = fields.take("lent", list, optional=True)
        self.line: Optional[int] = fields.take("line", int, optional=True)
        self.heard = bool(fields.take("heard", bool, optional=True))
        self.limits = Limits(Fields(fields.take("limits", dict), "limits"))


class Fields:
    """A mapping whose fields are taken by name and type."""

    __slots__ = ("_place", "_values")

    def __init__(self, values: Any, place: str) -> None:
        if not isinstance(values, dict):
            raise BadRequestError(f"{place} is a {type(values).__name__}, not a dict")
        self._values = values
        self._place = place

    def take(self, name: str, kind: type, *, optional: bool = False) -> Any:
        """The field of this name.

        Raises:
            BadRequestError: it is missing, or of another type.
        """
        value = self._values.get(name)
        if isinstance(value, kind) or (optional and value is None):
            return value
        found = type(value).__name__ if name in self._values else "missing"
        raise BadRequestError(f"{self._place}.{name} must be {kind.__name__}, is {found}")


def read_request(descriptor: int) -> Request:
    """Read the host's file from its beginning.

    Raises:
        BadRequestError: it is not what was agreed.
    """
    size = posix.fstat(descriptor).st_size
    chunks: List[bytes] = []
    taken = 0
    while taken < size:
        chunk = posix.pread(descriptor, size - taken, taken)
        if not chunk:
            break
        chunks.append(chunk)
        taken += len(chunk)
    return parse_request(b"".join(chunks))


def parse_request(payload: bytes) -> Request:
    """The request of a payload.

    Raises:
        BadRequestError: it is not what was agreed.
    """
    try:
        return Request(marshal.loads(payload))  # noqa: S302 - only the trusted host can have written it
    except (EOFError, ValueError, TypeError) as error:
        raise BadRequestError(f"the request cannot be read: {error}") from error
