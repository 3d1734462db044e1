"""Files without a name."""

import os
from pathlib import Path

import pytest

from stepflow_python.guest.anonymous import anonymous_file, write_all


@pytest.mark.parametrize("memory", [True, False])
def test_a_file_holds_what_was_written(memory: bool, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: FBT001 - a parameter of the test
    """In memory or on disk, it keeps all bytes and has no name."""
    if not memory:
        monkeypatch.delattr(os, "memfd_create")
    descriptor = anonymous_file("stepflow")
    try:
        write_all(descriptor, b"x" * 100_000)
        assert os.pread(descriptor, 200_000, 0) == b"x" * 100_000
        assert "(deleted)" in str(Path(f"/proc/self/fd/{descriptor}").readlink())
    finally:
        os.close(descriptor)
