"""What a caller of workers needs: the record and the broker, no sandbox, no environments."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from stepflow_python.config import Settings
from stepflow_python.messages import Dispatcher, Live, Loose, News
from stepflow_python.messaging.app import make_app
from stepflow_python.messaging.dispatch import CeleryDispatcher
from stepflow_python.ports import History, Ledger
from stepflow_python.store.ledger import Bounds
from stepflow_python.store.opening import open_store


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """An open record and a way to the workers."""

    settings: Settings
    ledger: Ledger
    history: History
    dispatcher: Dispatcher
    loose: Loose
    live: Live
    news: News


@asynccontextmanager
async def open_connection(settings: Settings) -> AsyncIterator[Connection]:
    """Open the record and prepare the broker's connection, which is made when the first message is sent.

    Raises:
        DatabaseError: the record cannot be opened.
    """
    async with open_store(settings.database, bounds=Bounds(queued=settings.max_queued)) as store:
        yield Connection(
            settings=settings,
            ledger=store.ledger,
            history=store.history,
            loose=store.loose,
            live=store.live,
            news=store.news,
            dispatcher=CeleryDispatcher(make_app(settings), settings),
        )
