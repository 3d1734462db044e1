"""What the tool raised, printed as Python prints it and reported as data. Loaded only when something was raised."""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Any, Dict, Iterator, List, Optional

MAX_EXCEPTIONS = 50
MAX_FRAMES = 100
MAX_MESSAGE = 10_000
MAX_TEXT = 300
"""Longest file name, function name or line of code."""
DETAIL = ((MAX_EXCEPTIONS, MAX_FRAMES, MAX_MESSAGE), (10, 20, 2000), (1, 5, 500))
"""(exceptions, frames, characters of a message), from full to what fits into any report."""


def print_exception(error: BaseException) -> None:
    """Print it on stderr through the tool's own hook, without the frames of the guest."""
    for one in chain(error):
        one.__traceback__ = _without_guest(one.__traceback__)
    try:
        sys.excepthook(type(error), error, error.__traceback__)
    except BaseException:  # noqa: BLE001 - a hook of the tool that fails must not take the traceback with it
        sys.__excepthook__(type(error), error, error.__traceback__)


def report(error: BaseException, *, most_bytes: int) -> List[Dict[str, Any]]:
    """The raised exception first, then its causes and members: type, message and the tool's own frames.

    Args:
        error: what was raised.
        most_bytes: what its JSON may take about; detail is left out until it fits.
    """
    from .writer import to_json

    described: List[Dict[str, Any]] = []
    for exceptions, frames, characters in DETAIL:
        described = []
        for one in chain(error):
            if len(described) == exceptions:
                break
            described.append(_describe(one, frames=frames, characters=characters))
        if len(to_json(described)) <= most_bytes:
            break
    return described


def summary(error: BaseException) -> str:
    """Type and message in one line, with the tool's line that raised it."""
    frames = _frames(error, 1)
    place = f" ({os.path.basename(frames[-1]['file'])}, line {frames[-1]['line']})" if frames else ""
    message = _message(error, MAX_TEXT)
    remedy = "; declare the package that brings it" if isinstance(error, ModuleNotFoundError) else ""
    return f"{_type(error)}{': ' if message else ''}{message}{place}{remedy}"


def chain(error: BaseException) -> Iterator[BaseException]:
    """The exception, then its causes or what was being handled, then the members of groups; each once."""
    seen = set()
    waiting = [error]
    while waiting:
        one = waiting.pop(0)
        if id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        before = one.__cause__
        if before is None and not one.__suppress_context__:
            before = one.__context__
        if before is not None:
            waiting.append(before)
        waiting.extend(_members(one))


def _members(error: BaseException) -> List[BaseException]:
    try:
        members = error.exceptions if hasattr(error, "exceptions") else ()
    except Exception:  # noqa: BLE001 - an attribute of a class of the tool
        return []
    return [one for one in members if isinstance(one, BaseException)] if isinstance(members, (tuple, list)) else []


def _describe(error: BaseException, *, frames: int, characters: int) -> Dict[str, Any]:
    return {"type": _type(error), "message": _message(error, characters), "frames": _frames(error, frames)}


def _type(error: BaseException) -> str:
    kind = type(error)
    try:
        module, name = str(kind.__module__), str(kind.__qualname__)
    except BaseException:  # noqa: BLE001 - a metaclass of the tool
        return "<unknown>"
    return (name if module == "builtins" else f"{module}.{name}")[:MAX_TEXT]


def _message(error: BaseException, characters: int) -> str:
    try:
        text = str(error)
        return str.__getitem__(text, slice(0, characters))
    except BaseException:  # noqa: BLE001 - a __str__ that raises, exits or recurses is the tool's, the record is ours
        return "<exception str() failed>"


def _frames(error: BaseException, most: int) -> List[Dict[str, Any]]:
    """The tool's own frames, outermost first: the beginning and the end when there are more than `most`."""
    own = []
    traceback: Optional[TracebackType] = error.__traceback__
    while traceback is not None:
        if _is_own(traceback.tb_frame.f_code.co_filename):
            own.append(traceback)
        traceback = traceback.tb_next
    if len(own) > most:
        head = most // 2
        own = own[:head] + own[head - most :]
    return [_frame(one) for one in own]


def _frame(traceback: TracebackType) -> Dict[str, Any]:
    code = traceback.tb_frame.f_code
    line = traceback.tb_lineno or code.co_firstlineno
    return {
        "file": code.co_filename[:MAX_TEXT],
        "line": line,
        "function": code.co_name[:MAX_TEXT],
        "code": _source_line(code.co_filename, line, traceback.tb_frame.f_globals),
    }


def _source_line(file: str, line: int, namespace: Dict[str, Any]) -> str:
    try:
        import linecache

        return linecache.getline(file, line, namespace).strip()[:MAX_TEXT]
    except Exception:  # noqa: BLE001 - the file is the tool's: gone, a pipe, not text
        return ""


def _is_own(file: str) -> bool:
    """Whether a frame is the tool's: not the guest's, the standard library's or an installed package's."""
    if file.startswith("<frozen ") or _is_guest(file):
        return False
    return not file.startswith((sys.prefix + os.sep, sys.base_prefix + os.sep))


def _is_guest(file: str) -> bool:
    return os.path.dirname(file) == os.path.dirname(_is_guest.__code__.co_filename)


def _without_guest(traceback: Optional[TracebackType]) -> Optional[TracebackType]:
    """From the first own frame on; a traceback without one loses the guest's only."""
    own = traceback
    while own is not None and not _is_own(own.tb_frame.f_code.co_filename):
        own = own.tb_next
    if own is not None:
        return own
    while traceback is not None and _is_guest(traceback.tb_frame.f_code.co_filename):
        traceback = traceback.tb_next
    return traceback
