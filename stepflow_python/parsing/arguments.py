"""A call's function and arguments, checked before a process starts."""

import json
import keyword
from collections.abc import Iterator, Mapping
from functools import lru_cache
from itertools import islice
from typing import Any

from pydantic import JsonValue

from stepflow_python.errors import ExecutionError
from stepflow_python.model.module import PythonFunction, PythonModule
from stepflow_python.parsing.formats import (
    FORMATS,
    REFERENCES_PER_NODE,
    ArgumentValidator,
    Check,
    TooManyReferencesError,
    current_check,
)
from stepflow_python.parsing.problems import in_words, nearest, shown

MAX_PROBLEMS = 50
"""Problems that one message lists; one list of a million wrong numbers has a million."""


def find_function(module: PythonModule, name: str) -> PythonFunction:
    """The function that a caller gets by a name.

    Raises:
        ExecutionError: the name is no identifier, or there is no such function; names the ones there are.
    """
    if not name.isidentifier() or keyword.iskeyword(name):
        raise ExecutionError(f"{shown(name)} is not a Python identifier; give the name of a function in {module.name}")
    function = module.function(name)
    if function is None:
        names = list(dict.fromkeys(function.name for function in module.functions))
        is_class = any(known.name == name for known in module.classes)
        hint = "; it is a class, write a function that uses it" if is_class else nearest(name, names, what="functions")
        raise ExecutionError(f"{module.name} has no function {shown(name, quoted=False)}{hint}")
    return function


def check_arguments(function: PythonFunction, parameters: Mapping[str, JsonValue]) -> None:
    """Whether a function can be called with these arguments.

    Args:
        function: with its `input_schema`; an empty one takes anything.
        parameters: the arguments as JSON, by name.

    Raises:
        ExecutionError: lists every problem (up to `MAX_PROBLEMS`), each with the parameter and the place inside it.
    """
    definitions = function.input_schema.get("$defs")
    try:
        if isinstance(definitions, dict):
            current_check.set(Check(definitions, 1000 + REFERENCES_PER_NODE * _size(dict(parameters))))
        problems = list(islice(_problems(function.input_schema, dict(parameters)), MAX_PROBLEMS + 1))
    except TooManyReferencesError as error:
        message = f"{function.name}: the arguments are too many or too deep to be checked against its types"
        raise ExecutionError(f"{message}; pass less, or as a file") from error
    except (RecursionError, ArithmeticError, ValueError) as error:
        # ValueError: Python refuses to write out an integer of more than 4,300 digits.
        message = f"{function.name}: the arguments cannot be checked: nested too deep, or a number too large"
        raise ExecutionError(f"{message}; pass them flatter, or as text") from error
    if problems:
        more = ["and more"] if len(problems) > MAX_PROBLEMS else []
        listed = "; ".join(problems[:MAX_PROBLEMS] + more)
        raise ExecutionError(f"{function.name} cannot be called with these arguments: {listed}")


def _problems(schema: dict[str, JsonValue], arguments: dict[str, JsonValue]) -> Iterator[str]:
    properties = schema.get("properties")
    known = list(properties) if isinstance(properties, dict) else []
    required = schema.get("required")
    for name in required if isinstance(required, list) else ():
        if name not in arguments:
            yield f"{name}: missing"
    if schema.get("additionalProperties") is False:
        for name in arguments:
            if name not in known:
                yield f"{shown(name, quoted=False)}: unknown parameter{nearest(name, known, what='parameters')}"
    for error in _validator(_key(schema)).iter_errors(arguments):
        # Said above, in the words of a call.
        if error.absolute_path or error.validator not in {"required", "additionalProperties"}:
            yield from in_words(error)


def _size(value: JsonValue) -> int:
    """Nodes of a JSON value."""
    size, stack = 0, [value]
    while stack:
        node = stack.pop()
        size += 1
        if isinstance(node, dict):
            stack.extend(node.values())
        elif isinstance(node, list):
            stack.extend(node)
    return size


def _key(schema: dict[str, JsonValue]) -> str:
    # Descriptions and defaults included: dropping them costs more than it saves.
    return json.dumps(schema)


@lru_cache(maxsize=256)
def _validator(key: str) -> Any:  # noqa: ANN401 - jsonschema has no types
    return ArgumentValidator(json.loads(key), format_checker=FORMATS)
