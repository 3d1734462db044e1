"""The options that `run` and `submit` share, and the request that they make."""

import functools
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import click

from stepflow_python.cli.arguments import arguments_of
from stepflow_python.cli.session import Session, trace
from stepflow_python.config import Settings
from stepflow_python.errors import ParseError, PythonError
from stepflow_python.jobs.payload import request_from_payload, usable_id
from stepflow_python.jobs.sources import DEFAULT_NAME, module_name_of
from stepflow_python.model.module import PythonFunction
from stepflow_python.model.request import ExecutionRequest
from stepflow_python.model.security import SecurityLevel
from stepflow_python.parsing.arguments import find_function
from stepflow_python.parsing.parser import parse_module, read_source
from stepflow_python.parsing.source import decode_source

STDIN = "-"


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestOptions:
    """What the command line says of a request, field by option; `env` of none takes the caller's own variable."""

    source: str
    function: str | None
    arg: tuple[tuple[str, str], ...]
    args_json: str | None
    timeout: float | None
    memory: int | None
    level: str
    requirements: tuple[str, ...]
    env: tuple[tuple[str, str | None], ...]
    file: tuple[tuple[str, str], ...]
    stdin: str | None
    extension: tuple[str, ...]
    python: str | None
    reuse_for: float | None
    execution_id: str | None


def _pair(_context: click.Context, option: click.Parameter, values: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    pairs = []
    for value in values:
        name, equals, text = value.partition("=")
        if not equals or not name:
            raise click.BadParameter(f"{value!r} is not {option.metavar}")
        pairs.append((name, text))
    _each_once(pairs)
    return tuple(pairs)


def _variable(
    _context: click.Context, option: click.Parameter, values: tuple[str, ...]
) -> tuple[tuple[str, str | None], ...]:
    pairs = [(name, text if equals else None) for name, equals, text in (value.partition("=") for value in values)]
    if any(not name for name, _ in pairs):
        raise click.BadParameter(f"a name is missing; give {option.metavar}")
    _each_once(pairs)
    return tuple(pairs)


def _each_once(pairs: Sequence[tuple[str, str | None]]) -> None:
    names = [name for name, _ in pairs]
    for name in names:
        if names.count(name) > 1:
            raise click.BadParameter(f"{name!r} is given twice")


env_option = click.option(
    "--env", multiple=True, metavar="K[=V]", callback=_variable, help="A variable; without a value, your own."
)
file_option = click.option(
    "--file", multiple=True, metavar="NAME=PATH", callback=_pair, help="A file to lay into the tool's work folder."
)

OPTIONS = (
    click.argument("source", metavar="FILE"),
    click.option("--function", metavar="F", help="Call this function; without, FILE runs as a script."),
    click.option("--arg", multiple=True, metavar="K=V", callback=_pair, help="An argument: JSON or text, by its type."),
    click.option("--args-json", metavar="JSON", help="Arguments as one JSON object."),
    click.option("--timeout", type=float, metavar="S", help="Time limit in seconds."),
    click.option("--memory", type=int, metavar="MIB", help="Memory limit in MiB."),
    click.option(
        "--level",
        type=click.Choice([level.value for level in SecurityLevel]),
        default=SecurityLevel.STRICT.value,
        show_default=True,
        help="Security level.",
    ),
    click.option("--with", "requirements", multiple=True, metavar="REQ", help="A requirement, such as 'requests>=2'."),
    env_option,
    file_option,
    click.option("--stdin", metavar="PATH", help="The tool's standard input; `-` is this command's own."),
    click.option("--extension", multiple=True, metavar="NAME", help="An extension to lend to the tool."),
    click.option("--python", metavar="V", help="Python version, such as 3.12."),
    click.option("--reuse-for", type=float, metavar="S", help="The tool is pure: a result of that age will do."),
    click.option("--id", "execution_id", metavar="ID", help="The execution's id; one that has ended is not run again."),
)


def request_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of a request, handed over as one `RequestOptions`."""
    names = [field.name for field in fields(RequestOptions)]

    @functools.wraps(command)
    def gathered(**values: Any) -> None:  # noqa: ANN401 - click hands over each option by its name
        options = RequestOptions(**{name: values.pop(name) for name in names})
        command(options, **values)

    for option in reversed(OPTIONS):
        gathered = option(gathered)
    return gathered


@dataclass(frozen=True, slots=True, kw_only=True)
class Unusable:
    """A command line that makes no request, to be recorded as refused under its id; none where that is no id."""

    execution_id: str | None
    error: PythonError


def request_or_error(options: RequestOptions, session: Session, *, execution_id: str) -> ExecutionRequest | Unusable:
    """The request of a command line, or why it is unusable; see `request_of`."""
    try:
        return request_of(options, session, execution_id=execution_id)
    except PythonError as error:
        trace()
        return Unusable(execution_id=usable_id(execution_id), error=error)


def request_of(options: RequestOptions, session: Session, *, execution_id: str) -> ExecutionRequest:
    """The request of a command line.

    Raises:
        ParseError: a file cannot be read or decoded, or a value does not fit the request; it is named.
        click.BadParameter: arguments that are malformed in themselves.
    """
    settings = session.settings
    if options.source == STDIN and options.stdin == STDIN:
        raise click.BadParameter("FILE is standard input already; give a path", param_hint="--stdin")
    name, code = read_tool(options.source, max_code_size=settings.max_code_size)
    values = {
        "execution_id": execution_id,
        "code": code,
        "module_name": name,
        "function_name": options.function,
        "parameters": arguments_of(options.arg, options.args_json, _function(options, name, code, settings)),
        "stdin": _stdin(options.stdin, limit=settings.max_work_bytes),
        "files": files_of(options.file, limit=settings.max_work_bytes),
        "env": environment_of(options.env, session.environ),
        "dependencies": options.requirements,
        "python_version": options.python,
        "reuse_for": options.reuse_for,
        "timeout": options.timeout,
        "memory_limit": options.memory,
        "security_level": options.level,
        "extensions": options.extension,
    }
    return request_from_payload({name: value for name, value in values.items() if value is not None})


def read_tool(source: str, *, max_code_size: int) -> tuple[str, str]:
    """A tool's module name and code; `-` reads standard input.

    Raises:
        ParseError: it cannot be read, is too large, or is not in its encoding.
    """
    if source != STDIN:
        path = Path(source)
        return module_name_of(path), read_source(path, max_code_size=max_code_size)
    data = sys.stdin.buffer.read(max_code_size + 1)
    if len(data) > max_code_size:
        raise ParseError(f"stdin: the source has over {max_code_size} bytes, the limit; raise MAX_CODE_SIZE")
    return DEFAULT_NAME, decode_source(data, name="stdin")


def _function(options: RequestOptions, name: str, code: str, settings: Settings) -> PythonFunction | None:
    """The function that is called, where its types matter here. What is wrong with the source is told by the run."""
    if options.function is None or not options.arg or not settings.enable_ast_parsing:
        return None
    try:
        module = parse_module(code, name=name, max_code_size=settings.max_code_size)
        return find_function(module, options.function)
    except PythonError:
        return None


def files_of(pairs: Sequence[tuple[str, str]], *, limit: int) -> dict[str, bytes]:
    """The files of `--file`, each of at most `limit` bytes.

    Raises:
        ParseError: one cannot be read, or is too large.
    """
    return {name: _read(Path(path), limit=limit, option="--file") for name, path in pairs}


def environment_of(pairs: Sequence[tuple[str, str | None]], environ: Mapping[str, str]) -> dict[str, str]:
    """The variables of `--env`; one without a value takes the caller's own.

    Raises:
        click.BadParameter: the caller has none of that name.
    """
    missing = [name for name, text in pairs if text is None and name not in environ]
    if missing:
        # A word that is no name may well be a value that somebody forgot the name of.
        shown = [name if name.isidentifier() else "what is no name" for name in missing]
        raise click.BadParameter(f"{', '.join(shown)}: not set here; give K=V", param_hint="--env")
    return {name: environ[name] if text is None else text for name, text in pairs}


def _stdin(path: str | None, *, limit: int) -> str | None:
    if path is None:
        return None
    data = sys.stdin.buffer.read(limit + 1) if path == STDIN else _read(Path(path), limit=limit, option="--stdin")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise ParseError(
            f"--stdin {path}: byte {error.start + 1} is not UTF-8; hand binary data over with --file NAME=PATH"
        ) from error


def _read(path: Path, *, limit: int, option: str) -> bytes:
    """A file's bytes, never more of it than a work folder could hold."""
    try:
        with path.open("rb") as file:
            data = file.read(limit + 1)
    except OSError as error:
        raise ParseError(f"{option} {path}: cannot be read: {error.strerror or error}; check the path") from error
    if len(data) > limit:
        raise ParseError(f"{option} {path}: over {limit} bytes, what a work folder holds (MAX_WORK_BYTES)")
    return data
