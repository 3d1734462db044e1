"""Tying up loose ends: what died is run again or ended, and what seems not to be on its way is sent again."""

import asyncio
import logging
import random
from collections.abc import Sequence

from stepflow_python.errors import PythonError
from stepflow_python.messages import Delivery, Dispatcher, Loose

PERIOD_S = 2.0

log = logging.getLogger(__name__)


async def reconcile_for_ever(loose: Loose, dispatcher: Dispatcher) -> None:
    """Reconcile every two seconds or so; a record or broker that is away is asked again the next time."""
    while True:
        # Workers that start together need not all look at the same moment.
        await asyncio.sleep(random.uniform(PERIOD_S / 2, PERIOD_S * 1.5))  # noqa: S311 - spreads load, hides nothing
        try:
            await reconcile_once(loose, dispatcher)
        except PythonError as error:
            log.warning("loose ends are left until the next look: %s", error)


async def reconcile_once(loose: Loose, dispatcher: Dispatcher) -> int:
    """End what nobody can run again, send what somebody can; how many messages were sent.

    Raises:
        DatabaseError: the record cannot be read or written.
        InternalError: the broker cannot be reached.
    """
    await loose.end_abandoned()
    # They have had their turn, and their worker died in it.
    sent = await _send(await loose.take_abandoned(), dispatcher, first=True)
    for queue, waiting in (await loose.waiting()).items():
        # As many messages as executions: they are all there, and only wait for their turn.
        if await dispatcher.depth(queue) < waiting:
            sent += await _send(await loose.take_due(queue), dispatcher)
    return sent


async def _send(deliveries: Sequence[Delivery], dispatcher: Dispatcher, *, first: bool = False) -> int:
    for delivery in deliveries:
        await dispatcher.send(delivery, first=first)
    if deliveries:
        log.info("%d messages were sent again", len(deliveries))
    return len(deliveries)
