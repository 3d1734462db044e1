"""Schemas of arguments: annotations, defaults, docstrings, local types."""

import ast

import pytest
from jsonschema import Draft202012Validator
from pydantic import JsonValue

from stepflow_python.parsing.names import Names
from stepflow_python.parsing.parser import parse_module

HEAD = """
from __future__ import annotations
import collections.abc as abc, typing as t, datetime, datetime as dt, decimal, uuid, pathlib, os
import enum, dataclasses, pydantic, annotated_types as at, numpy as np
from typing import *
from enum import Enum, IntEnum, StrEnum, auto
from dataclasses import dataclass, field
from decimal import Decimal as D
from pydantic import BaseModel, Field, PositiveInt
"""


def schema_of(annotation: str, head: str = "", default: str = "") -> dict[str, JsonValue]:
    """The argument's schema of a function with one argument."""
    module = parse_module(f"{HEAD}{head}\ndef f(x: {annotation}{default}): ...")
    whole = module.functions[-1].input_schema
    Draft202012Validator.check_schema(whole)
    properties = whole["properties"]
    assert isinstance(properties, dict)
    schema = properties["x"]
    assert isinstance(schema, dict)
    return schema


def definition_of(name: str, head: str) -> dict[str, JsonValue]:
    """The definition of a local type."""
    module = parse_module(f"{HEAD}{head}\ndef f(x: {name}): ...")
    whole = module.functions[-1].input_schema
    Draft202012Validator.check_schema(whole)
    assert whole["properties"] == {"x": {"$ref": f"#/$defs/{name}"}}
    definitions = whole["$defs"]
    assert isinstance(definitions, dict)
    definition = definitions[name]
    assert isinstance(definition, dict)
    return definition


STRING: JsonValue = {"type": "string"}
INTEGER: JsonValue = {"type": "integer"}
NULL: JsonValue = {"type": "null"}


@pytest.mark.parametrize(
    ("annotation", "expected"),
    [
        ("str", STRING),
        ("int", INTEGER),
        ("float", {"type": "number"}),
        ("bool", {"type": "boolean"}),
        ("None", NULL),
        ("Any", {}),
        ("object", {}),
        ("np.ndarray", {}),
        ("Unknown[int]", {}),
        ("Callable[[int], str]", {}),
        ("lambda: 1", {}),
        ("'not an (expression'", {}),
        ("list", {"type": "array"}),
        ("list[int]", {"type": "array", "items": INTEGER}),
        ("List['int']", {"type": "array", "items": INTEGER}),
        ("t.Sequence[str]", {"type": "array", "items": STRING}),
        ("abc.Iterable[str]", {"type": "array", "items": STRING}),
        ("set[int]", {"type": "array", "items": INTEGER, "x-python": "set"}),
        ("abc.Set[int]", {"type": "array", "items": INTEGER, "x-python": "set"}),
        ("FrozenSet", {"type": "array", "x-python": "frozenset"}),
        ("tuple[int, ...]", {"type": "array", "items": INTEGER, "x-python": "tuple"}),
        ("tuple", {"type": "array", "x-python": "tuple"}),
        ("tuple[()]", {"type": "array", "maxItems": 0, "x-python": "tuple"}),
        (
            "Tuple[int, str]",
            {"type": "array", "prefixItems": [INTEGER, STRING], "minItems": 2, "maxItems": 2, "x-python": "tuple"},
        ),
        ("dict", {"type": "object"}),
        ("dict[str, int]", {"type": "object", "additionalProperties": INTEGER}),
        ("Mapping[str, Any]", {"type": "object"}),
        ("Optional[int]", {"anyOf": [INTEGER, NULL]}),
        ("Union[int, str, None]", {"anyOf": [INTEGER, STRING, NULL]}),
        ("int | str | int", {"anyOf": [INTEGER, STRING]}),
        ("Optional[int | str]", {"anyOf": [INTEGER, STRING, NULL]}),
        ("int | Unknown", {}),
        ("Literal['a', 1, -2, None, True]", {"enum": ["a", 1, -2, None, True]}),
        ("Literal[b'a']", {}),
        ("Final[int]", INTEGER),
        ("datetime.datetime", {"type": "string", "format": "date-time", "x-python": "datetime"}),
        ("dt.date", {"type": "string", "format": "date", "x-python": "date"}),
        ("dt.time", {"type": "string", "format": "time", "x-python": "time"}),
        ("dt.timedelta", {"type": ["number", "string"], "format": "duration", "x-python": "timedelta"}),
        ("D", {"type": ["string", "number"], "format": "decimal", "x-python": "decimal"}),
        ("uuid.UUID", {"type": "string", "format": "uuid", "x-python": "uuid"}),
        ("pathlib.Path", {"type": "string", "x-python": "path"}),
        ("os.PathLike[str]", {"type": "string", "x-python": "path"}),
        ("bytes", {"type": "string", "contentEncoding": "base64", "x-python": "bytes"}),
        ("PositiveInt", {"type": "integer", "exclusiveMinimum": 0}),
        ("Annotated[int, 'how many']", {"type": "integer", "description": "how many"}),
        (
            "Annotated[int, Field(ge=1, lt=9, description='n')]",
            {"type": "integer", "minimum": 1, "exclusiveMaximum": 9, "description": "n"},
        ),
        ("Annotated[float, at.Gt(0.5), at.MultipleOf(0)]", {"type": "number", "exclusiveMinimum": 0.5}),
        ("Annotated[int, at.Interval(ge=-1, le=1)]", {"type": "integer", "minimum": -1, "maximum": 1}),
        ("Annotated[str, at.Len(1, 3)]", {"type": "string", "minLength": 1, "maxLength": 3}),
        ("Annotated[list[int], Field(min_length=1)]", {"type": "array", "items": INTEGER, "minItems": 1}),
        ("Annotated[dict, at.MaxLen(2)]", {"type": "object", "maxProperties": 2}),
        ("Annotated[str, Field(pattern='^a')]", {"type": "string", "pattern": "^a"}),
        ("Annotated[str, Strange(1), x]", STRING),
    ],
)
def test_annotations(annotation: str, expected: JsonValue) -> None:
    """Each known annotation has its schema, whatever name it was imported under; an unknown one constrains nothing."""
    assert schema_of(annotation) == expected


@pytest.mark.parametrize(
    ("default", "expected"),
    [
        (" = 1", {"type": "integer", "default": 1}),
        (" = -1", {"type": "integer", "default": -1}),
        (" = None", {"anyOf": [INTEGER, NULL], "default": None}),
        (" = [1, {'a': None}]", {"type": "integer", "default": [1, {"a": None}]}),
        (" = {1: 2}", INTEGER),
        (" = compute()", INTEGER),
        (" = 1e999", INTEGER),
        (" = 0x" + "f" * 40, INTEGER),
        (" = {'$ref': '#/$defs/Nothing'}", {"type": "integer", "default": {"$ref": "#/$defs/Nothing"}}),
    ],
)
def test_defaults(default: str, expected: JsonValue) -> None:
    """A default that JSON can hold is in the schema; none as a default is taken as an argument too."""
    assert schema_of("int", default=default) == expected


@pytest.mark.parametrize(
    ("head", "annotation", "expected"),
    [
        ("X = int", "X", INTEGER),
        ("X: TypeAlias = 'Literal[1, 2]'", "X", {"enum": [1, 2]}),
        ("X = Literal['a', 'b']", "X", {"enum": ["a", "b"]}),
        ("X = NewType('X', int)", "list[X]", {"type": "array", "items": INTEGER}),
        ("X = TypeVar('X')", "X", {}),
        ("X = 5", "X", {}),
        ("X = Y\nY = int", "X", {"$ref": "#/$defs/X"}),
        ("class X: ...", "X", {}),
        ("class X(Exception): ...", "X", {}),
        ("def int(): ...", "int", {}),
        ("class str: ...", "str", {}),
        ("if TYPE_CHECKING:\n  X = int", "X", INTEGER),
        ("try:\n  from fast import X\nexcept ImportError:\n  X = int", "X", {}),
        ("class X:\n  class Y(Enum):\n    A = 1", "X.Y", {}),
        ("@dataclass\nclass X:\n  a: int\n  def __init__(self, b): ...", "X", {}),
        ("@dataclass(init=False)\nclass X:\n  a: int", "X", {}),
    ],
)
def test_names_of_the_file(head: str, annotation: str, expected: JsonValue) -> None:
    """Aliases are followed, and a name that the file gives another meaning is not taken for the usual one."""
    assert schema_of(annotation, head) == expected


def test_recursive_alias() -> None:
    """A type that names itself becomes a definition that refers to itself."""
    definition = definition_of("Json", "Json = dict[str, 'Json'] | list['Json'] | str | None")
    reference: JsonValue = {"$ref": "#/$defs/Json"}
    assert definition["anyOf"] == [
        {"type": "object", "additionalProperties": reference},
        {"type": "array", "items": reference},
        STRING,
        NULL,
    ]


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (
            "class X(Enum):\n  '''Doc.'''\n  A = 'a'\n  B = 'b'\n  C = 'a'\n  _ignore_ = ['y']\n  def m(self): ...",
            {"description": "Doc.", "enum": ["a", "b"], "x-python": "enum:X"},
        ),
        ("class X(IntEnum):\n  A = 1\n  B = -1", {"enum": [1, -1], "x-python": "enum:X"}),
        ("class X(str, Enum):\n  A = 'a'", {"enum": ["a"], "x-python": "enum:X"}),
        ("class X(StrEnum):\n  RED = auto()", {"enum": ["red"], "x-python": "enum:X"}),
        ("class X(enum.Enum):\n  A = auto()\n  B = (1, 2)", {"enum": ["A", "B"], "x-python": "enum-name:X"}),
        ("class X(Enum):\n  A = 1\n  def __new__(cls, v): ...", {"enum": ["A"], "x-python": "enum-name:X"}),
        (
            "class Y(Enum):\n  def m(self): ...\nclass X(Y):\n  A = True\n  B = 1",
            {"enum": [True, 1], "x-python": "enum:X"},
        ),
    ],
)
def test_enums(head: str, expected: JsonValue) -> None:
    """Members are given by value where all are constants, else by name."""
    assert definition_of("X", head) == expected


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (
            (
                "@dataclass\nclass X:\n  a: int\n  b: ClassVar[int]\n  c: list[int] = field(default_factory=list)\n"
                "  d: str = field(init=False)\n  _: dataclasses.KW_ONLY\n  e: 'X | None' = None"
            ),
            {
                "type": "object",
                "properties": {
                    "a": INTEGER,
                    "c": {"type": "array", "items": INTEGER},
                    "e": {"anyOf": [{"$ref": "#/$defs/X"}, NULL], "default": None},
                },
                "required": ["a"],
                "additionalProperties": False,
                "x-python": "dataclass:X",
            },
        ),
        (
            "@dataclass\nclass Y:\n  a: int\n@dataclass(frozen=True)\nclass X(Y):\n  b: dataclasses.InitVar[str] = 'x'",
            {
                "type": "object",
                "properties": {"a": INTEGER, "b": {"type": "string", "default": "x"}},
                "required": ["a"],
                "additionalProperties": False,
                "x-python": "dataclass:X",
            },
        ),
        (
            "@dataclass\nclass X(Elsewhere):\n  a: int",
            {"type": "object", "properties": {"a": INTEGER}, "required": ["a"], "x-python": "dataclass:X"},
        ),
        (
            "class X(NamedTuple):\n  a: int\n  b: str = 'x'",
            {
                "type": "object",
                "properties": {"a": INTEGER, "b": {"type": "string", "default": "x"}},
                "required": ["a"],
                "additionalProperties": False,
                "x-python": "namedtuple:X",
            },
        ),
        (
            "class X(TypedDict, total=False):\n  a: Required[int]\n  b: str",
            {
                "type": "object",
                "properties": {"a": INTEGER, "b": STRING},
                "required": ["a"],
                "additionalProperties": False,
            },
        ),
        (
            "class X(TypedDict):\n  a: NotRequired[int]",
            {"type": "object", "properties": {"a": INTEGER}, "additionalProperties": False},
        ),
        (
            (
                "class X(BaseModel):\n  a: int\n  b: str = Field('x', max_length=3, alias='B')\n  _p: int = 1\n"
                "  c: int = Field(...)\n  model_config = {'extra': 'forbid'}"
            ),
            {
                "type": "object",
                "properties": {"a": INTEGER, "B": {"type": "string", "maxLength": 3, "default": "x"}, "c": INTEGER},
                "required": ["a", "c"],
                "additionalProperties": False,
                "x-python": "pydantic:X",
            },
        ),
        (
            "class Y(BaseModel):\n  a: int\nclass X(Y, Generic[T]):\n  b: int",
            {
                "type": "object",
                "properties": {"a": INTEGER, "b": INTEGER},
                "required": ["a", "b"],
                "x-python": "pydantic:X",
            },
        ),
        (
            (
                "class X(BaseModel):\n  a: int = Field(alias='A')\n"
                "  model_config = pydantic.ConfigDict(populate_by_name=True)"
            ),
            {"type": "object", "properties": {"A": INTEGER, "a": INTEGER}, "x-python": "pydantic:X"},
        ),
        (
            "class X(BaseModel):\n  a: int\n  @pydantic.field_validator('a', mode='before')\n  def v(cls, x): ...",
            {"x-python": "pydantic:X"},
        ),
        ("class X(BaseModel):\n  a: int\n  class Config:\n    alias_generator = str.upper", {"x-python": "pydantic:X"}),
        (
            "class X(BaseModel):\n  a: int\n  @pydantic.field_validator('a')\n  def v(cls, x): ...",
            {"type": "object", "properties": {"a": INTEGER}, "required": ["a"], "x-python": "pydantic:X"},
        ),
    ],
)
def test_classes_with_fields(head: str, expected: JsonValue) -> None:
    """Fields become properties; what only the class itself can know is left to it."""
    assert definition_of("X", head) == expected


def test_kinds_of_parameters() -> None:
    """All are given by name, `*args` as an array; only `**kwargs` lets unknown ones through."""
    functions = parse_module(
        "def f(a, /, b, *args: int, c, d=1): ...\ndef g(**more: int): ...\ndef h(**more): ..."
    ).functions
    assert functions[0].input_schema == {
        "type": "object",
        "properties": {"a": {}, "b": {}, "c": {}, "d": {"default": 1}, "args": {"type": "array", "items": INTEGER}},
        "required": ["a", "b", "c"],
        "additionalProperties": False,
    }
    assert functions[1].input_schema["additionalProperties"] == INTEGER
    assert functions[2].input_schema["additionalProperties"] is True


@pytest.mark.parametrize(
    "docstring",
    [
        "Sum up.\n\n    Args:\n        x (int): The first\n            number.\n        **more: The others.",
        (
            "Sum up.\n\n    Parameters\n    ----------\n    x : int\n        The first number.\n"
            "    more\n        The others."
        ),
        "Sum up.\n\n    :param x: The first number.\n    :param more: The others.\n    :return: a sum",
    ],
)
def test_descriptions_from_docstrings(docstring: str) -> None:
    """The three usual styles of docstrings describe the parameters."""
    (function,) = parse_module(f'def f(x, more): \n    """{docstring}\n    """').functions
    assert function.input_schema["description"] == "Sum up."
    assert function.input_schema["properties"] == {
        "x": {"description": "The first number."},
        "more": {"description": "The others."},
    }


@pytest.mark.parametrize(
    "docstring", ["Args:", "Args:\n  :", "Parameters\n---", ":param", ":param x", "Args:\n" + "x" * 30_000]
)
def test_odd_docstrings_describe_nothing(docstring: str) -> None:
    """A docstring that its parser cannot take is no error."""
    (function,) = parse_module(f'def f(x): \n    """{docstring}"""').functions
    assert function.input_schema["properties"] == {"x": {}}


def test_only_what_is_used_is_defined() -> None:
    """A schema carries the definitions that it reaches, no others."""
    module = parse_module(
        "from enum import Enum\nclass A(Enum):\n  X = 1\nclass B(Enum):\n  X = 1\ndef f(a: A): ...\ndef g(): ..."
    )
    assert [list(function.input_schema.get("$defs") or ()) for function in module.functions] == [["A"], []]


def test_names_resolve_by_the_imports() -> None:
    """A name's full origin is known through aliases and attributes."""
    names = Names.of(ast.parse("import a.b\nimport a.b as c\nfrom d import e as f\nfrom . import g\nclass H: ..."))
    read = [
        names.resolve(ast.parse(text, mode="eval").body)
        for text in ("a.b.x", "c.x", "f", "g.x", "H", "H.x", "int", "zzz", "f().x")
    ]
    assert read == ["a.b.x", "a.b.x", "d.e", "..g.x", "<local>.H", None, "builtins.int", None, None]
