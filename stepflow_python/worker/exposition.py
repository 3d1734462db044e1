"""What a worker counts, in the words of Prometheus."""

import logging
import threading
from collections.abc import Callable, Iterator
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.core import Metric as Family
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector
from typing_extensions import override

from stepflow_python.metrics import COUNTED, NAMESPACE, Kind, Metric, Samples

log = logging.getLogger(__name__)

OTHER: Final = "other"
"""The label of all tools that came when as many as may had labels of their own."""
TOOL: Final = "tool"


class PrometheusMeter:
    """Implements `metrics.Meter`; may be called from any thread.

    Args:
        tools: so many tools have a label of their own, the first to come; each costs some twenty time series.
    """

    def __init__(self, *, tools: int) -> None:
        # Else each series has a second one, with the time of its first value: of no use to anybody here.
        disable_created_metrics()
        self._registry = CollectorRegistry()
        self._made = {metric: _made(metric, self._registry) for metric in COUNTED}
        self._most_tools = tools
        self._tools: set[str] = set()
        self._door = threading.Lock()
        for metric, made in self._made.items():
            for value in metric.known:
                made.labels(value)
        ProcessCollector(registry=self._registry)

    def add(self, metric: Metric, *labels: str, amount: float = 1.0) -> None:
        """Count, or move a gauge up or down."""
        found = self._of(metric, labels)
        if isinstance(found, Counter | Gauge):
            found.inc(amount)

    def observe(self, metric: Metric, value: float, *labels: str) -> None:
        """Note a value of a histogram."""
        found = self._of(metric, labels)
        if isinstance(found, Histogram):
            found.observe(value)

    def ask(self, question: Callable[[], Samples]) -> None:
        """Have a question answered whenever somebody asks for the page."""
        self._registry.register(_Asked(question))

    def page(self) -> tuple[str, bytes]:
        """Content type and text of all that is known now."""
        return CONTENT_TYPE_LATEST, generate_latest(self._registry)

    def _of(self, metric: Metric, labels: tuple[str, ...]) -> Counter | Gauge | Histogram:
        made = self._made[metric]
        return made.labels(*self._bounded(metric, labels)) if metric.labels else made

    def _bounded(self, metric: Metric, labels: tuple[str, ...]) -> tuple[str, ...]:
        """The same labels, with a tool that is one too many among the others."""
        if TOOL not in metric.labels:
            return labels
        place = metric.labels.index(TOOL)
        return (*labels[:place], self._tool(labels[place]), *labels[place + 1 :])

    def _tool(self, name: str) -> str:
        with self._door:
            if name not in self._tools:
                if len(self._tools) >= self._most_tools:
                    return OTHER
                self._tools.add(name)
        return name


class _Asked(Collector):
    """Answers of one question as families of samples."""

    def __init__(self, question: Callable[[], Samples]) -> None:
        self._question = question

    @override
    def collect(self) -> Iterator[Family]:
        try:
            samples = self._question()
        except Exception:  # what cannot be told now must not hide the rest of the page
            log.warning("a part of the metrics cannot be told now", exc_info=True)
            return
        families: dict[Metric, CounterMetricFamily | GaugeMetricFamily] = {}
        for metric, labels, value in samples:
            if metric not in families:
                family = CounterMetricFamily if metric.kind is Kind.COUNTER else GaugeMetricFamily
                families[metric] = family(f"{NAMESPACE}_{metric.name}", metric.help, labels=metric.labels)
            families[metric].add_metric(labels, value)
        yield from families.values()


def _made(metric: Metric, registry: CollectorRegistry) -> Counter | Gauge | Histogram:
    name, labels = f"{NAMESPACE}_{metric.name}", metric.labels
    if metric.kind is Kind.HISTOGRAM:
        return Histogram(name, metric.help, labels, buckets=metric.buckets, registry=registry)
    if metric.kind is Kind.COUNTER:
        return Counter(name, metric.help, labels, registry=registry)
    return Gauge(name, metric.help, labels, registry=registry)
