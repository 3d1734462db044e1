"""Which schema each known type has, by its full name. `x-python` tells the guest what JSON has no type for."""

from typing import Final

from pydantic import JsonValue

Json = JsonValue
Schema = dict[str, Json]

LEAVES: Final[dict[str, Schema]] = {
    "builtins.str": {"type": "string"},
    "builtins.int": {"type": "integer"},
    "builtins.float": {"type": "number"},
    "builtins.bool": {"type": "boolean"},
    "builtins.bytes": {"type": "string", "contentEncoding": "base64", "x-python": "bytes"},
    "typing.AnyStr": {"type": "string"},
    "typing.Text": {"type": "string"},
    "typing.LiteralString": {"type": "string"},
    "types.NoneType": {"type": "null"},
    "numbers.Integral": {"type": "integer"},
    "numbers.Real": {"type": "number"},
    "numbers.Number": {"type": "number"},
    "datetime.datetime": {"type": "string", "format": "date-time", "x-python": "datetime"},
    "datetime.date": {"type": "string", "format": "date", "x-python": "date"},
    "datetime.time": {"type": "string", "format": "time", "x-python": "time"},
    "datetime.timedelta": {"type": ["number", "string"], "format": "duration", "x-python": "timedelta"},
    "decimal.Decimal": {"type": ["string", "number"], "format": "decimal", "x-python": "decimal"},
    "uuid.UUID": {"type": "string", "format": "uuid", "x-python": "uuid"},
    "pathlib.Path": {"type": "string", "x-python": "path"},
    "pathlib.PurePath": {"type": "string", "x-python": "path"},
    "pathlib.PosixPath": {"type": "string", "x-python": "path"},
    "pathlib.PurePosixPath": {"type": "string", "x-python": "path"},
    "os.PathLike": {"type": "string", "x-python": "path"},
    "pydantic.StrictStr": {"type": "string"},
    "pydantic.StrictInt": {"type": "integer"},
    "pydantic.StrictFloat": {"type": "number"},
    "pydantic.StrictBool": {"type": "boolean"},
    "pydantic.PositiveInt": {"type": "integer", "exclusiveMinimum": 0},
    "pydantic.NonNegativeInt": {"type": "integer", "minimum": 0},
    "pydantic.NegativeInt": {"type": "integer", "exclusiveMaximum": 0},
    "pydantic.NonPositiveInt": {"type": "integer", "maximum": 0},
    "pydantic.PositiveFloat": {"type": "number", "exclusiveMinimum": 0},
    "pydantic.NonNegativeFloat": {"type": "number", "minimum": 0},
    "pydantic.NegativeFloat": {"type": "number", "exclusiveMaximum": 0},
    "pydantic.NonPositiveFloat": {"type": "number", "maximum": 0},
}


def _named(package: str, names: str) -> frozenset[str]:
    return frozenset(f"{package}.{name}" for name in names.split())


LISTS: Final = (
    _named("builtins", "list")
    | _named("typing", "List Sequence MutableSequence Iterable Collection Container Reversible")
    | _named("collections.abc", "Sequence MutableSequence Iterable Collection Container Reversible")
)
SETS: Final = (
    _named("builtins", "set")
    | _named("typing", "Set MutableSet AbstractSet")
    | _named("collections.abc", "Set MutableSet")
)
FROZEN_SETS: Final = _named("builtins", "frozenset") | _named("typing", "FrozenSet")
TUPLES: Final = _named("builtins", "tuple") | _named("typing", "Tuple")
MAPPINGS: Final = (
    _named("builtins", "dict")
    | _named("typing", "Dict Mapping MutableMapping")
    | _named("collections.abc", "Mapping MutableMapping")
)
WRAPPERS: Final = _named("typing", "Final ClassVar Required NotRequired ReadOnly") | _named("dataclasses", "InitVar")
"""Around a type, and saying nothing about its values."""

BOUNDS: Final = {
    "ge": "minimum",
    "gt": "exclusiveMinimum",
    "le": "maximum",
    "lt": "exclusiveMaximum",
    "multiple_of": "multipleOf",
}
"""Keywords of pydantic's `Field` for numbers, and theirs in JSON Schema."""

LENGTHS: Final = {"min_length": "min", "max_length": "max", "min_items": "min", "max_items": "max"}
"""Keywords for sizes; the word in JSON Schema depends on the type that is measured."""

SIZED: Final = {"string": "Length", "array": "Items", "object": "Properties"}

POSITIONAL: Final[dict[str, tuple[str, ...]]] = {
    "annotated_types.Ge": ("ge",),
    "annotated_types.Gt": ("gt",),
    "annotated_types.Le": ("le",),
    "annotated_types.Lt": ("lt",),
    "annotated_types.MultipleOf": ("multiple_of",),
    "annotated_types.MinLen": ("min_length",),
    "annotated_types.MaxLen": ("max_length",),
    "annotated_types.Len": ("min_length", "max_length"),
    "annotated_types.Interval": (),
    "typing.Doc": ("description",),
    "annotated_doc.Doc": ("description",),
    "pydantic.Field": (),
    "pydantic.StringConstraints": (),
}
"""What may stand in `Annotated` and is understood, with the keywords that its positional arguments stand for."""
