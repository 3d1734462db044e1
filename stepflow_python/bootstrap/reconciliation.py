"""The record, brought in line with what is there: environments on the disk, and workers that live."""

import logging

from stepflow_python.environments.cache import EnvironmentCache
from stepflow_python.errors import PythonError
from stepflow_python.store.opening import Store

log = logging.getLogger(__name__)


async def reconcile(store: Store, cache: EnvironmentCache) -> None:
    """Record the environments that are there, retire those that are not; two quick looks where both agree.

    Whichever of the two was lost, the folders are right. A record that cannot be written now is brought in line by
    the next process: no tool fails for it.
    """
    try:
        there = cache.ids()
        known = await store.history.ready_environments(cache.path)
        for gone in known - there:
            await store.ledger.environment_removed(gone)
        if there - known:
            for environment in await cache.list():
                if environment.id not in known:
                    await store.ledger.environment_made(environment)
    except PythonError as error:
        log.warning("environments on record: %s", error)


async def tie_up(store: Store) -> None:
    """End executions whose process died and that nobody can run again, such as those of a command line."""
    try:
        await store.loose.end_abandoned()
    except PythonError as error:
        log.warning("abandoned executions: %s", error)
