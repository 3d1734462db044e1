"""Text formats that are really checked, and the JSON Schema validator that checks them."""

import base64
import binascii
import datetime as dt
import decimal
import re
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from jsonschema import Draft202012Validator, FormatChecker, ValidationError
from jsonschema.validators import extend
from pydantic import JsonValue

EXAMPLES = {
    "date-time": "a date and time such as 2024-05-31T12:30:00Z",
    "date": "a date such as 2024-05-31",
    "time": "a time such as 12:30:00",
    "duration": "seconds, or an ISO 8601 duration such as PT1H30M",
    "uuid": "a UUID such as 123e4567-e89b-12d3-a456-426614174000",
    "decimal": "a decimal number such as 12.50",
    "base64": "standard base64, with its padding",
}
"""What a value of each format looks like."""

REFERENCES_PER_NODE = 50
"""References followed for each node of the arguments, on average, and 1,000 to begin with.

A type that contains itself twice would take 2**depth steps over a deep value.
"""


@dataclass(slots=True)
class Check:
    """One check while it lasts: what references stand for, and how many may still be followed."""

    definitions: Mapping[str, JsonValue]
    references_left: int


current_check: ContextVar[Check] = ContextVar("current_check")

_ZONE = r"(?:[Zz]|[+-]\d\d:\d\d)?"
_CLOCK = r"\d\d:\d\d(?::\d\d(?:\.\d{1,9})?)?"
_DATE_TIME = re.compile(rf"(\d{{4}}-\d\d-\d\d)[Tt ]({_CLOCK})({_ZONE})")
_DATE = re.compile(r"\d{4}-\d\d-\d\d")
_TIME = re.compile(rf"({_CLOCK})({_ZONE})")
_DURATION = re.compile(
    r"[+-]?P(?=.)(?:\d+(?:\.\d+)?W|(?:\d+(?:\.\d+)?D)?(?:T(?=.)(?:\d+(?:\.\d+)?H)?(?:\d+(?:\.\d+)?M)?(?:\d+(?:\.\d+)?S)?)?)"
)
_FRACTION = re.compile(r"\.(\d+)")


class TooManyReferencesError(Exception):
    """A check has followed more references than values of this size need."""


def _instant(text: str) -> bool:
    match = _DATE_TIME.fullmatch(text)
    if match is None:
        return False
    dt.datetime.fromisoformat(f"{match[1]}T{_clock(match[2], match[3])}")
    return True


def _time(text: str) -> bool:
    match = _TIME.fullmatch(text)
    if match is None:
        return False
    dt.time.fromisoformat(_clock(match[1], match[2]))
    return True


def _clock(clock: str, zone: str) -> str:
    """Fractions cut to microseconds, `Z` written out: what every interpreter reads."""
    cut = _FRACTION.sub(lambda match: "." + match[1][:6].ljust(6, "0"), clock)
    return cut + ("+00:00" if zone in {"Z", "z"} else zone)


def _date(text: str) -> bool:
    # `20240531` and `2024-W22-5` are dates to newer interpreters only.
    return _DATE.fullmatch(text) is not None and bool(dt.date.fromisoformat(text))


def _duration(text: str) -> bool:
    return _DURATION.fullmatch(text) is not None


def _uuid(text: str) -> bool:
    return bool(uuid.UUID(text))


def _decimal(text: str) -> bool:
    decimal.Decimal(text)
    return True


_CHECKS: dict[str, Callable[[str], bool]] = {
    "date-time": _instant,
    "date": _date,
    "time": _time,
    "duration": _duration,
    "uuid": _uuid,
    "decimal": _decimal,
}


def _format_checker() -> FormatChecker:
    checker = FormatChecker(formats=())
    for name, check in _CHECKS.items():
        checker.checks(name, raises=(ValueError, ArithmeticError))(_on_text(check))
    return checker


def _on_text(check: Callable[[str], bool]) -> Callable[[object], bool]:
    return lambda value: not isinstance(value, str) or check(value)


Errors = Iterator[ValidationError]


def _content_encoding(_validator: Any, encoding: str, instance: object, _schema: object) -> Errors:  # noqa: ANN401 - jsonschema has no types
    if encoding == "base64" and isinstance(instance, str):
        try:
            base64.b64decode(instance, validate=True)
        except (binascii.Error, ValueError):
            yield ValidationError("not base64")


def _reference(validator: Any, reference: str, instance: object, _schema: object) -> Errors:  # noqa: ANN401 - as above
    check = current_check.get()
    check.references_left -= 1
    if check.references_left < 0:
        raise TooManyReferencesError
    # All references are to the schema's own definitions: jsonschema's general way to resolve one takes far longer.
    yield from validator.descend(instance, check.definitions[reference.removeprefix("#/$defs/")])


def _unchecked(_validator: Any, _value: object, _instance: object, _schema: object) -> Errors:  # noqa: ANN401 - as above
    """A tool's own regular expression could hold this process for ever: the tool's model checks it, in its box."""
    return iter(())


def _is_integer(_checker: object, value: object) -> bool:
    """JSON Schema takes 1.0 as an integer; Python's `range` does not."""
    return isinstance(value, int) and not isinstance(value, bool)


FORMATS = _format_checker()
ArgumentValidator = extend(
    Draft202012Validator,
    validators={"contentEncoding": _content_encoding, "$ref": _reference, "pattern": _unchecked},
    type_checker=Draft202012Validator.TYPE_CHECKER.redefine("integer", _is_integer),
)
"""Draft 2020-12 for arguments; give it `format_checker=FORMATS`, and set `current_check` before each use."""
