"""`stepflow parse` and `stepflow check`: facts and a verdict; nothing runs, nothing is recorded."""

import platform
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from stepflow_python.cli.exits import SUCCEEDED, UNUSABLE, code_of_error
from stepflow_python.cli.render import as_json, complain, emit_json, line, note
from stepflow_python.cli.requests import read_tool
from stepflow_python.cli.session import open_session, trace
from stepflow_python.config import Settings
from stepflow_python.errors import PythonError, SecurityViolationError
from stepflow_python.model.module import (
    Import,
    InferredDependency,
    Parameter,
    ParameterKind,
    PythonFunction,
    PythonModule,
)
from stepflow_python.model.result import ErrorInfo
from stepflow_python.model.security import SecurityLevel, Verdict
from stepflow_python.parsing.inference import inferred_dependencies
from stepflow_python.parsing.parser import parse_module
from stepflow_python.policy.check import check_source
from stepflow_python.policy.levels import settings_for

if TYPE_CHECKING:
    from pydantic import JsonValue


@click.command("parse")
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option("--ast", "with_ast", is_flag=True, help="Also the syntax tree, with --json.")
@click.option("--json", "json_", is_flag=True, help="Print JSON: an object, or for several files an array of them.")
def parse(*, files: tuple[str, ...], with_ast: bool, json_: bool) -> None:
    """Say what is in tools; nothing runs.

    Functions with the JSON Schema of their arguments, classes, imports, requirements. `-` is standard input.
    """
    settings = open_session().settings
    parsed = [_parsed(file, settings, with_ast=with_ast) for file in files]
    values: list[JsonValue] = []
    for file, found in zip(files, parsed, strict=True):
        if isinstance(found, ErrorInfo):
            complain(found, place=file)
            values.append({"file": file, "error": as_json(found)})
        elif json_:
            values.append(as_json(found))
        else:
            for text in described(found, file):
                line(text)
    if json_:
        emit_json(values if len(files) > 1 else values[0])
    codes = (code_of_error(found) for found in parsed if isinstance(found, ErrorInfo))
    click.get_current_context().exit(max(codes, default=SUCCEEDED))


@click.command("check")
@click.argument("file", metavar="FILE")
@click.option(
    "--level",
    type=click.Choice([level.value for level in SecurityLevel]),
    default=SecurityLevel.STRICT.value,
    show_default=True,
    help="Security level to check against.",
)
@click.option("--json", "json_", is_flag=True, help="Print the verdict as JSON, nothing else.")
def check(*, file: str, level: str, json_: bool) -> None:
    """Say whether a tool may run; nothing does.

    Every violation of the security level with its place. Exits 2 when FILE is refused.
    """
    settings = open_session().settings
    verdict = _verdict(file, SecurityLevel(level), settings)
    if json_:
        emit_json({"allowed": verdict.allowed, "level": level, **as_json(verdict)})
    else:
        for found in verdict.violations:
            line(f"{file}:{found.line}:{found.column}: {found.rule}: {found.message}")
        note(f"{file} is {'allowed' if verdict.allowed else 'refused'} at level {level}")
    click.get_current_context().exit(SUCCEEDED if verdict.allowed else UNUSABLE)


def _parsed(file: str, settings: Settings, *, with_ast: bool) -> PythonModule | ErrorInfo:
    try:
        name, code = read_tool(file, max_code_size=settings.max_code_size)
        module = parse_module(code, name=name, max_code_size=settings.max_code_size, with_ast=with_ast)
        python = settings.version or platform.python_version()
        return module.model_copy(update={"inferred": inferred_dependencies(module, python=python)})
    except PythonError as error:
        trace()
        return ErrorInfo.of(error)


def _verdict(file: str, level: SecurityLevel, settings: Settings) -> Verdict:
    if level.rank > settings.max_security_level.rank:
        raise SecurityViolationError(
            f"--level: {level} is over this host's ceiling, {settings.max_security_level}; "
            "check for less, or have the operator raise MAX_SECURITY_LEVEL"
        )
    name, code = read_tool(file, max_code_size=settings.max_code_size)
    parse_module(code, name=name, max_code_size=settings.max_code_size)
    allowed = settings_for(level, blocked_imports=settings.blocked_imports, allowed_imports=settings.allowed_imports)
    return check_source(code, allowed)


def described(module: PythonModule, file: str) -> Iterator[str]:
    """A module's facts for people, one line each."""
    yield f"{file}: module {module.name}" + _first_line(module.docstring)
    for function in module.functions:
        yield f"  {signature(function)}{_first_line(function.docstring)}"
    for class_ in module.classes:
        bases = f"({', '.join(class_.bases)})" if class_.bases else ""
        yield f"  class {class_.name}{bases}{_first_line(class_.docstring)}"
    for import_ in module.imports:
        yield f"  {_import_line(import_)}"
    if module.requires_python:
        yield f"  requires Python {module.requires_python}"
    for dependency in module.dependencies:
        yield f"  requires {', '.join(dependency.requirements) or dependency.name}"
    for inferred in module.inferred:
        yield f"  {_inferred_line(inferred)}"


def signature(function: PythonFunction) -> str:
    """How a function is called, as its author wrote it."""
    parts: list[str] = []
    kinds = [parameter.kind for parameter in function.parameters]
    for index, parameter in enumerate(function.parameters):
        first_named = parameter.kind is ParameterKind.KEYWORD_ONLY and ParameterKind.KEYWORD_ONLY not in kinds[:index]
        if first_named and ParameterKind.VAR_POSITIONAL not in kinds:
            parts.append("*")
        parts.append(_parameter(parameter))
        last_positional = kinds[index + 1 : index + 2] != [ParameterKind.POSITIONAL_ONLY]
        if parameter.kind is ParameterKind.POSITIONAL_ONLY and last_positional:
            parts.append("/")
    keyword = "async def" if function.is_async else "def"
    returns = f" -> {function.return_type}" if function.return_type else ""
    return f"{keyword} {function.name}({', '.join(parts)}){returns}"


_STARS = {ParameterKind.VAR_POSITIONAL: "*", ParameterKind.VAR_KEYWORD: "**"}


def _parameter(parameter: Parameter) -> str:
    text = _STARS.get(parameter.kind, "") + parameter.name
    if parameter.annotation is not None:
        text += f": {parameter.annotation}"
    if parameter.default is not None:
        text += f" = {parameter.default}" if parameter.annotation is not None else f"={parameter.default}"
    return text


def _import_line(found: Import) -> str:
    traits = [trait for trait, is_so in (("standard library", found.is_stdlib), ("optional", found.optional)) if is_so]
    return f"import {'.' * found.level}{found.module} (line {', '.join([str(found.lineno), *traits])})"


def _inferred_line(found: InferredDependency) -> str:
    place = f"import {found.module}, line {found.line}"
    if found.distribution is None:
        return (
            f"unknown: {place}; a run is refused until its distribution is declared"
            if not found.optional
            else (f"unknown and optional: {place}")
        )
    return f"{'could use' if found.optional else 'requires'} {found.distribution} (inferred from {place})"


def _first_line(docstring: str | None) -> str:
    lines = (docstring or "").strip().splitlines()
    return f"  # {lines[0].strip()}" if lines else ""
