"""How parsing and running are set up, as the public interfaces name it."""

from pathlib import Path

from pydantic import Field

from stepflow_python.model.values import Value


class ParserConfig(Value):
    """How sources are read; `max_code_size` in bytes of UTF-8. An empty `allowed_imports` allows all."""

    enable_ast_parsing: bool = True
    enable_dependency_analysis: bool = True
    max_code_size: int = Field(default=1_048_576, ge=1)
    allowed_imports: tuple[str, ...] = ()
    blocked_imports: tuple[str, ...] = ("subprocess", "ctypes")


class ExecutorConfig(Value):
    """How tools are run; times in seconds, memory in MiB."""

    default_timeout: float = Field(default=30.0, gt=0)
    default_memory_limit: int = Field(default=512, ge=16)
    enable_sandboxing: bool = True
    enable_resource_monitoring: bool = True
    python_interpreter_path: Path | None = None
    max_execution_time: float = Field(default=3600.0, gt=0)
