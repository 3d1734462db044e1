"""What a caller asks for: one execution."""

import keyword
import uuid
from pathlib import PurePosixPath
from typing import Annotated, Self

from pydantic import AfterValidator, Field, JsonValue, model_validator

from stepflow_python.model.security import SecurityLevel
from stepflow_python.model.values import Base64, Identifier, Value

MAX_FILE_NAME = 255


def _identifier(name: str) -> str:
    if not name.isidentifier() or keyword.iskeyword(name):
        raise ValueError(f"{name!r} is not a Python identifier")
    return name


def _relative_file(name: str) -> str:
    path = PurePosixPath(name)
    if not name or len(name) > MAX_FILE_NAME or "\0" in name or path.is_absolute() or ".." in path.parts:
        raise ValueError(f"{name!r} is not a relative file name inside the work folder")
    return str(path)


def _variable(name: str) -> str:
    if not name or "=" in name or "\0" in name:
        raise ValueError(f"{name!r} is not a name for an environment variable")
    return name


def _no_nul(text: str) -> str:
    if "\0" in text:
        raise ValueError("holds a NUL byte")
    return text


FunctionName = Annotated[str, AfterValidator(_identifier)]
FileName = Annotated[str, AfterValidator(_relative_file)]
VariableName = Annotated[str, AfterValidator(_variable)]
VariableText = Annotated[str, AfterValidator(_no_nul)]


def new_execution_id() -> str:
    """A random id for a caller who chose none."""
    return uuid.uuid4().hex


class ExecutionRequest(Value):
    """One job: the code, what to call in it, with what, and within which limits.

    Exactly one of `code` and `script_path` names the source (a `tool_id` alone takes the recorded source of that
    tool). With a `lock` (lines `name==version --hash=sha256:...`) the environment holds exactly that, whatever is
    declared. `function_name` none runs it as a script, where `parameters` reach it as JSON in `STEPFLOW_PARAMETERS`.
    `queue` names whose workers it is for, such as those of hosts with more memory; none takes the default.
    `reuse_for` says that the tool is pure: a result of the same source, arguments, files, variables and environment,
    not older than so many seconds, may be given instead of running it.
    `timeout` in seconds and `memory_limit` in MiB; none takes the worker's default.
    """

    execution_id: Identifier = Field(default_factory=new_execution_id)
    tool_id: Identifier | None = None
    code: str | None = Field(default=None, repr=False)
    script_path: str | None = None
    module_name: FunctionName | None = None
    function_name: FunctionName | None = None
    parameters: dict[str, JsonValue] = Field(default_factory=dict)
    stdin: str | None = Field(default=None, repr=False)
    files: dict[FileName, Base64] = Field(default_factory=dict, repr=False)
    env: dict[VariableName, VariableText] = Field(default_factory=dict, repr=False)
    environment_id: str | None = None
    dependencies: tuple[str, ...] = ()
    lock: tuple[str, ...] | None = Field(default=None, repr=False)
    python_version: str | None = None
    timeout: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    memory_limit: int | None = Field(default=None, ge=16)
    security_level: SecurityLevel = SecurityLevel.STRICT
    extensions: tuple[str, ...] = ()
    workflow_id: str | None = Field(default=None, max_length=256)
    step_id: str | None = Field(default=None, max_length=256)
    priority: int = Field(default=0, ge=0, le=9)
    queue: Identifier | None = None
    reuse_for: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    max_attempts: int = Field(default=3, ge=1, le=100)

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if self.code is not None and self.script_path is not None:
            raise ValueError("code and script_path are both given; give one")
        if self.code is None and self.script_path is None and self.tool_id is None:
            raise ValueError("no source: give code, script_path, or the tool_id of a recorded tool")
        return self


class PythonRequest(ExecutionRequest):
    """Code, run as a script."""

    code: str = Field(repr=False)


class FunctionRequest(ExecutionRequest):
    """One function of the code, called with `parameters`."""

    function_name: FunctionName


class ScriptRequest(ExecutionRequest):
    """A script file, read by the caller."""

    script_path: str
