"""JSON arguments to Python values, by the `x-python` keys of the input schema. Loaded only when there are any.

The host has checked the arguments against the schema; what is refused here is what only Python can tell.
"""

from __future__ import annotations

from .request import ToolError
from .scalars import SCALARS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, List, Union

    Schema = Union[bool, Dict[str, Any]]

CONTAINERS = {"set": set, "frozenset": frozenset, "tuple": tuple}
TYPES = {
    "null": lambda value: value is None,
    "boolean": lambda value: isinstance(value, bool),
    "integer": lambda value: (
        not isinstance(value, bool) and (isinstance(value, int) or (isinstance(value, float) and value.is_integer()))
    ),
    "number": lambda value: isinstance(value, (int, float)) and not isinstance(value, bool),
    "string": lambda value: isinstance(value, str),
    "array": lambda value: isinstance(value, list),
    "object": lambda value: isinstance(value, dict),
}
MAX_SHOWN = 80


class UnconvertibleError(Exception):
    """An argument that has no value of its parameter's type; `path` leads to it."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{path}: {reason}")


def converted_arguments(arguments: Dict[str, Any], schema: Dict[str, Any], namespace: Dict[str, Any]) -> Dict[str, Any]:
    """Arguments by name, converted.

    Raises:
        ToolError: one cannot be converted; the message names its place.
    """
    converter = Converter(schema.get("$defs", {}), namespace)
    try:
        return converter.properties(arguments, schema, "")
    except UnconvertibleError as error:
        raise ToolError(f"parameter {error}") from error.__cause__


class Converter:
    """Walks values beside their schemas; `namespace` is the tool's module, where names of classes are looked up."""

    def __init__(self, definitions: Dict[str, Any], namespace: Dict[str, Any]) -> None:
        self._definitions = definitions
        self._namespace = namespace

    def convert(self, value: Any, schema: Schema, path: str) -> Any:
        """The value of the type that a schema describes.

        Raises:
            UnconvertibleError: there is none.
        """
        schema = self._resolved(schema)
        if "anyOf" in schema:
            return self._any_of(value, schema["anyOf"], path)
        python = schema.get("x-python")
        if python is None or (value is None and "null" in _types(schema)):
            return self._plain(value, schema, path)
        try:
            return self._python(value, schema, python=python, path=path)
        except UnconvertibleError:
            raise
        except Exception as error:
            shown = repr(value)
            shown = shown if len(shown) <= MAX_SHOWN else shown[:MAX_SHOWN] + "..."
            raise UnconvertibleError(path, f"{shown} is no {python}: {type(error).__name__}: {error}") from error

    def properties(self, value: Dict[str, Any], schema: Dict[str, Any], path: str) -> Dict[str, Any]:
        """The members of an object, each by its own schema."""
        known = schema.get("properties", {})
        others = schema.get("additionalProperties", True)
        return {
            key: self.convert(item, known.get(key, others), f"{path}.{key}" if path else key)
            for key, item in value.items()
        }

    def _resolved(self, schema: Schema) -> Dict[str, Any]:
        for _ in range(len(self._definitions) + 1):
            if not isinstance(schema, dict):
                return {}
            if "$ref" not in schema:
                return schema
            schema = self._definitions.get(schema["$ref"].rpartition("/")[2], {})
        return {}

    def _plain(self, value: Any, schema: Dict[str, Any], path: str) -> Any:
        """What is JSON itself may hold what is not."""
        if isinstance(value, list):
            return self._items(value, schema, path)
        if isinstance(value, dict):
            return self.properties(value, schema, path)
        return value

    def _items(self, value: List[Any], schema: Dict[str, Any], path: str) -> List[Any]:
        first = schema.get("prefixItems", [])
        others = schema.get("items", True)
        return [
            self.convert(item, first[index] if index < len(first) else others, f"{path}[{index}]")
            for index, item in enumerate(value)
        ]

    def _any_of(self, value: Any, branches: List[Schema], path: str) -> Any:
        """The first branch that takes the value."""
        resolved = [self._resolved(branch) for branch in branches]
        if value is None and any("null" in _types(branch) for branch in resolved):
            return None
        refused = None
        for branch in resolved:
            if not _fits(value, branch):
                continue
            try:
                return self.convert(value, branch, path)
            except UnconvertibleError as error:
                refused = error
        if refused is not None:
            raise refused
        raise UnconvertibleError(path, "fits none of the types that are allowed here")

    def _python(self, value: Any, schema: Dict[str, Any], *, python: str, path: str) -> Any:
        kind, _, name = python.partition(":")
        if kind in CONTAINERS:
            return CONTAINERS[kind](self._items(value, schema, path))
        if kind in SCALARS:
            return SCALARS[kind](value)
        if kind == "enum":
            return self._named(name)(value)
        if kind == "enum-name":
            return self._named(name)[value]
        if kind in {"dataclass", "namedtuple"}:
            return self._named(name)(**self.properties(value, schema, path))
        if kind == "pydantic":
            model = self._named(name)
            return (model.model_validate if hasattr(model, "model_validate") else model.parse_obj)(value)
        raise UnconvertibleError(path, f"x-python {python!r} is unknown; worker and guest are of different versions")

    def _named(self, name: str) -> Any:
        first, *others = name.split(".")
        found = self._namespace[first]
        for other in others:
            found = getattr(found, other)
        return found


def _types(schema: Dict[str, Any]) -> List[str]:
    named = schema.get("type", [])
    return [named] if isinstance(named, str) else list(named)


def _fits(value: Any, schema: Dict[str, Any]) -> bool:
    """Whether a value is of a schema's JSON type, one of its constants, and an object of its members."""
    types = _types(schema)
    if types and not any(TYPES[name](value) for name in types if name in TYPES):
        return False
    if "enum" in schema and not any(value == one and type(value) is type(one) for one in schema["enum"]):
        return False
    if "const" in schema and value != schema["const"]:
        return False
    if isinstance(value, dict):
        if not all(name in value for name in schema.get("required", [])):
            return False
        if schema.get("additionalProperties") is False:
            return all(name in schema.get("properties", {}) for name in value)
    return True
