"""Telling a person what takes time."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from stepflow_python.cli.render import note
from stepflow_python.ports import Progress, silent


@contextmanager
def watched(*, verbose: bool = False) -> Iterator[Progress]:
    """Progress on stderr: a line that changes on a terminal, plain lines when asked for, else nothing."""
    if sys.stderr.isatty():
        from stepflow_python.cli.terminal import spinner  # noqa: PLC0415 - rich is slow to import, a pipe never needs it

        with spinner() as tell:
            yield tell
    else:
        yield note if verbose else silent
