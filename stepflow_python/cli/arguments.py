"""From `--arg` and `--args-json` to a call's arguments."""

import json
from collections.abc import Mapping, Sequence

import click
from pydantic import JsonValue

from stepflow_python.errors import ExecutionError
from stepflow_python.model.module import PythonFunction
from stepflow_python.parsing.arguments import check_arguments

Pairs = Sequence[tuple[str, str]]


def arguments_of(pairs: Pairs, args_json: str | None, function: PythonFunction | None) -> dict[str, JsonValue]:
    """The arguments of a call.

    Args:
        pairs: name and text of each `--arg`.
        args_json: a JSON object with further arguments.
        function: what is called, if it is known: its parameters' types decide how a text is read.

    Raises:
        click.BadParameter: the JSON is none or no object, or a name is given twice.
    """
    arguments = _json_object(args_json)
    for name, text in pairs:
        if name in arguments:
            raise click.BadParameter(f"{name!r} is given twice", param_hint="--arg")
        arguments[name] = _value_of(name, text, function)
    return arguments


def _value_of(name: str, text: str, function: PythonFunction | None) -> JsonValue:
    """JSON if it is JSON and the parameter's type allows that, else text; where neither fits, what was likely meant.

    A parameter that takes only text gets the text as it is, quotes and all.
    """
    if function is not None and _text_only(name, function.input_schema):
        return text
    try:
        value = json_value(text)
    except ValueError:
        return text
    if function is None or _allowed(name, value, function) or not _allowed(name, text, function):
        return value
    return text


def _text_only(name: str, schema: Mapping[str, JsonValue]) -> bool:
    properties = schema.get("properties")
    node = properties.get(name) if isinstance(properties, dict) else None
    return isinstance(node, dict) and node.get("type") == "string"


def _allowed(name: str, value: JsonValue, function: PythonFunction) -> bool:
    """Whether the parameter's type takes the value; that others are missing does not matter here."""
    alone = function.model_copy(update={"input_schema": {**function.input_schema, "required": []}})
    try:
        check_arguments(alone, {name: value})
    except ExecutionError:
        return False
    return True


def _json_object(text: str | None) -> dict[str, JsonValue]:
    if text is None:
        return {}
    try:
        value = json_value(text)
    except ValueError as error:
        raise click.BadParameter(f"is not JSON: {error}", param_hint="--args-json") from error
    if not isinstance(value, dict):
        message = 'is not a JSON object; give one such as {"name": "value"}'
        raise click.BadParameter(message, param_hint="--args-json")
    return value


def json_value(text: str) -> JsonValue:
    """The value of a JSON text.

    Raises:
        ValueError: it is none; NaN and infinities, which Python's reader takes, are none either.
    """
    try:
        value: JsonValue = json.loads(text, parse_constant=_refused)
    except RecursionError as error:
        raise ValueError("nested too deep") from error
    return value


def _refused(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")
