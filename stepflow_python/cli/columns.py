"""The columns of a table, however it is shown."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column of a table; a `flexible` one is cut first where the terminal is narrow, and folded if it `wraps`."""

    title: str
    justify: Literal["left", "right"] = "left"
    flexible: bool = False
    wraps: bool = False
