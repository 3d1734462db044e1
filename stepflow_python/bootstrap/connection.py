"""What a caller of workers needs: the record and the broker, no sandbox, no environments."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

from stepflow_python.config import Settings
from stepflow_python.ports import Dispatcher, History, Ledger


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """An open record and a way to the workers."""

    settings: Settings
    ledger: Ledger
    history: History
    dispatcher: Dispatcher


@asynccontextmanager
async def open_connection(settings: Settings, *, environ: Mapping[str, str]) -> AsyncIterator[Connection]:
    """Open the record and prepare the broker's connection, which is made when the first message is sent.

    Raises:
        DatabaseError: the record cannot be opened.
    """
