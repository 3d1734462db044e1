"""The embedded broker as a kombu transport: a SQLite file that any number of processes on one host share.

kombu takes no class path in a URL, and has no registry that a package could enter, so two settings name it:

    broker_url = "stepflow:///absolute/path/broker.db"
    broker_transport = "stepflow_python.messaging.transport:Transport"
"""

import sqlite3
import time
from pathlib import Path
from queue import Empty
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from kombu.transport import virtual

from stepflow_python.messaging.broker_file import BrokerFileError, broker_file
from stepflow_python.messaging.channel import Channel
from stepflow_python.messaging.mailbox import Mailbox

SCHEME = "stepflow"
CLASS_PATH = f"{__name__}:Transport"
TIDY_INTERVAL_S = 0.25
"""How soon a message of a process that was killed is delivered again."""
BRISK_FOR_S = 1.0
BRISK_INTERVAL_S = 0.001
"""Right after a message the next one is likely: so long, the file is looked at so often where it cannot be heard."""
QUIET_AFTER_S = 10.0
"""Without a message for so long, the file is looked at less often."""
QUIET_INTERVAL_S = 0.02
"""Also between looks at a file that is heard, should anything not be."""


def broker_url(path: Path) -> str:
    """The URL of the broker in a file."""
    return f"{SCHEME}://{quote(str(path.expanduser().absolute()))}"


def broker_path(url: str) -> Path:
    """The file in a broker's URL.

    Raises:
        ValueError: it names no absolute path.
    """
    parts = urlsplit(url)
    path = Path(unquote(parts.path))
    if parts.netloc or not path.is_absolute() or path == Path("/"):
        raise ValueError(f"broker URL {url!r} names no file; write {SCHEME}:///absolute/path/broker.db")
    return path


class Transport(virtual.Transport):
    """Connections to a broker's file.

    What is published is noticed at once where the kernel tells of writes to the file's log (inotify(7)); what is
    acknowledged in the same process, always. Transport options: `polling_interval`, seconds between looks at the file
    while idle (a look is one PRAGMA), where the kernel does not.
    """

    Channel = Channel
    can_parse_url = True
    polling_interval = 0.005
    driver_type = "sqlite"
    driver_name = "sqlite3"
    connection_errors = (*virtual.Transport.connection_errors, BrokerFileError)  # type: ignore[assignment]  # kombu's own transports list several, too
    recoverable_connection_errors = connection_errors
    channel_errors = virtual.Transport.channel_errors
    recoverable_channel_errors = channel_errors
    implements = virtual.Transport.implements.extend(
        asynchronous=False, exchange_type=frozenset(["direct", "topic", "fanout"]), heartbeats=False
    )

    def __init__(self, client: Any, **kwargs: Any) -> None:  # noqa: ANN401 - kombu has no types
        super().__init__(client, **kwargs)
        self._cycle = self.Cycle(self._drain_channel, self.channels, Empty)
        self._broker = broker_file(broker_path(client.hostname))
        self._held = False
        self.mailbox = Mailbox(self._broker)
        self._tidied_at = 0.0
        self._busy_at = time.monotonic()
        self.interrupted = False

    def driver_version(self) -> str:
        """SQLite's version."""
        return sqlite3.sqlite_version

    def establish_connection(self) -> "Transport":
        """Open the file.

        Raises:
            BrokerFileError: it cannot be used.
        """
        if not self._held:
            self._broker.retain()
            self._held = True
        super().establish_connection()
        return self

    def close_connection(self, connection: "Transport") -> None:
        """Give back what was not acknowledged, and close the file unless others in this process use it."""
        super().close_connection(connection)
        if self._held:
            self._held = False
            self._broker.release()

    def interrupt(self) -> None:
        """Let a consumer return from `drain_events` now, without a message; may be called from a signal handler."""
        self.interrupted = True

    def drain_events(self, connection: Any, timeout: float | None = None, **_kwargs: Any) -> None:  # noqa: ANN401, ARG002 - kombu's signature
        """Deliver one message, waiting for it at most `timeout` seconds.

        Raises:
            TimeoutError: there was none.
            BrokerFileError: the file cannot be used.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            if self.interrupted:
                raise TimeoutError("interrupted")
            seen = self._broker.state()  # before looking: what comes between look and wait ends the wait
            self._tidy()
            try:
                self._cycle.get(self._deliver, timeout=timeout)
            except Empty:
                if deadline is not None and time.monotonic() >= deadline:
                    raise TimeoutError("no message") from None
                self._await_change(seen, deadline)
            else:
                self._busy_at = time.monotonic()
                return

    def _await_change(self, seen: tuple[int, int], deadline: float | None) -> None:
        heard = False
        while self._broker.state() == seen:
            now = time.monotonic()
            if self.interrupted or (deadline is not None and now >= deadline):
                return
            interval = BRISK_INTERVAL_S if heard else self._interval(now - self._busy_at)
            heard = self._broker.wait(interval if deadline is None else min(interval, deadline - now))
            self._tidy()

    def _interval(self, idle_s: float) -> float:
        """Seconds between two looks."""
        if self._broker.hears:
            return QUIET_INTERVAL_S
        if idle_s < BRISK_FOR_S:
            return min(BRISK_INTERVAL_S, self.polling_interval)
        return self.polling_interval if idle_s < QUIET_AFTER_S else QUIET_INTERVAL_S

    def _tidy(self) -> None:
        now = time.monotonic()
        if now - self._tidied_at >= TIDY_INTERVAL_S:
            self._tidied_at = now
            self.mailbox.tidy(list(self._callbacks))
