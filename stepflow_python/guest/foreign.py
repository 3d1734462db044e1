"""Values of other types than JSON's own, turned into those: the rest of the table in docs/results.md.

Types are known by the names along their method resolution order, so that nothing is imported to recognise them: who
returns a data frame has pandas loaded, who does not pays nothing.
"""

from __future__ import annotations

import sys

from .plain import NotJSONError, integer, number

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, Iterable, Tuple

REMEDY = "return str, int, float, bool, None, list, dict or one of the types in docs/results.md"


class Pairs:
    """What becomes an object: keys with values, in order."""

    __slots__ = ("items",)

    def __init__(self, items: Iterable[Tuple[Any, Any]]) -> None:
        self.items = items


def simplified(value: Any) -> Any:
    """A value one step nearer to JSON: `Pairs`, an exact list, an exact scalar, or something to simplify again.

    Raises:
        NotJSONError: JSON has nothing for it.
    """
    try:
        return _simplified(value)
    except NotJSONError:
        raise
    except Exception as error:  # properties and serializers are the tool's own code
        reason = f"{type_name(type(value))} could not be converted: {type(error).__name__}: {_text(error)}"
        raise NotJSONError(reason) from error


def _simplified(value: Any) -> Any:
    kind = type(value)
    if _is_enum(value):
        return value.value
    known = _known(kind)
    if known:
        return TABLE[known](value)
    if hasattr(kind, "__dataclass_fields__"):
        import dataclasses

        return Pairs([(field.name, getattr(value, field.name)) for field in dataclasses.fields(value)])
    return _builtin(value)


def _builtin(value: Any) -> Any:
    """Subclasses of builtin types, and the builtin types that JSON lacks."""
    if isinstance(value, dict):
        return Pairs(value.items())
    if isinstance(value, (list, tuple)):
        return list(value)
    if isinstance(value, (set, frozenset)):
        return _ordered(value)
    if isinstance(value, (bytes, bytearray, memoryview)):
        import binascii

        return binascii.b2a_base64(value, newline=False).decode("ascii")
    for kind in (str, int, float):
        if isinstance(value, kind):
            return getattr(kind, "__str__" if kind is str else "__pos__")(value)
    raise NotJSONError(f"{type_name(type(value))} is no JSON value; {REMEDY}")


def _ordered(value: Iterable[Any]) -> Any:
    try:
        return sorted(value)
    except TypeError:
        return list(value)


def _known(kind: type) -> str:
    """The name in the table of the first class along the resolution order that is there; empty if none is."""
    for base in kind.__mro__:
        name = f"{str(base.__module__).partition('.')[0]}.{base.__qualname__}"
        if name in TABLE:
            return name
    return ""


def key_text(key: Any) -> str:
    """The text of a key: as `json` writes it, or by the table.

    Raises:
        NotJSONError: a key of this type has no text.
    """
    kind = type(key)
    if kind is str:
        return str(key)
    if key is None or kind is bool:
        return "null" if key is None else "true" if key else "false"
    if kind is int:
        return integer(key)
    if kind is float:
        return number(key)
    if _is_enum(key) or isinstance(key, (str, int, float)) or _known(kind) in KEYS:
        return key_text(simplified(key))
    raise NotJSONError(f"the key {_text(key)[:80]!r} is of type {type_name(kind)}; use text for keys")


def _is_enum(value: Any) -> bool:
    enum = sys.modules.get("enum")
    return enum is not None and isinstance(value, enum.Enum)


def type_name(kind: type) -> str:
    """The qualified name of a type, without the module of builtins."""
    module = str(kind.__module__)
    return kind.__qualname__ if module == "builtins" else f"{module}.{kind.__qualname__}"


def _text(value: Any) -> str:
    try:
        return str(value)[:300]
    except Exception:  # noqa: BLE001 - a hostile __str__ must not hide the refusal
        return "<no text>"


def _decimal(value: Any) -> str:
    if not value.is_finite():
        raise NotJSONError(f"Decimal {value} is no JSON value; return None or text in its place")
    return str(value)


def _model(value: Any) -> Any:
    return value.model_dump() if hasattr(value, "model_dump") else value.dict()


def _numpy(value: Any) -> Any:
    """Arrays and scalars; times of any unit are taken at microseconds, which is what Python's own types hold."""
    unit = {"M": "datetime64[us]", "m": "timedelta64[us]"}.get(value.dtype.kind)
    if unit is not None and not (value.dtype.kind == "M" and str(value.dtype) == "datetime64[D]"):
        value = value.astype(unit)
    plain = value.tolist()
    # A long double's item is itself.
    return float(plain) if type(plain) is type(value) else plain


def _frame(value: Any) -> Any:
    if not value.columns.is_unique:
        raise NotJSONError("a DataFrame with two columns of one name has no rows as objects; rename them")
    names = value.columns.tolist()
    columns = [_cells(value.iloc[:, index]) for index in range(len(names))]
    return [dict(zip(names, row)) for row in zip(*columns)]


def _series(value: Any) -> Any:
    if not value.index.is_unique:
        raise NotJSONError("a Series with a repeated index is no object; return series.tolist() or reset its index")
    return Pairs(zip(value.index.tolist(), _cells(value)))


def _cells(column: Any) -> Any:
    """The values of a column. Among numbers NaN is a number and stays; elsewhere it says that a value is missing."""
    cells = column.tolist()
    if column.dtype.kind in "fc":
        return cells
    return [None if missing else cell for cell, missing in zip(cells, column.isna().tolist())]


TABLE: Dict[str, Callable[[Any], Any]] = {
    "datetime.datetime": lambda value: value.isoformat(),
    "datetime.date": lambda value: value.isoformat(),
    "datetime.time": lambda value: value.isoformat(),
    "datetime.timedelta": lambda value: value.total_seconds(),
    "decimal.Decimal": _decimal,
    "fractions.Fraction": str,
    "uuid.UUID": str,
    "pathlib.PurePath": str,
    "collections.deque": list,
    "pydantic.BaseModel": _model,
    "numpy.ndarray": _numpy,
    "numpy.generic": _numpy,
    "pandas.NaTType": lambda _: None,
    "pandas.NAType": lambda _: None,
    "pandas.DataFrame": _frame,
    "pandas.Series": _series,
    "pandas.Index": _cells,
    "polars.DataFrame": lambda value: value.to_dicts(),
    "polars.Series": lambda value: value.to_list(),
}
KEYS = frozenset({"datetime.datetime", "datetime.date", "datetime.time", "uuid.UUID", "numpy.generic"})
