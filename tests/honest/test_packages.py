"""Popular packages do in the box what they are popular for, at the strictest level."""

from typing import TYPE_CHECKING, Any

import pytest
from honest.packages import SETS

if TYPE_CHECKING:
    from collections.abc import Callable

CASES = [(folder, name) for folder, uses in SETS.items() for name in uses]


def test_there_are_forty_of_them() -> None:
    """The list has not shrunk."""
    assert len({name for _, name in CASES}) == len(CASES) >= 40


@pytest.mark.parametrize(("folder", "name"), CASES, ids=[name for _, name in CASES])
def test_use(folder: str, name: str, honest: "Callable[..., Any]") -> None:
    """It is imported and used, and says nothing of a refusal."""
    outcome = honest(SETS[folder][name], packages=tuple(SETS[folder]))
    assert outcome.status == "succeeded", f"{outcome.error}\n{outcome.stderr}"
