"""Python values to JSON text in one pass: no `json` import, and every refusal names its place.

docs/results.md is the table of what becomes what; `foreign` has the rows that need more than an exact builtin type.
"""

from __future__ import annotations

import sys

try:
    from _json import encode_basestring_ascii as quote
except ImportError:
    from json.encoder import py_encode_basestring_ascii as quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Iterable, List, Optional, Tuple, Union

MAX_DEPTH = 200
"""Below what the JSON libraries of this world nest (pydantic: 255)."""
MAX_DIGITS = 4300
"""The default of `sys.set_int_max_str_digits`: what the reader of the JSON will take."""
MAX_PATH_STEPS = 20


class NotJSONError(Exception):
    """A value that JSON cannot hold. `steps` lead to it from the root, innermost first."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.steps: List[Union[str, int]] = []

    def describe(self, root: str) -> str:
        """The place, such as `result.rows[3].when`, and what is wrong there."""
        steps = self.steps[::-1]
        shown = "".join(_step(step) for step in steps[:MAX_PATH_STEPS])
        return f"{root}{shown}{'...' if len(steps) > MAX_PATH_STEPS else ''}: {self.reason}"


class TooLargeError(Exception):
    """The text would pass its limit."""


def _step(step: Union[str, int]) -> str:
    if isinstance(step, int):
        return f"[{step}]"
    return f".{step}" if step.isidentifier() else f"[{step[:80]!r}]"


def to_json(value: Any, *, limit: Optional[int] = None) -> str:
    """JSON text of a value, ASCII only.

    Args:
        value: see docs/results.md.
        limit: most characters; none is no limit.

    Raises:
        NotJSONError: JSON cannot hold it.
        TooLargeError: the text is longer than `limit`.
    """
    writer = Writer(limit)
    writer.write(value)
    text = "".join(writer.parts)
    if limit is not None and len(text) > limit:
        raise TooLargeError
    return text


def failure(kind: str, message: str, *, exceptions: Iterable[Any] = (), too_large: bool = False) -> str:
    """The report of a run that has no result."""
    report = {"ok": False, "exceptions": list(exceptions), "error": {"kind": kind, "message": message}}
    if too_large:
        report["too_large"] = True
    return to_json(report)


class Writer:
    """Collects the parts of one text."""

    __slots__ = ("_active", "_most_parts", "parts")

    def __init__(self, limit: Optional[int]) -> None:
        self.parts: List[str] = []
        # Each part is at least one character: a cheap bound that stops endless values early.
        self._most_parts = sys.maxsize if limit is None else limit
        self._active: List[int] = []

    def write(self, value: Any) -> None:
        """Append the text of a value."""
        kind = type(value)
        if kind is str:
            self.parts.append(quote(value))
        elif value is None or value is True or value is False:
            self.parts.append("null" if value is None else "true" if value else "false")
        elif kind is int:
            self.parts.append(integer(value))
        elif kind is float:
            self.parts.append(number(value))
        elif kind is dict:
            self._object(value.items(), value)
        elif kind is list or kind is tuple:
            self._array(value, value)
        else:
            self._write_other(value)

    def _write_other(self, value: Any) -> None:
        """What is no exact builtin is first made of builtins, one level at a time."""
        from .foreign import Pairs, simplified

        simple = simplified(value)
        if type(simple) is Pairs:
            self._object(simple.items, value)
        elif type(simple) is list:
            self._array(simple, value)
        else:
            self._enter(value)
            self.write(simple)
            self._active.pop()

    def _enter(self, owner: Any) -> None:
        """Note a container that is being written."""
        if id(owner) in self._active:
            raise NotJSONError("contains itself; return a value without cycles")
        if len(self._active) >= MAX_DEPTH:
            raise NotJSONError(f"nested deeper than {MAX_DEPTH} levels; return something flatter")
        self._active.append(id(owner))

    def _array(self, items: Iterable[Any], owner: Any) -> None:
        self._enter(owner)
        self.parts.append("[")
        index, first = 0, True
        try:
            for index, item in enumerate(items):  # noqa: B007 - the place, should an item be refused
                if first:
                    first = False
                else:
                    self.parts.append(",")
                self.write(item)
                if len(self.parts) > self._most_parts:
                    raise TooLargeError
        except NotJSONError as error:
            error.steps.append(index)
            raise
        self.parts.append("]")
        self._active.pop()

    def _object(self, items: Iterable[Tuple[Any, Any]], owner: Any) -> None:
        self._enter(owner)
        self.parts.append("{")
        first = True
        for key, item in items:
            if type(key) is str:
                name = key
            else:
                from .foreign import key_text

                name = key_text(key)
            self.parts.append((quote(name) if first else "," + quote(name)) + ":")
            first = False
            try:
                self.write(item)
            except NotJSONError as error:
                error.steps.append(name)
                raise
            if len(self.parts) > self._most_parts:
                raise TooLargeError
        self.parts.append("}")
        self._active.pop()


def integer(value: int) -> str:
    """Decimal digits, as many as readers take."""
    try:
        text = int.__repr__(value)
    except ValueError:
        text = ""
    if not text or len(text) - (value < 0) > MAX_DIGITS:
        raise NotJSONError(f"an integer of more than {MAX_DIGITS} digits; return it as text, such as hex(value)")
    return text


def number(value: float) -> str:
    """The shortest text that reads back as the same number."""
    if value - value != 0.0:  # only NaN and the infinities
        raise NotJSONError(f"{float.__repr__(value)} is no JSON value; return None or text in its place")
    return float.__repr__(value)
