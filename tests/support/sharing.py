"""How several processes share the tests: `make test` runs two (`pytest -n 2`).

What goes to one process together is a file, unless it is named here.
"""

from typing import TYPE_CHECKING

from typing_extensions import override
from xdist.scheduler import LoadScopeScheduling

if TYPE_CHECKING:
    import pytest
    from xdist.remote import Producer

TOGETHER = ("tests/integration/",)
"""Folders whose tests share a home and a worker."""
APART = ("tests/test_boxed.py", "tests/delivery/")
"""Tests that are long and need nothing of each other: each goes to whoever is free."""
LONG_FIRST = (*APART, *TOGETHER, "tests/environments/", "tests/honest/")
"""What starts early, so that nobody is left alone with it at the end."""


class Sharing(LoadScopeScheduling):
    """Gives out whole groups, in the order in which they were collected."""

    def __init__(self, config: "pytest.Config", log: "Producer | None" = None) -> None:
        super().__init__(config, log)
        config.option.loadscopereorder = False

    @override
    def _split_scope(self, nodeid: str) -> str:
        return group_of(nodeid)


def group_of(nodeid: str) -> str:
    """What a test goes together with."""
    if nodeid.startswith(APART):
        return nodeid
    return next((folder for folder in TOGETHER if nodeid.startswith(folder)), nodeid.partition("::")[0])


def rank_of(nodeid: str) -> int:
    """How early a test is started; the earliest are 0."""
    return next((rank for rank, start in enumerate(LONG_FIRST) if nodeid.startswith(start)), len(LONG_FIRST))
