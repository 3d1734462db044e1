"""What all tests share."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from support.sharing import Sharing
    from xdist.remote import Producer

BOXED = "STEPFLOW_TESTS_BOXED"
"""Set where hostile payloads may run: see `support.throwaway`."""


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Tests below `boxed` are collected in throw-away namespaces only; `test_boxed.py` starts them there."""
    return True if collection_path.name == "boxed" and BOXED not in os.environ else None


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: "Producer") -> "Sharing":
    """Several processes share the tests in our way."""
    from support.sharing import Sharing  # noqa: PLC0415 - boxed tests run where there is no xdist

    return Sharing(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put what is long in front, where several processes share the tests."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        from support.sharing import rank_of  # noqa: PLC0415 - likewise

        items.sort(key=lambda item: rank_of(item.nodeid))
