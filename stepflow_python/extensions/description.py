"""What a factory describes: functions with type hints and docstrings, constants, and nothing else."""

import inspect
import json
import keyword
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_type_hints

from pydantic import JsonValue

AWAITED = "aio"
"""The attribute of a lent module that holds its functions to be awaited."""

Kind = Literal["call", "stream"]


class UnusableExtensionError(Exception):
    """An extension cannot be lent; the message says what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Function:
    """A function; `audited` are parameters that may be recorded: names, or a mapping to what shows a value.

    It may be a plain one, which runs in a thread, a coroutine function, or a generator of either kind, which streams.

    Raises:
        UnusableExtensionError: it lacks a docstring or a type hint, or audits a parameter that it has not.
    """

    call: Callable[..., Any]
    audited: Collection[str] | Mapping[str, Callable[[JsonValue], JsonValue]] = ()
    name: str = field(init=False)
    doc: str = field(init=False)
    signature: inspect.Signature = field(init=False)
    hints: Mapping[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        name = _usable_name(getattr(self.call, "__name__", repr(self.call)), what="function")
        try:
            signature, hints = inspect.signature(self.call), get_type_hints(self.call, include_extras=True)
        except (TypeError, ValueError, NameError) as error:
            raise UnusableExtensionError(f"function {name}: its type hints cannot be read: {error}") from error
        doc = inspect.getdoc(self.call)
        if not doc:
            raise UnusableExtensionError(f"function {name} has no docstring; say what it does")
        missing = [parameter for parameter in (*signature.parameters, "return") if parameter not in hints]
        if missing:
            raise UnusableExtensionError(f"function {name} has no type hint for {', '.join(missing)}")
        unknown = set(self.audited) - signature.parameters.keys()
        if unknown:
            raise UnusableExtensionError(f"function {name} audits what is no parameter: {', '.join(sorted(unknown))}")
        for attribute, value in (("name", name), ("doc", doc), ("signature", signature), ("hints", hints)):
            object.__setattr__(self, attribute, value)

    def recorded(self, given: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
        """Of a call's arguments what may be recorded."""
        shown = self.audited if isinstance(self.audited, Mapping) else {}
        return {
            name: shown[name](given[name]) if name in shown else given[name] for name in self.audited if name in given
        }

    @property
    def kind(self) -> Kind:
        """Whether it gives one value or a stream of them."""
        streams = inspect.isasyncgenfunction(self.call) or inspect.isgeneratorfunction(self.call)
        return "stream" if streams else "call"


@dataclass(frozen=True, slots=True)
class Module:
    """A module to lend: `functions` are plain callables or `Function`s; `constants` are JSON.

    Raises:
        UnusableExtensionError: a name is none, is there twice, or a constant is no JSON value.
    """

    functions: Iterable[Callable[..., Any] | Function] = ()
    constants: Mapping[str, JsonValue] = field(default_factory=dict)
    doc: str = ""
    by_name: Mapping[str, Function] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        functions = [one if isinstance(one, Function) else Function(one) for one in self.functions]
        names = [*(function.name for function in functions), *self.constants]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise UnusableExtensionError(f"there twice: {', '.join(twice)}")
        for name in self.constants:
            _usable_name(name, what="constant")
        try:
            json.dumps(dict(self.constants), allow_nan=False)
        except (TypeError, ValueError, RecursionError) as error:
            raise UnusableExtensionError(f"a constant is no JSON value: {error}") from error
        object.__setattr__(self, "functions", tuple(functions))
        object.__setattr__(self, "by_name", {function.name: function for function in functions})


def _usable_name(name: str, *, what: str) -> str:
    if not name.isidentifier() or keyword.iskeyword(name) or name.startswith("__") or name == AWAITED:
        raise UnusableExtensionError(f"{name!r} is no name for a {what} of an extension")
    return name
