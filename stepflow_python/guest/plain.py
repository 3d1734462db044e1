"""What JSON holds as it is, and the refusal of what it does not."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import List, Union

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


def _step(step: Union[str, int]) -> str:
    if isinstance(step, int):
        return f"[{step}]"
    return f".{step}" if step.isidentifier() else f"[{step[:80]!r}]"


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
