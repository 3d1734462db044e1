"""Arguments of a call, checked on the host against the function's type hints."""

import inspect
import json
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

from pydantic import JsonValue, PydanticSchemaGenerationError, TypeAdapter, ValidationError

from stepflow_python.extensions.description import Function, UnusableExtensionError

_POSITIONAL = {inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD}


def bound(function: Function, given: Mapping[str, JsonValue]) -> inspect.BoundArguments:
    """The arguments of a call, converted to what the type hints say; `given` are by the parameters' names.

    Raises:
        TypeError: one is missing, unknown or of another type.
        ValueError: one is of the right type, but not a value that is taken.
    """
    named = dict(_spread(function, given))
    positional: list[JsonValue] = []
    for name, parameter in function.signature.parameters.items():
        if parameter.kind is inspect.Parameter.POSITIONAL_ONLY and name in named:
            positional.append(named.pop(name))
        elif parameter.kind is inspect.Parameter.VAR_POSITIONAL and name in given:
            positional += _leading(function, named) + _list_of(function, given[name])
    try:
        arguments = function.signature.bind(*positional, **named)
    except TypeError as error:
        raise TypeError(f"{function.name}() {error}") from None
    for name, value in arguments.arguments.items():
        arguments.arguments[name] = _converted(function, name, value)
    return arguments


def check_hints(function: Function) -> None:
    """Whether arguments of these types can be checked at all.

    Raises:
        UnusableExtensionError: a hint names a type that no JSON value can be checked against.
    """
    for name in function.signature.parameters:
        try:
            _adapter(function, name)
        except (PydanticSchemaGenerationError, TypeError, NameError) as error:
            first = str(error).splitlines()[0]
            raise UnusableExtensionError(f"function {function.name}, parameter {name}: {first}") from error


def _spread(function: Function, given: Mapping[str, JsonValue]) -> Iterator[tuple[str, JsonValue]]:
    """Named arguments, those of `**kwargs` among them."""
    for name, value in given.items():
        parameter = function.signature.parameters.get(name)
        kind = None if parameter is None else parameter.kind
        if kind is inspect.Parameter.VAR_KEYWORD and isinstance(value, dict):
            yield from value.items()
        elif kind is not inspect.Parameter.VAR_POSITIONAL:
            yield name, value


def _leading(function: Function, named: dict[str, JsonValue]) -> list[JsonValue]:
    """What has to go by position because more follows; taken out of `named`."""
    names = [one.name for one in function.signature.parameters.values() if one.kind in _POSITIONAL]
    return [named.pop(name) for name in names if name in named]


def _list_of(function: Function, value: JsonValue) -> list[JsonValue]:
    if not isinstance(value, list):
        raise TypeError(f"{function.name}() takes further positional arguments as a list")
    return value


def _converted(function: Function, name: str, value: Any) -> Any:  # noqa: ANN401 - of whatever type the hint says
    kind = function.signature.parameters[name].kind
    if kind is inspect.Parameter.VAR_POSITIONAL:
        return tuple(_one(function, name, item, place=f"{name}[{index}]") for index, item in enumerate(value))
    if kind is inspect.Parameter.VAR_KEYWORD:
        return {key: _one(function, name, item, place=key) for key, item in value.items()}
    return _one(function, name, value, place=name)


def _one(function: Function, name: str, value: Any, *, place: str) -> Any:  # noqa: ANN401 - of whatever type the hint says
    adapter = _adapter(function, name)
    try:
        return adapter.validate_python(value, strict=True)
    except ValidationError as error:
        refused = error
    try:
        # As JSON has to say it: a list for a tuple, a text for a date.
        return adapter.validate_json(json.dumps(value), strict=True)
    except ValidationError:
        raise _refusal(function, place, refused) from None


def _refusal(function: Function, place: str, error: ValidationError) -> Exception:
    first = error.errors(include_url=False, include_context=False)[0]
    inner = "".join(f"[{part!r}]" for part in first["loc"])
    # The type and not the value: it may be a secret, and messages are recorded.
    message = f"{function.name}() argument {place}{inner}: {first['msg']}, not {type(first['input']).__name__}"
    wrong_type = first["type"].endswith(("_type", "missing", "extra_forbidden")) or first["type"] == "is_instance_of"
    return TypeError(message) if wrong_type else ValueError(message)


@lru_cache(maxsize=4096)
def _adapter_of(hint: Any) -> TypeAdapter[Any]:  # noqa: ANN401 - whatever the hint is
    return TypeAdapter(hint)


def _adapter(function: Function, name: str) -> TypeAdapter[Any]:
    hint = function.hints[name]
    try:
        hash(hint)
    except TypeError:  # an Annotated with a list in it
        return TypeAdapter(hint)
    return _adapter_of(hint)
