"""Exceptions as they go to the tool: a built-in type that it can catch, and the message."""

from typing import Final

BUILT_IN: Final = ("TypeError", "KeyError", "ValueError", "TimeoutError", "OSError", "RuntimeError")
MAX_MESSAGE: Final = 10_000


def type_and_message(error: BaseException) -> tuple[str, str]:
    """The nearest of the types that tools are given, with the error's own message; any other is a RuntimeError."""
    for kind in type(error).__mro__:
        if kind.__module__ == "builtins" and kind.__name__ in BUILT_IN:
            return kind.__name__, _message(error)[:MAX_MESSAGE]
    message = _message(error)
    return "RuntimeError", f"{type(error).__name__}{': ' if message else ''}{message}"[:MAX_MESSAGE]


def _message(error: BaseException) -> str:
    """What `str` gives, but of a KeyError, which would put its message in quotes once more on the other side."""
    if isinstance(error, KeyError) and len(error.args) == 1 and isinstance(error.args[0], str):
        return error.args[0]
    try:
        return str(error)
    except Exception:  # noqa: BLE001 - a stranger's __str__
        return ""
