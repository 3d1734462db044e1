"""What all tests share."""

import os
from pathlib import Path

BOXED = "STEPFLOW_TESTS_BOXED"
"""Set where hostile payloads may run: see `support.throwaway`."""


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Tests below `boxed` are collected in throw-away namespaces only; `test_boxed.py` starts them there."""
    return True if collection_path.name == "boxed" and BOXED not in os.environ else None
