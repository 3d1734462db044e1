"""The clock that leases are kept by: one that nobody sets.

On SQLite all processes share a host, and its time since boot is theirs: it goes on while the host sleeps, and a change
of the host's clock does not move it. A reading of another boot is in the past. On PostgreSQL it is the server's clock,
so that clocks of workers need not agree.
"""

import time
from pathlib import Path
from typing import Any

from sqlalchemy import Double, Text
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import GenericFunction

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
SERVER = "server"


class lease_now(GenericFunction[float]):  # noqa: N801 - named as it is in SQL
    """Seconds on the record's lease clock."""

    type = Double()
    inherit_cache = True


class lease_clock(GenericFunction[str]):  # noqa: N801 - named as it is in SQL
    """Which clock that is."""

    type = Text()
    inherit_cache = True


# A tool that was compiled for another database keeps the function's name: SQLite is given functions of these names.
@compiles(lease_now, "postgresql")
def _server_seconds(_element: object, _compiler: Any, **_kwargs: Any) -> str:  # noqa: ANN401 - as the library calls it
    return "extract(epoch from clock_timestamp())::float8"


@compiles(lease_clock, "postgresql")
def _server_name(_element: object, _compiler: Any, **_kwargs: Any) -> str:  # noqa: ANN401 - as the library calls it
    return f"'{SERVER}'"


def add_functions(connection: DBAPIConnection) -> None:
    """Give an SQLite connection both functions."""
    boot = boot_id()
    connection.create_function("lease_now", 0, seconds_since_boot)
    connection.create_function("lease_clock", 0, lambda: boot)


def seconds_since_boot() -> float:
    """Of this host; the same in all its processes."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def boot_id() -> str:
    """Names the time since this host was started."""
    return BOOT_ID.read_text(encoding="ascii").strip()
