"""Python values to JSON text in one pass: no `json` import, and every refusal names its place.

docs/results.md is the table of what becomes what; `foreign` has the rows that need more than an exact builtin type.
"""

from __future__ import annotations

import sys

from .plain import NotJSONError, integer, number

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Iterable, List, Optional, Tuple

MAX_DEPTH = 200
"""Below what the JSON libraries of this world nest (pydantic: 255)."""


PLAIN_CHARACTERS = 4096
"""Most of a text that is looked at whether it is plain; a longer one seldom is, and each look reads it once more."""
ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\f": "\\f", "\b": "\\b"}

_escape: Optional[Callable[[str], str]] = None


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


def quote(text: str) -> str:
    """A JSON string, ASCII only.

    A plain text is one as it is. What makes the others is imported when there is one: most runs have none.
    """
    if len(text) <= PLAIN_CHARACTERS and text.isascii() and text.isprintable() and '"' not in text and "\\" not in text:
        return '"' + text + '"'
    global _escape  # noqa: PLW0603 - found once
    if _escape is None:
        _escape = _found_escape()
    return _escape(text)


def _found_escape() -> Callable[[str], str]:
    try:
        from _json import encode_basestring_ascii
    except BaseException:  # noqa: BLE001 - a tool may have done anything to imports, and still has a result
        return _escaped
    else:
        return encode_basestring_ascii


def _escaped(text: str) -> str:
    """As the standard library does it."""
    parts = ['"']
    for character in text:
        number = ord(character)
        if character in ESCAPES:
            parts.append(ESCAPES[character])
        elif 0x20 <= number < 0x7F:  # noqa: PLR2004 - what ASCII prints
            parts.append(character)
        elif number <= 0xFFFF:  # noqa: PLR2004 - one unit of UTF-16, surrogates on their own included
            parts.append(f"\\u{number:04x}")
        else:
            high, low = divmod(number - 0x10000, 0x400)
            parts.append(f"\\u{0xD800 + high:04x}\\u{0xDC00 + low:04x}")
    parts.append('"')
    return "".join(parts)


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
