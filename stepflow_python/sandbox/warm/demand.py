"""How many callers there were at a time lately: so many processes shall wait."""

import time
from dataclasses import dataclass, field
from typing import Self

PERIOD_S = 5.0


@dataclass(slots=True)
class Demand:
    """The most simultaneous calls of the present and the last period."""

    active: int = 0
    _since: float = field(default_factory=time.monotonic)
    _now: int = 0
    _before: int = 0

    def __enter__(self) -> Self:
        """A call begins."""
        self.active += 1
        self._turn()
        self._now = max(self._now, self.active)
        return self

    def __exit__(self, *_: object) -> None:
        """It ends."""
        self.active -= 1

    @property
    def peak(self) -> int:
        """The most calls at a time lately."""
        self._turn()
        return max(self._now, self._before)

    def _turn(self) -> None:
        periods = int((time.monotonic() - self._since) / PERIOD_S)
        if periods:
            self._before = self._now if periods == 1 else self.active
            self._now = self.active
            self._since += periods * PERIOD_S
