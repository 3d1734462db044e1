"""Settings: read once from the environment at the edge, frozen from then on.

`os.environ` is read nowhere else. Every variable carries the prefix `STEPFLOW_PYTHON_`; one with the prefix that is
not known here is an error at start that names the nearest right one.
"""

import contextlib
import difflib
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import unquote, urlsplit

from pydantic import BeforeValidator, Field, ValidationError
from pydantic.fields import FieldInfo

from stepflow_python.errors import ConfigurationError
from stepflow_python.logs import Format
from stepflow_python.model.configs import ExecutorConfig, ParserConfig
from stepflow_python.model.security import IsolationTier, SecurityLevel
from stepflow_python.model.values import Value

PREFIX = "STEPFLOW_PYTHON_"
EMBEDDED = "embedded"


def _comma_list(value: Any) -> Any:  # noqa: ANN401 - a validator receives whatever it is given
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


def _requirement_list(value: Any) -> Any:  # noqa: ANN401 - a validator receives whatever it is given
    """A comma also parts the bounds of `name>=1,<2` and the extras of `name[a,b]`: those do not end a requirement."""
    parts = re.split(r",(?=\s*(?:[A-Za-z0-9]|$))(?![^\[]*\])", value) if isinstance(value, str) else value
    return tuple(part.strip() for part in parts if part.strip()) if isinstance(value, str) else value


def _path_list(value: Any) -> Any:  # noqa: ANN401 - a validator receives whatever it is given
    return tuple(part for part in value.split(os.pathsep) if part) if isinstance(value, str) else value


def _pair_list(value: Any) -> Any:  # noqa: ANN401 - a validator receives whatever it is given
    if not isinstance(value, str):
        return value
    pairs = [part.split("=") for part in value.split(",") if part.strip()]
    if any(len(pair) != 2 or not all(map(str.strip, pair)) for pair in pairs):  # noqa: PLR2004 - a pair
        raise ValueError("expected NAME=VALUE, separated by commas")
    return {name.strip(): text.strip() for name, text in pairs}


def _upper(value: Any) -> Any:  # noqa: ANN401 - a validator receives whatever it is given
    return value.upper() if isinstance(value, str) else value


RequirementList = Annotated[tuple[str, ...], BeforeValidator(_requirement_list)]
PairList = Annotated[dict[str, str], BeforeValidator(_pair_list)]
CommaList = Annotated[tuple[str, ...], BeforeValidator(_comma_list)]
PathList = Annotated[tuple[Path, ...], BeforeValidator(_path_list)]
LogLevel = Annotated[Literal["DEBUG", "INFO", "WARNING", "ERROR"], BeforeValidator(_upper)]


def _setting(default: Any, description: str, *, unit: str = "", secret: bool = False, **bounds: Any) -> Any:  # noqa: ANN401 - typed by its field
    return Field(default=default, description=description, json_schema_extra={"unit": unit, "secret": secret}, **bounds)


class Settings(Value):
    """Every setting of a process, by its variable's name in lower case."""

    home: Path = _setting(Path(), "Folder of databases and environments (default: the user's data folder)")
    enable_ast_parsing: bool = _setting(True, "Parse tools before they run; off, arguments are not checked")
    custom_parser: str = _setting("", "Parser of another package, by its entry point's name; empty: ours")
    custom_executor: str = _setting("", "Executor of another package, which then runs tools in place of the sandbox")
    enable_dependency_analysis: bool = _setting(True, "Read what a tool needs from its source")
    max_code_size: int = _setting(1_048_576, "Largest source", unit="bytes", ge=1)
    allowed_imports: CommaList = _setting((), "Modules that tools may import; empty: all")
    blocked_imports: CommaList = _setting(
        ("subprocess", "ctypes"), "Modules that tools may not import below `standard`"
    )
    default_timeout: float = _setting(30.0, "Time limit of a run that asks for none", unit="s", gt=0)
    default_memory_limit: int = _setting(512, "Memory limit of a run that asks for none", unit="MiB", ge=16)
    max_execution_time: float = _setting(3600.0, "Highest time limit that a request may ask for", unit="s", gt=0)
    max_memory_limit: int = _setting(16_384, "Highest memory limit that a request may ask for", unit="MiB", ge=16)
    enable_sandboxing: bool = _setting(True, "Isolate runs; off, the tier is `process` and the record says so")
    enable_resource_monitoring: bool = _setting(True, "Measure memory and CPU time of runs")
    min_isolation: IsolationTier = _setting(
        IsolationTier.NAMESPACES, "Weakest isolation that this worker accepts: process, landlock, namespaces"
    )
    max_security_level: SecurityLevel = _setting(
        SecurityLevel.PERMISSIVE, "Highest level that a request may ask for: strict, standard, permissive"
    )
    max_processes: int = _setting(64, "Processes and threads of one run", ge=4)
    max_output_bytes: int = _setting(
        1_048_576, "Kept of each of stdout and stderr; more ends the run", unit="bytes", ge=1
    )
    max_result_bytes: int = _setting(4_194_304, "Largest result, as JSON", unit="bytes", ge=1)
    max_work_bytes: int = _setting(
        268_435_456, "Size of a run's work folder, and of its largest file", unit="bytes", ge=4096
    )
    max_output_files: int = _setting(64, "Files that a run may leave in its output folder", ge=0)
    max_output_files_bytes: int = _setting(16_777_216, "Size of those files together", unit="bytes", ge=0)
    sandbox_uid: int = _setting(65534, "User that a box runs as when the worker is root", unit="uid", ge=1)
    cgroup: str = _setting("", "Control group below which runs get theirs (default: this process's own)")
    script_root: PathList = _setting((), "Folders from which a job's `script_path` may be read; empty: none")
    interpreter_path: Path | None = _setting(None, "Python that tools run on (default: by version)")
    version: str | None = _setting(None, "Python version of a tool that asks for none, such as 3.12")
    base_packages: RequirementList = _setting((), "Requirements in every environment")
    allow_addresses: bool = _setting(False, "Requirements may name packages by address, also on this host")
    allow_source_builds: bool = _setting(False, "Build packages that have no wheel, in the sandbox")
    conda_channels: CommaList = _setting((), "Channels that `conda:name` is taken from, by name or address")
    virtual_env_path: Path | None = _setting(None, "Folder of environments (default: below HOME)")
    auto_cleanup: bool = _setting(True, "Remove the least recently used environments over the maximum")
    max_environments: int = _setting(100, "Environments kept", ge=1)
    max_environments_bytes: int = _setting(
        0, "Disk that environments may take together; 0: no limit", unit="bytes", ge=0
    )
    extensions: CommaList = _setting((), "Extensions that may be lent to tools; empty: all that are installed")
    extension_config: Path | None = _setting(
        None, "TOML file with a section for each extension (default: extensions.toml below HOME, if there)"
    )
    max_extension_calls: int = _setting(10_000, "Calls of extensions in one run", ge=0)
    max_extension_bytes: int = _setting(
        67_108_864, "What those calls may move, there and back together", unit="bytes", ge=0
    )
    database_url: str = _setting("", "SQLAlchemy URL of the record (default: SQLite below HOME)", secret=True)
    broker_url: str = _setting(EMBEDDED, "Celery broker URL; `embedded` is SQLite below HOME", secret=True)
    result_backend: str = _setting("", "Celery result backend URL, for `.get()` and chords; empty: none", secret=True)
    queue: str = _setting("stepflow", "Default queue")
    queue_by_python: PairList = _setting(
        {}, "Queues of Python versions, such as `3.12=py312`; requests that name no queue go there"
    )
    concurrency: int = _setting(8, "Executions at a time in one worker", ge=1, le=1024)
    max_queued: int = _setting(0, "Executions that may wait; further ones are refused; 0: no limit", ge=0)
    max_per_tool: int = _setting(0, "Executions of one tool at a time, over all workers; 0: no limit", ge=0)
    start_rate: str = _setting(
        "",
        "Most starts of one worker, such as `10/s`, `300/m`, `5000/h`; empty: no limit",
        pattern=r"^([1-9]\d*/[smh])?$",
    )
    stop_timeout: float = _setting(
        20.0, "At SIGTERM, how long running tools may go on before they are handed back", unit="s", ge=0
    )
    warm: bool = _setting(True, "Workers keep processes waiting for tools that are called again")
    warm_memory: int = _setting(1024, "Memory of all that waits; the longest unused goes first", unit="MiB", ge=16)
    warm_idle: float = _setting(300.0, "What waits for tools that nobody called for so long is ended", unit="s", gt=0)
    lease: float = _setting(30.0, "A worker silent for so long loses its executions to the next one", unit="s", ge=1)
    metrics_tools: int = _setting(50, "Tools with time series of their own at /metrics; further ones are `other`", ge=0)
    log_format: Format = _setting("text", "How it is logged: `text` for people, `json` for programs, an object a line")
    log_level: LogLevel = _setting("WARNING", "Least level that is logged: DEBUG, INFO, WARNING, ERROR")

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> Self:
        """Settings from variables.

        Raises:
            ConfigurationError: a variable with our prefix is unknown or malformed.
        """
        values: dict[str, object] = {}
        for variable, text in environ.items():
            if variable.startswith(PREFIX):
                values[_field_of(variable)] = text.strip()
        values = {name: text for name, text in values.items() if text != "" or not cls._has_default_when_empty(name)}
        try:
            settings = cls.model_validate({"home": default_home(environ)} | values)
        except ValidationError as error:
            first = error.errors()[0]
            variable = PREFIX + str(first["loc"][0]).upper()
            raise ConfigurationError(f"{variable}={first['input']!r}: {first['msg']}") from error
        return settings.model_copy(update={"home": settings.home.expanduser().absolute()})

    @classmethod
    def _has_default_when_empty(cls, name: str) -> bool:
        """An empty variable means the default, but for lists, where it means the empty list."""
        return cls.model_fields[name].annotation not in {tuple[str, ...], tuple[Path, ...]}

    @property
    def environments_path(self) -> Path:
        """The folder of environments."""
        return self.virtual_env_path or self.home / "environments"

    @property
    def extension_file(self) -> Path:
        """The file that configures extensions; it need not be there unless it was named."""
        return self.extension_config or self.home / "extensions.toml"

    @property
    def database(self) -> str:
        """The SQLAlchemy URL of the record, without a driver."""
        return self.database_url or f"sqlite:///{self.home / 'stepflow.db'}"

    @property
    def broker_path(self) -> Path:
        """The file of the embedded broker. Not the record's file: their writers must not wait for each other."""
        return self.home / "broker.db"

    @property
    def passwords(self) -> frozenset[str]:
        """Those in addresses of the record, the broker and the result backend; as they are, and as they are written."""
        written: set[str] = set()
        for url in (self.database_url, self.broker_url, self.result_backend):
            with contextlib.suppress(ValueError):  # it is refused where it is used
                written.add(urlsplit(url).password or "")
        return frozenset(filter(None, written | set(map(unquote, written))))

    @property
    def embedded_broker(self) -> bool:
        """Whether jobs travel through a file on this host."""
        return self.broker_url == EMBEDDED

    @property
    def parser(self) -> ParserConfig:
        """How sources are read."""
        return ParserConfig(**{name: getattr(self, name) for name in ParserConfig.model_fields})

    @property
    def executor(self) -> ExecutorConfig:
        """How tools are run."""
        shared = {name: getattr(self, name) for name in ExecutorConfig.model_fields if name in Settings.model_fields}
        return ExecutorConfig(python_interpreter_path=self.interpreter_path, **shared)

    @classmethod
    def described(cls) -> dict[str, FieldInfo]:
        """Each variable's full name with its description, default and unit."""
        return {PREFIX + name.upper(): field for name, field in cls.model_fields.items()}


def environ() -> Mapping[str, str]:
    """The variables of this process, as they are now: whoever needs them at the edge asks here."""
    return dict(os.environ)


def default_home(environ: Mapping[str, str]) -> Path:
    """The data folder of the user, by the XDG base directory specification."""
    base = environ.get("XDG_DATA_HOME") or str(Path(environ.get("HOME", "~")).expanduser() / ".local" / "share")
    return Path(base) / "stepflow-python"


def _field_of(variable: str) -> str:
    name = variable.removeprefix(PREFIX).lower()
    if name in Settings.model_fields:
        return name
    known = [PREFIX + field.upper() for field in Settings.model_fields]
    near = difflib.get_close_matches(variable, known, n=1, cutoff=0.0)
    raise ConfigurationError(f"{variable} is not a setting; did you mean {near[0]}? `stepflow doctor` lists them all")
