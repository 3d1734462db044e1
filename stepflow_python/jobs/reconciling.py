"""Tying up loose ends: what died is run again or ended, and what seems not to be on its way is sent again."""

import asyncio
import logging
import random
from collections.abc import Sequence

from stepflow_python.errors import PythonError
from stepflow_python.messages import Delivery, Dispatcher, Loose

PERIOD_S = 2.0
LONGEST_PERIOD_S = 10.0

log = logging.getLogger(__name__)


async def reconcile_for_ever(loose: Loose, dispatcher: Dispatcher) -> None:
    """Reconcile every two seconds or so; less often while the record or the broker is away."""
    period_s, away = PERIOD_S, ""
    while True:
        # Workers that start together need not all look at the same moment.
        await asyncio.sleep(random.uniform(period_s / 2, period_s * 1.5))  # noqa: S311 - spreads load, hides nothing
        try:
            await reconcile_once(loose, dispatcher)
        except PythonError as error:
            period_s = min(period_s * 2, LONGEST_PERIOD_S)
            if error.message != away:
                away = error.message
                log.warning("loose ends are left until it is back: %s", error)
        else:
            if away:
                log.warning("loose ends are tied up again")
            period_s, away = PERIOD_S, ""


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
