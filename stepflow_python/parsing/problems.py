"""Validation errors in words: which parameter, where inside it, what was expected, what was given."""

import difflib
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator

from jsonschema import ValidationError
from pydantic import JsonValue

from stepflow_python.parsing.formats import EXAMPLES, current_check

MAX_SHOWN = 80
"""Characters of a value in a message."""
_MAX_NAMES = 200

_TYPES = {
    bool: "boolean",
    int: "integer",
    float: "number",
    str: "string",
    list: "array",
    dict: "object",
    type(None): "null",
}
_BOUNDS = {
    "minimum": "at least",
    "exclusiveMinimum": "greater than",
    "maximum": "at most",
    "exclusiveMaximum": "less than",
    "multipleOf": "a multiple of",
}
_SIZES = {
    "minLength": "at least {} characters",
    "maxLength": "at most {} characters",
    "minItems": "at least {} items",
    "maxItems": "at most {} items",
    "minProperties": "at least {} entries",
    "maxProperties": "at most {} entries",
}


def in_words(error: ValidationError) -> Iterator[str]:
    """The problems that one error stands for, each as `place: what is wrong`."""
    place = path_text(error.absolute_path)
    keyword, wanted, value = error.validator, error.validator_value, error.instance
    if keyword == "anyOf":
        yield from _any_of(error, place)
    elif keyword == "required":
        # One error for each missing field, and only its message says which.
        missing = next((name for name in wanted if error.message.startswith(repr(name) + " ")), "")
        yield f"{place}.{missing}: missing"
    elif keyword == "additionalProperties" and wanted is False:
        known = list(error.schema.get("properties", {}))
        for name in value:
            if name not in known:
                yield f"{place}.{shown(name, quoted=False)}: unknown field{nearest(name, known)}"
    elif keyword in {"type", "enum", "format", "contentEncoding"}:
        yield f"{place}: expected {_expected(error.schema)}, got {given(value)}"
    elif keyword in _BOUNDS:
        yield f"{place}: must be {_BOUNDS[keyword]} {wanted}, got {given(value)}"
    elif keyword in _SIZES:
        yield f"{place}: must have {_SIZES[keyword].format(wanted)}, got {given(value)}"
    else:
        yield f"{place}: {error.message[:MAX_SHOWN]}"


def path_text(path: Iterable[str | int]) -> str:
    """`order.items[2].price`."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            name = shown(part, quoted=False)
            text += f".{name}" if text else name
    return text


def given(value: JsonValue) -> str:
    """A value, shortened, with its JSON type."""
    kind = _TYPES.get(type(value), type(value).__name__)
    return kind if value is None else f"{shown(value)} ({kind})"


def shown(value: JsonValue, *, quoted: bool = True) -> str:
    """A value as JSON, at most `MAX_SHOWN` characters."""
    if isinstance(value, str):
        # Cut first: quoting a text of megabytes for eighty characters of it is a waste.
        text = value[: MAX_SHOWN + 1]
        text = json.dumps(text, ensure_ascii=not text.isprintable()) if quoted or not text.isprintable() else text
    elif isinstance(value, list):
        text = f"[{len(value)} items]" if value else "[]"
    elif isinstance(value, dict):
        text = f"{{{len(value)} entries}}" if value else "{}"
    elif isinstance(value, int) and abs(value) >= 10**MAX_SHOWN:
        text = f"an integer of {value.bit_length()} bits"
    else:
        text = json.dumps(value, default=repr)
    return text if len(text) <= MAX_SHOWN else text[: MAX_SHOWN - 3] + "..."


def shown_list(values: Iterable[JsonValue]) -> str:
    """Values side by side, as many as a message holds."""
    texts: list[str] = []
    for value in values:
        texts.append(shown(value))
        if sum(map(len, texts)) > 2 * MAX_SHOWN:
            return ", ".join((*texts, "..."))
    return ", ".join(texts)


def nearest(name: str, known: list[str], *, what: str = "fields") -> str:
    """A hint at what was meant, to be put behind a message."""
    if not known:
        return f" (there are no {what})"
    near = difflib.get_close_matches(name[:MAX_SHOWN], known[:_MAX_NAMES], n=1)
    if near:
        return f" (did you mean {near[0]}?)"
    return f" (the {what} are {', '.join(known[:10])}{', ...' if len(known) > 10 else ''})"  # noqa: PLR2004 - as many as are read


def _any_of(error: ValidationError, place: str) -> Iterator[str]:
    """A union: the problems inside the one branch that was meant, else all that was expected."""
    branches: dict[int, list[ValidationError]] = defaultdict(list)
    for inner in error.context or ():
        branches[inner.relative_schema_path[0]].append(inner)
    meant = [errors for errors in branches.values() if not any(_rules_out(inner) for inner in errors)]
    if len(meant) == 1:
        for inner in meant[0]:
            yield from in_words(inner)
        return
    kinds: list[str] = []
    for schema in error.validator_value:
        kind = _expected(schema)
        if kind not in kinds:
            kinds.append(kind)
    yield f"{place}: expected {' or '.join(kinds)}, got {given(error.instance)}"


def _rules_out(error: ValidationError) -> bool:
    """Whether a branch's error is about the value as a whole, so that another branch was meant."""
    return not error.relative_path and error.validator in {"type", "enum"}


def _expected(schema: dict[str, JsonValue]) -> str:
    """What a schema takes, in a few words."""
    form = schema.get("format") or schema.get("contentEncoding")
    if isinstance(form, str) and form in EXAMPLES:
        return EXAMPLES[form]
    reference, kind, values = schema.get("$ref"), schema.get("type"), schema.get("enum")
    if isinstance(reference, str):
        name = reference.rpartition("/")[2]
        members = current_check.get().definitions[name]
        values = members.get("enum") if isinstance(members, dict) else None
        return f"{name} ({shown_list(values)})" if isinstance(values, list) else name
    if isinstance(values, list):
        return f"one of {shown_list(values)}"
    if isinstance(kind, list):
        return " or ".join(map(str, kind))
    return str(kind or "another value")
