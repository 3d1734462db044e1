"""A process of ours beside this one: its first line tells that it is ready, SIGTERM ends it."""

import contextlib
import selectors
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from typing import Self

STOP_S = 30.0


class Background:
    """Runs a command until the `with` block ends; what it says on stderr is kept in a temporary file."""

    def __init__(self, argv: Sequence[str], *, env: Mapping[str, str]) -> None:
        self._argv, self._env = argv, env
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 - closed when the block ends

    def __enter__(self) -> Self:
        """Start it."""
        self._process = subprocess.Popen(  # noqa: S603 - argv is built by us
            self._argv, env=self._env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=self._said, text=True
        )
        return self

    def __exit__(self, *_: object) -> None:
        """End it, by force if it does not go."""
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGTERM)
        try:
            self._process.communicate(timeout=STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()
        self._said.close()

    def first_line(self, *, timeout_s: float) -> str | None:
        """The first line that it prints; none if it ends or says nothing in time."""
        stream = self._process.stdout
        if stream is None:
            return None
        with selectors.DefaultSelector() as selector:
            selector.register(stream, selectors.EVENT_READ)
            if not selector.select(timeout_s):
                return None
        return stream.readline().strip() or None

    def complaint(self) -> str:
        """What it said on stderr."""
        self._said.seek(0)
        return self._said.read().decode("utf-8", "replace").strip()[-2000:]
