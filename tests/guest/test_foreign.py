"""The table of docs/results.md: types of the standard library here, those of libraries in a real environment."""

import array
import enum
import json
import subprocess
import sys
import uuid
from collections import Counter, OrderedDict, UserDict, deque, namedtuple
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import pytest

from stepflow_python.guest.plain import NotJSONError
from stepflow_python.guest.writer import to_json

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Guest

Point = namedtuple("Point", "x y")  # noqa: PYI024 - the untyped kind is what is tested
ID = uuid.UUID(int=5)


class Colour(enum.Enum):
    """A plain enum."""

    RED = "red"
    PAIR = (1, 2)


class Level(enum.IntEnum):
    """An enum of numbers."""

    LOW = 1


class Name(str):
    """Text with a class of its own."""

    __slots__ = ()


class Count(int):
    """A number that prints as something else."""

    def __repr__(self) -> str:
        return "many"


@dataclass
class Item:
    """A dataclass with a nested one."""

    name: str
    parts: list["Item"] = field(default_factory=list)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (Point(1, 2), [1, 2]),
        ({3, 1, 2}, [1, 2, 3]),
        (frozenset({"b", "a"}), ["a", "b"]),
        (deque([1, 2]), [1, 2]),
        (OrderedDict(b=1, a=2), {"b": 1, "a": 2}),
        (Counter("aa"), {"a": 2}),
        (Item("a", [Item("b")]), {"name": "a", "parts": [{"name": "b", "parts": []}]}),
        ([Colour.RED, Colour.PAIR, Level.LOW], ["red", [1, 2], 1]),
        ([Name("n"), Count(7)], ["n", 7]),
        (datetime(2024, 2, 29, 12, 0, tzinfo=UTC), "2024-02-29T12:00:00+00:00"),
        ([date(2024, 2, 29), time(1, 2)], ["2024-02-29", "01:02:00"]),
        (timedelta(minutes=1, milliseconds=500), 60.5),
        ([Decimal("1.10"), Fraction(1, 3), ID], ["1.10", "1/3", str(ID)]),
        ([Path("/a"), PurePosixPath("b")], ["/a", "b"]),
        ([b"\0\1", bytearray(b"\0"), memoryview(b"abc")], ["AAE=", "AA==", "YWJj"]),
        (
            {0: 0, 1.5: 2, True: 1, None: 3, Colour.RED: 4, ID: 5, date(2024, 1, 1): 6, Name("n"): 7},
            {"0": 0, "1.5": 2, "true": 1, "null": 3, "red": 4, str(ID): 5, "2024-01-01": 6, "n": 7},
        ),
    ],
    ids=lambda value: type(value).__name__,
)
def test_the_table(value: Any, expected: Any) -> None:
    """Each type becomes what the table says."""
    assert json.loads(to_json(value)) == expected


def test_sets_that_cannot_be_sorted_keep_what_they_hold() -> None:
    """Values of several types come in some order."""
    assert sorted(map(str, json.loads(to_json({1, "a", None})))) == ["1", "None", "a"]


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (Decimal("NaN"), "Decimal NaN is no JSON value"),
        (array.array("i", [1]), "array.array is no JSON value"),
        (UserDict(a=1), "collections.UserDict is no JSON value"),
        ({float("nan"): 1}, "nan is no JSON value"),
        ({Decimal(1): 1}, "the key '1' is of type decimal.Decimal"),
        (print, "builtin_function_or_method is no JSON value"),
        (Item, "type is no JSON value"),
    ],
    ids=str,
)
def test_what_is_not_in_the_table_is_refused(value: Any, reason: str) -> None:
    """The reason names the type."""
    with pytest.raises(NotJSONError) as caught:
        to_json(value)
    assert caught.value.reason.startswith(reason)


@pytest.fixture(scope="session")
def library_guest(tmp_path_factory: pytest.TempPathFactory, make_guest: "Callable[[Path], Guest]") -> "Guest":
    """A guest in an environment with the libraries of the table."""
    folder = tmp_path_factory.mktemp("environment") / "venv"
    uv = Path(sys.executable).parent / "uv"
    subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, folder], check=True)
    interpreter = folder / "bin" / "python"
    requirements = ["numpy", "pandas", "polars", "pydantic"]
    subprocess.run([uv, "pip", "install", "--quiet", "--python", interpreter, *requirements], check=True)
    guest = make_guest(interpreter)
    site = next(folder.glob("lib/python3*/site-packages"))
    return type(guest)(
        interpreter=interpreter,
        compiled=guest.compiled,
        new_folder=guest.new_folder,
        site_packages=str(site),
    )


NUMPY = """
import numpy as np

def f():
    return {
        "array": np.arange(4).reshape(2, 2), "scalars": [np.float32(0.5), np.int64(3), np.bool_(True), np.str_("s")],
        "times": np.array(["2024-01-02T03:04:05", "NaT"], dtype="datetime64[ns]"),
        "days": np.array(["2024-01-02"], dtype="datetime64[D]"), "time": np.datetime64("2024-01-02T03:04:05", "ns"),
        "spans": np.array([1500], dtype="timedelta64[ms]"), "zero": np.array(5), "objects": np.array([None, {"a": 1}]),
        "masked": np.ma.array([1, 2], mask=[0, 1]), "long": np.longdouble(1.5), "keys": {np.int64(1): "one"},
    }

def nan():
    return {"rows": np.array([1.0, float("nan")])}

def complex_numbers():
    return np.array([1j])
"""
PANDAS = """
import pandas as pd

def f():
    when = pd.Timestamp("2024-01-02T03:04:05Z")
    return {
        "frame": pd.DataFrame({"a": [1, 2], "b": ["x", None], "c": [pd.NA, 1], "when": [when, pd.NaT]}),
        "series": pd.Series([1, 2], index=["x", "y"]), "plain": pd.Series([1.5, 2.5]),
        "scalars": [when, pd.NaT, pd.NA, pd.Timedelta(seconds=1.5)], "index": pd.Index(["a", "b"]),
    }

def repeated_columns():
    return pd.DataFrame([[1, 2]], columns=["a", "a"])

def repeated_index():
    return pd.Series([1, 2], index=["x", "x"])

def nan():
    return pd.DataFrame({"a": [1.0, None]})
"""
POLARS = """
import datetime
import polars as pl

def f():
    frame = pl.DataFrame({"a": [1, None], "when": [datetime.date(2024, 1, 2)] * 2})
    return [frame, frame["a"]]
"""
PYDANTIC = """
import datetime
from pydantic import BaseModel, RootModel, v1

class Part(BaseModel):
    when: datetime.date
    tags: set[str] = set()

class Old(v1.BaseModel):
    count: int

class Parts(RootModel[list[Part]]):
    pass

def f(part: Part, old: Old):
    assert type(part) is Part and type(old) is Old
    return [part, old, Parts([part])]
"""


def test_numpy(library_guest: "Guest") -> None:
    """Arrays become lists, scalars numbers, times ISO text."""
    assert library_guest.run(NUMPY, "f").value == {
        "array": [[0, 1], [2, 3]],
        "scalars": [0.5, 3, True, "s"],
        "times": ["2024-01-02T03:04:05", None],
        "days": ["2024-01-02"],
        "time": "2024-01-02T03:04:05",
        "spans": [1.5],
        "zero": 5,
        "objects": [None, {"a": 1}],
        "masked": [1, None],
        "long": 1.5,
        "keys": {"1": "one"},
    }
    assert library_guest.run(NUMPY, "nan").message.startswith("result.rows[1]: nan is no JSON value")
    assert library_guest.run(NUMPY, "complex_numbers").message.startswith("result[0]: complex is no JSON value")


def test_pandas(library_guest: "Guest") -> None:
    """Frames are rows, series objects by index; what would lose values is refused."""
    assert library_guest.run(PANDAS, "f").value == {
        "frame": [
            {"a": 1, "b": "x", "c": None, "when": "2024-01-02T03:04:05+00:00"},
            {"a": 2, "b": None, "c": 1, "when": None},
        ],
        "series": {"x": 1, "y": 2},
        "plain": {"0": 1.5, "1": 2.5},
        "scalars": ["2024-01-02T03:04:05+00:00", None, None, 1.5],
        "index": ["a", "b"],
    }
    assert "two columns of one name" in library_guest.run(PANDAS, "repeated_columns").message
    assert "repeated index" in library_guest.run(PANDAS, "repeated_index").message
    assert library_guest.run(PANDAS, "nan").message.startswith("result[1].a: nan is no JSON value")


def test_polars(library_guest: "Guest") -> None:
    """Frames are rows, series lists."""
    day = "2024-01-02"
    assert library_guest.run(POLARS, "f").value == [[{"a": 1, "when": day}, {"a": None, "when": day}], [1, None]]


def test_pydantic_models_both_ways(library_guest: "Guest") -> None:
    """Models of both major versions are made from objects and given back as such; a refusal names the parameter."""
    schema = {
        "properties": {"part": {"$ref": "#/$defs/Part"}, "old": {"$ref": "#/$defs/Old"}},
        "$defs": {
            "Part": {"type": "object", "x-python": "pydantic:Part"},
            "Old": {"type": "object", "x-python": "pydantic:Old"},
        },
    }
    part = {"when": "2024-01-02", "tags": ["b", "a"]}
    back = {"when": "2024-01-02", "tags": ["a", "b"]}
    arguments: dict[str, Any] = {"part": part, "old": {"count": "3"}}
    ran = library_guest.run(PYDANTIC, "f", arguments=arguments, input_schema=schema)
    assert ran.value == [back, {"count": 3}, [back]]
    arguments["part"] = {"when": "never"}
    ran = library_guest.run(PYDANTIC, "f", arguments=arguments, input_schema=schema)
    assert ran.message.startswith("parameter part: {'when': 'never'} is no pydantic:Part: ValidationError")
