"""What a worker looks up when somebody asks for its metrics."""

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version

from celery import Celery
from sqlalchemy.engine import make_url

from stepflow_python.config import Settings
from stepflow_python.errors import InternalError
from stepflow_python.messaging.app import broker_scheme
from stepflow_python.messaging.dispatch import CeleryDispatcher
from stepflow_python.metrics import QUEUE_LENGTH, READY, SLOTS, WORKER_INFO, Metric, Samples
from stepflow_python.ports import IsolationReport
from stepflow_python.worker.health import Check, holds

BROKER = "broker"
"""The check that says whether the broker answers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A worker, as far as its metrics tell of it; `queues` are comma-separated names."""

    settings: Settings
    app: Celery
    isolation: IsolationReport
    slots: int
    queues: str

    def samples(self, checks: Mapping[str, Check]) -> Samples:
        """What is so now; queues are left out while the broker is away."""
        held = {name: holds(check) for name, check in checks.items()}
        found: list[tuple[Metric, tuple[str, ...], float]] = [
            (WORKER_INFO, self._info(), 1.0),
            (SLOTS, (), float(self.slots)),
            *((READY, (name,), float(holding)) for name, holding in held.items()),
        ]
        if held.get(BROKER):
            found += ((QUEUE_LENGTH, (queue,), float(depth)) for queue, depth in self._depths())
        return found

    def _info(self) -> tuple[str, ...]:
        record = make_url(self.settings.database).get_backend_name()
        tier, memory = self.isolation.tier.value, self.isolation.memory.value
        return version("stepflow-python"), tier, memory, broker_scheme(self.settings), record

    def _depths(self) -> Iterator[tuple[str, int]]:
        dispatcher = CeleryDispatcher(self.app, self.settings)
        for queue in filter(None, map(str.strip, self.queues.split(","))):
            try:
                yield queue, asyncio.run(dispatcher.depth(queue))
            except InternalError:
                return
