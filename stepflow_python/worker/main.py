"""Starts, announces and stops a Celery worker."""

import contextlib
import os
import signal
import socket
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from celery import Celery, signals
from celery.apps.worker import Worker
from celery.exceptions import ImproperlyConfigured, SecurityWarning
from celery.platforms import EX_FAILURE, EX_OK
from celery.worker import state
from sqlalchemy.engine import make_url

from stepflow_python.config import Settings
from stepflow_python.errors import ConfigurationError
from stepflow_python.messaging.app import broker_name, make_app
from stepflow_python.messaging.transport import Transport
from stepflow_python.ports import IsolationReport
from stepflow_python.worker.tasks import Jobs, register

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerOptions:
    """How a worker differs from its settings; none takes the settings' value. `queues` are comma-separated names."""

    concurrency: int | None = None
    queues: str | None = None


def run_worker(
    settings: Settings,
    *,
    jobs: Jobs,
    isolation: IsolationReport,
    announce: Callable[[str], None],
    options: WorkerOptions | None = None,
) -> int:
    """Work until a signal: the first SIGTERM or SIGINT lets running jobs finish, the second gives them back.

    To be called in the main thread, where signals arrive.

    Args:
        settings: of this process.
        jobs: the work.
        isolation: what is announced of it.
        announce: told one line when the worker takes messages.
        options: from the command line.

    Returns:
        The exit code: 0 after a clean stop.

    Raises:
        ConfigurationError: a queue's name is unusable.
    """
    options = options or WorkerOptions()
    concurrency = options.concurrency or settings.concurrency
    queues = options.queues or settings.queue
    app = make_app(settings)
    register(app, jobs)
    worker = _worker(app, settings, concurrency=concurrency, queues=queues)
    line = start_line(settings, isolation, concurrency=concurrency, queues=queues)

    def ready(**_kwargs: object) -> None:
        for number in STOP_SIGNALS:
            signal.signal(number, lambda _number, _frame: _stop_warm(worker))
        announce(line)

    with _connected(signals.worker_ready, ready):
        worker.start()
    return EX_OK if worker.exitcode is None else int(worker.exitcode)


def start_line(settings: Settings, isolation: IsolationReport, *, concurrency: int, queues: str) -> str:
    """The one line that says what a worker works with; no passwords."""
    url = make_url(settings.database)
    is_file = url.get_backend_name() == "sqlite" and url.database
    database = f"sqlite ({url.database})" if is_file else url.render_as_string(hide_password=True)
    parts = (
        f"broker {broker_name(settings)}",
        f"database {database}",
        f"isolation {isolation.tier.value}, memory {isolation.memory.value}",
        f"concurrency {concurrency}",
        f"queue {queues}",
    )
    return "stepflow worker: " + " | ".join(parts)


def _worker(app: Celery, settings: Settings, *, concurrency: int, queues: str) -> Worker:
    # Neighbours on one host need no gossip about each other, and a file needs no heartbeat.
    alone = dict.fromkeys(("without_mingle", "without_gossip", "without_heartbeat"), settings.embedded_broker)
    with warnings.catch_warnings():
        # Celery warns of root; here tools never run as root, whoever starts the worker.
        warnings.simplefilter("ignore", SecurityWarning)
        try:
            worker: Worker = app.Worker(
                # Two workers of one name would read each other's remote control.
                hostname=f"stepflow-{os.getpid()}@{socket.gethostname()}",
                concurrency=concurrency,
                queues=queues,
                loglevel=settings.log_level,
                quiet=True,
                **alone,
            )
        except ImproperlyConfigured as error:
            raise ConfigurationError(f"queues {queues!r}: {error}") from error
    return worker


def _stop_warm(worker: Worker) -> None:
    for number in STOP_SIGNALS:
        signal.signal(number, lambda _number, _frame: _stop_cold(worker))
    state.should_stop = EX_OK
    transport = getattr(getattr(worker.consumer, "connection", None), "transport", None)
    if isinstance(transport, Transport):
        transport.interrupt()  # else it would notice after its poll of two seconds


def _stop_cold(worker: Worker) -> None:
    """Leave at once; runs die with this process, and their messages are delivered again elsewhere."""
    with contextlib.suppress(Exception):  # whatever the connection's state, the next line ends the process
        worker.consumer.connection.close()
    os._exit(EX_FAILURE)


@contextlib.contextmanager
def _connected(source: signals.Signal, receiver: Callable[..., None]) -> Iterator[None]:
    source.connect(receiver, weak=False)
    try:
        yield
    finally:
        source.disconnect(receiver)
