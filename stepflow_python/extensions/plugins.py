"""Parsers and executors that other packages bring, by their entry points; the operator chooses one by its name."""

import asyncio
from collections.abc import Iterable
from importlib.metadata import EntryPoint, entry_points
from typing import Final, TypeVar

from stepflow_python.custom import CustomPythonExecutor, CustomPythonParser
from stepflow_python.errors import ConfigurationError

PARSERS: Final = "stepflow_python.parsers"
EXECUTORS: Final = "stepflow_python.executors"

T = TypeVar("T", CustomPythonParser, CustomPythonExecutor)


async def load_parser(name: str, points: Iterable[EntryPoint] | None = None) -> CustomPythonParser:
    """The parser that an entry point of this name makes.

    Raises:
        ConfigurationError: there is none, or it cannot be used.
    """
    return await asyncio.to_thread(_load, CustomPythonParser, name, PARSERS, points)


async def load_executor(name: str, points: Iterable[EntryPoint] | None = None) -> CustomPythonExecutor:
    """The executor that an entry point of this name makes.

    Raises:
        ConfigurationError: there is none, or it cannot be used.
    """
    return await asyncio.to_thread(_load, CustomPythonExecutor, name, EXECUTORS, points)


def _load(kind: type[T], name: str, group: str, points: Iterable[EntryPoint] | None) -> T:
    setting = "CUSTOM_PARSER" if group == PARSERS else "CUSTOM_EXECUTOR"
    found = list(entry_points(group=group) if points is None else points)
    named = [point for point in found if point.name == name]
    if len(named) != 1:
        there = ", ".join(sorted({point.name for point in found})) or "none"
        problem = "several packages bring" if named else "no package here brings"
        raise ConfigurationError(f"{setting}={name}: {problem} an entry point of {group} named so; there are: {there}")
    try:
        made = named[0].load()()
    except Exception as error:
        raise ConfigurationError(
            f"{setting}={name}: {named[0].value} fails: {type(error).__name__}: {error}"
        ) from error
    if not isinstance(made, kind):
        missing = ", ".join(
            sorted(method for method in vars(kind) if not method.startswith("_") and not hasattr(made, method))
        )
        raise ConfigurationError(f"{setting}={name}: what {named[0].value} makes lacks {missing}")
    return made
