"""Python values to JSON text in one pass: no `json` import, and every refusal names its place.

docs/results.md is the table of what becomes what; `foreign` has the rows that need more than an exact builtin type.
"""

from __future__ import annotations

import sys

from .plain import NotJSONError, integer, number

try:
    from _json import encode_basestring_ascii as quote
except ImportError:
    from json.encoder import py_encode_basestring_ascii as quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Iterable, List, Optional, Tuple

MAX_DEPTH = 200
"""Below what the JSON libraries of this world nest (pydantic: 255)."""


class TooLargeError(Exception):
    """The text would pass its limit."""


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
