"""One measured figure beside its baseline from the same run."""

import operator
import re
from dataclasses import asdict, dataclass
from typing import Self

_LIMITS = {"<=": operator.le, ">=": operator.ge, "<": operator.lt, ">": operator.gt}
RATES = ("runs/s", "jobs/s")
_GOAL = re.compile(r"(?P<sign><=|>=|<|>)\s*(?P<limit>[\d.]+)\s*(?P<unit>.*)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A figure; `ratio` is value / baseline, none without a baseline."""

    id: str
    name: str
    value: float
    unit: str
    baseline: float | None
    ratio: float | None
    goal: str
    met: bool

    @classmethod
    def of(cls, *, id: str, name: str, value: float, unit: str, goal: str, baseline: float | None = None) -> Self:  # noqa: A002 - the fields, by keyword
        """A figure with its ratio and whether the goal is met.

        Args:
            id: stable short name.
            name: what was measured, for people.
            value: the measured value, in `unit`.
            unit: of value and baseline.
            goal: a sign and a limit: `<= 3.0x` is held against the ratio, `<= 25 ms` against the value.
            baseline: the same measure of what it is compared with, from the same run.

        Raises:
            ValueError: the goal has no such form, or compares with a baseline that is not there.
        """
        match = _GOAL.fullmatch(goal)
        if match is None:
            raise ValueError(f"{id}: goal {goal!r} must be a sign, a limit and x or a unit, such as '<= 3.0x'")
        ratio = value / baseline if baseline else None
        measured = ratio if match["unit"] == "x" else value
        if measured is None:
            raise ValueError(f"{id}: goal {goal!r} needs a baseline")
        met = _LIMITS[match["sign"]](measured, float(match["limit"]))
        return cls(id=id, name=name, value=value, unit=unit, baseline=baseline, ratio=ratio, goal=goal, met=met)

    def goal_at(self, slowness: float) -> str | None:
        """The goal at the speed of a machine that takes so many times as long; none where speed is nothing to it."""
        match = _GOAL.fullmatch(self.goal)
        if match is None or match["unit"] not in {"ms", *RATES}:
            return None
        limit = float(match["limit"]) * (1 / slowness if match["unit"] in RATES else slowness)
        return f"{match['sign']} {limit:.3g} {match['unit']}"

    def held_against(self, goal: str) -> bool:
        """Whether it meets another goal of the same unit."""
        return Figure.of(id=self.id, name=self.name, value=self.value, unit=self.unit, goal=goal).met

    def as_dict(self) -> dict[str, str | float | bool | None]:
        """The figure as it is written to `latest.json`."""
        return asdict(self)
