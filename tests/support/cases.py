"""The cases of `fixtures/`: what to run, and what must come of it.

Knows nothing of the package under test: a case gives a request as JSON and judges a result as JSON.
"""

import base64
import functools
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"

UNCHECKED: Any = object()
"""Stands for a result that may be anything; `None` is a result that must be null."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectedFile:
    """A file that the tool must leave in its output folder; `starts_with` is bytes, `sha256` hex."""

    name: str
    sha256: str | None = None
    starts_with: bytes = b""
    minimum_size: int = 0

    def problems(self, content: bytes) -> Iterable[str]:
        """What is wrong with the file that was left."""
        if not content.startswith(self.starts_with):
            yield f"{self.name} starts with {content[: len(self.starts_with)]!r}, not {self.starts_with!r}"
        if len(content) < self.minimum_size:
            yield f"{self.name} has {len(content)} bytes; at least {self.minimum_size} were expected"
        if self.sha256 is not None and (found := hashlib.sha256(content).hexdigest()) != self.sha256:
            yield f"{self.name} has the SHA-256 {found}, not {self.sha256}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What must come of a case; what is none is not checked.

    `statuses` are all that are right. `exceptions` are the names of the types, without modules, the raised one first.
    `files` are all that may be in the output folder. `line` is the line that the error names.
    """

    statuses: tuple[str, ...]
    result: Any = UNCHECKED
    stdout: str | None = None
    stdout_contains: str = ""
    files: tuple[ExpectedFile, ...] = ()
    return_code: int | None = None
    signal: int | None = None
    error_kind: str | None = None
    error_contains: str = ""
    line: int | None = None
    exceptions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One run of one tool; `function` none runs it as a script. `timeout` in seconds, `memory_limit` in MiB."""

    name: str
    tool: Path
    expected: Expected
    function: str | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    stdin: str | None = None
    files: Mapping[str, bytes] = field(default_factory=dict)
    level: str = "strict"
    timeout: float | None = None
    memory_limit: int | None = None

    @property
    def misbehaving(self) -> bool:
        """Whether it may only run in a sandbox."""
        return self.tool.parent.name == "misbehaving"

    @property
    def source(self) -> str:
        """The tool's code."""
        return self.tool.read_text(encoding="utf-8")

    def payload(self, **changes: Any) -> dict[str, Any]:
        """The request as a producer in any language would send it; `changes` replace or add fields."""
        payload = {
            "tool_id": self.tool.stem,
            "code": self.source,
            "module_name": self.tool.stem,
            "function_name": self.function,
            "parameters": dict(self.parameters),
            "stdin": self.stdin,
            "files": {name: base64.b64encode(content).decode("ascii") for name, content in self.files.items()},
            "security_level": self.level,
            "timeout": self.timeout,
            "memory_limit": self.memory_limit,
        }
        return {name: value for name, value in (payload | changes).items() if value is not None}

    def problems(self, result: Mapping[str, Any]) -> list[str]:
        """What is wrong with a result, as JSON; an empty list means that it is as expected."""
        found = [*_ending(self.expected, result), *_values(self.expected, result), *_error(self.expected, result)]
        error = result.get("error")
        return [f"{self.name}: {problem} (its error: {error})" for problem in found]


def _ending(expected: Expected, result: Mapping[str, Any]) -> Iterable[str]:
    if result["status"] not in expected.statuses:
        yield f"status is {result['status']}, not {' or '.join(expected.statuses)}; stderr: {result.get('stderr')!r}"
    for name, value in (("return_code", expected.return_code), ("signal", expected.signal)):
        if value is not None and result.get(name) != value:
            yield f"{name} is {result.get(name)}, not {value}"


def _values(expected: Expected, result: Mapping[str, Any]) -> Iterable[str]:
    if expected.result is not UNCHECKED and result.get("result") != expected.result:
        yield f"result is {result.get('result')!r}, not {expected.result!r}"
    stdout = result.get("stdout") or ""
    if expected.stdout is not None and stdout != expected.stdout:
        yield f"stdout is {stdout[:500]!r}, not {expected.stdout!r}"
    if expected.stdout_contains not in stdout:
        yield f"stdout {stdout[:500]!r} lacks {expected.stdout_contains!r}"
    files = {name: base64.b64decode(text) for name, text in (result.get("files") or {}).items()}
    names = {file.name for file in expected.files}
    if files.keys() != names:
        yield f"output files are {sorted(files)}, not {sorted(names)}"
    for file in expected.files:
        yield from file.problems(files.get(file.name, b""))


def _error(expected: Expected, result: Mapping[str, Any]) -> Iterable[str]:
    error = result.get("error") or {}
    if result["status"] == "succeeded" and error:
        yield "it succeeded with an error"
    if expected.error_kind is not None and error.get("kind") != expected.error_kind:
        yield f"error.kind is {error.get('kind')}, not {expected.error_kind}"
    if expected.error_contains not in error.get("message", ""):
        yield f"error.message lacks {expected.error_contains!r}"
    if expected.line is not None and error.get("line") != expected.line:
        yield f"error.line is {error.get('line')}, not {expected.line}"
    raised = tuple(info["type"].rpartition(".")[2] for info in result.get("exceptions") or ())
    if expected.exceptions and raised != expected.exceptions:
        yield f"exceptions are {raised}, not {expected.exceptions}"


@functools.cache
def load_cases() -> tuple[Case, ...]:
    """All cases, in the order of the file."""
    return tuple(_case(entry) for entry in json.loads((FIXTURES / "cases.json").read_text(encoding="utf-8")))


def find_case(name: str) -> Case:
    """One case by its name."""
    return next(case for case in load_cases() if case.name == name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Workflow:
    """`chain`: cases in order, each with the parameters that replace its own; `group`: cases side by side.

    A parameter `{"$previous": POINTER}` is what the JSON Pointer finds in the result of the step before.
    """

    chain: tuple[tuple[Case, Mapping[str, Any]], ...]
    group: tuple[Case, ...]


def load_workflow() -> Workflow:
    """The demonstration's workflow."""
    workflow = json.loads((FIXTURES / "workflow.json").read_text(encoding="utf-8"))
    chain = tuple(
        (find_case(step["case"]), step.get("parameters", find_case(step["case"]).parameters))
        for step in workflow["chain"]
    )
    return Workflow(chain=chain, group=tuple(find_case(name) for name in workflow["group"]))


def _case(entry: Mapping[str, Any]) -> Case:
    fields = dict(entry)
    samples = {name: (FIXTURES / path).read_bytes() for name, path in fields.pop("bytes", {}).items()}
    encoded = {name: base64.b64encode(content).decode("ascii") for name, content in samples.items()}
    stdin = fields.pop("stdin", None)
    return Case(
        tool=FIXTURES / fields.pop("tool"),
        expected=_expected(fields.pop("expect")),
        parameters=fields.pop("parameters", {}) | encoded,
        files={name: (FIXTURES / path).read_bytes() for name, path in fields.pop("files", {}).items()},
        stdin=(FIXTURES / stdin).read_text(encoding="utf-8") if stdin else None,
        **fields,
    )


def _expected(entry: Mapping[str, Any]) -> Expected:
    fields = dict(entry)
    return Expected(
        statuses=tuple(fields.pop("status")),
        exceptions=tuple(fields.pop("exceptions", ())),
        files=tuple(_file(file) for file in fields.pop("files", ())),
        **fields,
    )


def _file(entry: Mapping[str, Any]) -> ExpectedFile:
    # JSON has no bytes: each character of the text is one.
    return ExpectedFile(**{**entry, "starts_with": entry.get("starts_with", "").encode("latin-1")})
