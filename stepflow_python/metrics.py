"""What a worker counts, by the names that operators see; how the counts are shown is not known here.

Durations in seconds, sizes in bytes, as Prometheus wants them. A test holds the dashboard in `examples` to these names.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

NAMESPACE = "stepflow"

QUICK_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
LONG_S = (0.005, 0.025, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 1800.0)
SIZES = tuple(float(mib << 20) for mib in (16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384))


class Kind(StrEnum):
    """How a metric is added up."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One thing that is counted; `buckets` are upper bounds of a histogram.

    `known` are values of its label that are shown from the start: what has not happened yet is 0, not missing.
    """

    name: str
    help: str
    kind: Kind = Kind.COUNTER
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()
    known: tuple[str, ...] = ()

    @property
    def full_name(self) -> str:
        """As it is exposed and queried; a counter ends in `_total`."""
        return f"{NAMESPACE}_{self.name}" + ("_total" if self.kind is Kind.COUNTER else "")


EXECUTIONS = Metric(name="executions", help="Executions that ended here.", labels=("tool", "status"))
EXECUTION_S = Metric(
    name="execution_seconds",
    help="From the start of a run to its end.",
    kind=Kind.HISTOGRAM,
    labels=("tool",),
    buckets=LONG_S,
)
CPU_S = Metric(name="cpu_seconds", help="CPU time of runs.", labels=("tool",))
MEMORY = Metric(name="memory_peak_bytes", help="Peak memory of a run.", kind=Kind.HISTOGRAM, buckets=SIZES)
RUNS = Metric(name="runs", help="Runs by how they were isolated and whose process they got.", labels=("tier", "start"))
DISPATCH_S = Metric(
    name="dispatch_seconds",
    help="From the start of a run to the tool's first line.",
    kind=Kind.HISTOGRAM,
    labels=("start",),
    buckets=QUICK_S,
)
QUEUE_WAIT_S = Metric(
    name="queue_wait_seconds",
    help="From queueing to the start of the first attempt.",
    kind=Kind.HISTOGRAM,
    buckets=LONG_S,
)
RUNNING = Metric(name="running", help="Executions that run here now.", kind=Kind.GAUGE)
STOPPED, LATER = "worker_stopped", "may_pass_later"
RETRIES = Metric(
    name="retries",
    help="Attempts after which an execution was queued again.",
    labels=("why",),
    known=(STOPPED, LATER),
)
TAKEN_OVER = Metric(name="leases_taken_over", help="Executions taken over from a worker that fell silent.")
RECORD_S = Metric(
    name="record_seconds",
    help="How long the record took to answer.",
    kind=Kind.HISTOGRAM,
    labels=("operation",),
    buckets=QUICK_S,
)
RECORD_ERRORS = Metric(
    name="record_errors",
    help="Times that the record failed.",
    labels=("operation",),
    known=("enqueue", "claim", "finish", "give_back", "cancel", "wishes"),
)
ENVIRONMENTS = Metric(
    name="environments",
    help="Environments by how they were had.",
    labels=("outcome",),
    known=("found", "waited", "built", "failed"),
)
ENVIRONMENT_STEP_S = Metric(
    name="environment_step_seconds",
    help="How long each step on the way to an environment took.",
    kind=Kind.HISTOGRAM,
    labels=("step",),
    buckets=LONG_S,
)
INSTALLED = Metric(name="dependencies_installed", help="Packages installed into environments.")

COUNTED: tuple[Metric, ...] = (
    *(EXECUTIONS, EXECUTION_S, CPU_S, MEMORY, RUNS, DISPATCH_S, QUEUE_WAIT_S, RUNNING, RETRIES, TAKEN_OVER),
    *(RECORD_S, RECORD_ERRORS, ENVIRONMENTS, ENVIRONMENT_STEP_S, INSTALLED),
)
"""What is counted when it happens."""

SLOTS = Metric(name="slots", help="Executions that may run here at a time.", kind=Kind.GAUGE)
QUEUE_LENGTH = Metric(name="queue_length", help="Messages that wait in the broker.", kind=Kind.GAUGE, labels=("queue",))
READY = Metric(name="ready", help="1 where a check of /ready holds.", kind=Kind.GAUGE, labels=("check",))
WARM_POOL = Metric(name="warm_pool_events", help="What happened among processes that wait.", labels=("event",))
WORKER_INFO = Metric(
    name="worker_info",
    help="1, with what this worker is.",
    kind=Kind.GAUGE,
    labels=("version", "tier", "memory", "broker", "record"),
)

ASKED: tuple[Metric, ...] = (SLOTS, QUEUE_LENGTH, READY, WARM_POOL, WORKER_INFO)
"""What is looked up when somebody asks."""


class Meter(Protocol):
    """Counts; never raises. Labels are in the order of the metric's own."""

    def add(self, metric: Metric, *labels: str, amount: float = 1.0) -> None:
        """Count, or move a gauge up or down."""

    def observe(self, metric: Metric, value: float, *labels: str) -> None:
        """Note a value of a histogram."""


Samples = Sequence[tuple[Metric, tuple[str, ...], float]]
"""What is so now: metric, labels, value."""
