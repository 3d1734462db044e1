"""Opening and closing the record."""

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest
from support.records import request, with_store

from stepflow_python.errors import DatabaseError
from stepflow_python.store.opening import open_store


def test_it_makes_what_is_missing(tmp_path: Path) -> None:
    """A record that is not there is made, folder and all."""
    url = f"sqlite:///{tmp_path}/new/record.db"
    with_store(url, lambda store: store.ledger.enqueue(request()))
    assert with_store(url, lambda store: store.history.get("one")) is not None


def test_it_names_the_worker(sqlite_url: str) -> None:
    """A worker has the name that it was given, or one of its own that nobody else has."""

    async def names() -> tuple[str, str, str]:
        async with (
            open_store(sqlite_url, worker_id="me") as first,
            open_store(sqlite_url) as second,
            open_store(sqlite_url) as third,
        ):
            return first.ledger.worker_id, second.ledger.worker_id, third.ledger.worker_id

    given, one, other = asyncio.run(names())
    assert given == "me"
    assert one != other


def test_a_closed_record_refuses(sqlite_url: str) -> None:
    """Writing to a record that was closed is an error in words."""

    async def scenario() -> None:
        async with open_store(sqlite_url) as store:
            pass
        with pytest.raises(DatabaseError, match="the record is closed"):
            await store.ledger.enqueue(request())

    asyncio.run(scenario())


def test_a_current_record_opens_without_the_migrations(sqlite_url: str) -> None:
    """Opening what needs no upgrade does not load the library of migrations, which takes longer than a quick run."""
    code = (
        "import asyncio, sys\n"
        "from stepflow_python.store.opening import open_store\n"
        "async def main():\n"
        f"    async with open_store({sqlite_url!r}): print('alembic' in sys.modules)\n"
        "asyncio.run(main())"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "False"
