"""From what a message holds to an `ExecutionRequest`: the one place where payloads are decoded."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import cast

from pydantic import JsonValue, TypeAdapter, ValidationError

from stepflow_python.errors import ExecutionError, ParseError
from stepflow_python.model.request import ExecutionRequest
from stepflow_python.model.result import Status
from stepflow_python.model.values import Identifier

REFERENCE = "$previous"

_identifier: TypeAdapter[str] = TypeAdapter(Identifier)


def request_from_payload(payload: object, previous: object = None) -> ExecutionRequest:
    """The request of a message.

    Args:
        payload: an `ExecutionRequest` as a JSON object, or as the text of one.
        previous: in a Celery chain the predecessor's `ExecutionResult` as JSON, in a chord the list of them.
            `{"$previous": "/json/pointer"}` among the parameters stands for that part of its `result`.

    Raises:
        ParseError: not JSON, or not the model; the field is named.
        ExecutionError: the predecessor did not succeed, or has no such part.
    """
    if isinstance(payload, str | bytes):
        try:
            payload = json.loads(payload)
        except (ValueError, RecursionError) as error:
            raise ParseError(f"the payload is not JSON: {error}") from error
    if not isinstance(payload, Mapping):
        raise ParseError(f"the payload is {type(payload).__name__}, not an ExecutionRequest as a JSON object")
    fields = dict(payload)
    if previous is not None and "parameters" in fields:
        fields["parameters"] = _resolved(fields["parameters"], _results(previous))
    try:
        return ExecutionRequest.model_validate(fields)
    except ValidationError as error:
        raise ParseError(_described(error)) from error


def execution_id_of(payload: object) -> str | None:
    """The id in a payload that may be unusable otherwise."""
    return usable_id(payload.get("execution_id") if isinstance(payload, Mapping) else None)


def usable_id(candidate: object) -> str | None:
    """The candidate where it is an id."""
    try:
        return _identifier.validate_python(candidate)
    except ValidationError:
        return None


def _described(error: ValidationError) -> str:
    """Every field that is wrong, without its value: it may be a secret."""
    problems = []
    for problem in error.errors(include_input=False, include_url=False):
        place = ".".join(map(str, problem["loc"])) or "request"
        problems.append(f"{place}: {problem['msg'].removeprefix('Value error, ')}")
    return "the request is not usable: " + "; ".join(problems)


def _results(previous: object) -> JsonValue:
    """What predecessors returned; one that did not succeed stops its successor."""
    if isinstance(previous, Sequence) and not isinstance(previous, str | bytes):
        return [_results(one) for one in previous]
    if not isinstance(previous, Mapping) or "status" not in previous:
        return cast("JsonValue", previous)  # not ours: another task's result, used as it is
    if previous["status"] != Status.SUCCEEDED:
        raise ExecutionError(
            f"the preceding execution {previous.get('execution_id')} ended {previous['status']}: this one did not run"
        )
    return cast("JsonValue", previous.get("result"))


def _resolved(value: JsonValue, results: JsonValue) -> JsonValue:
    if isinstance(value, dict):
        pointer = value.get(REFERENCE)
        if len(value) == 1 and isinstance(pointer, str):
            return _pointed(results, pointer)
        return {key: _resolved(item, results) for key, item in value.items()}
    if isinstance(value, list):
        return [_resolved(item, results) for item in value]
    return value


def _pointed(document: JsonValue, pointer: str) -> JsonValue:
    """A part of a document by JSON Pointer (RFC 6901)."""
    if pointer and not pointer.startswith("/"):
        raise ExecutionError(f"parameters: {REFERENCE} takes a JSON Pointer such as /rows/0, not {pointer!r}")
    for part in pointer.split("/")[1:]:
        key = part.replace("~1", "/").replace("~0", "~")
        if isinstance(document, dict) and key in document:
            document = document[key]
        elif isinstance(document, list) and re.fullmatch(r"0|[1-9]\d*", key) and int(key) < len(document):
            document = document[int(key)]
        else:
            raise ExecutionError(f"parameters: the preceding result has no {pointer!r} (nothing at {key!r})")
    return document
