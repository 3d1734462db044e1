"""Starts, announces and stops a Celery worker."""

import contextlib
import os
import signal
import socket
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from celery import Celery, signals
from celery.apps.worker import Worker
from celery.bootsteps import RUN
from celery.exceptions import ImproperlyConfigured, SecurityWarning
from celery.platforms import EX_FAILURE, EX_OK
from celery.worker import state
from sqlalchemy.engine import make_url

from stepflow_python.config import Settings
from stepflow_python.errors import ConfigurationError
from stepflow_python.messaging.app import broker_name, make_app
from stepflow_python.messaging.transport import Transport
from stepflow_python.ports import IsolationReport
from stepflow_python.worker.asked import Asked
from stepflow_python.worker.control import revoking
from stepflow_python.worker.health import Check, health_server
from stepflow_python.worker.tasks import Jobs, register

if TYPE_CHECKING:
    from stepflow_python.worker.exposition import PrometheusMeter

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerOptions:
    """How a worker differs from its settings; none takes the settings' value. `queues` are comma-separated names.

    With a `health_port` it answers there whether it lives and is ready, as `checks` and its own state say, and, with a
    `meter`, what it counted.
    """

    concurrency: int | None = None
    queues: str | None = None
    health_port: int | None = None
    checks: Mapping[str, Check] = field(default_factory=dict)
    meter: "PrometheusMeter | None" = None


def run_worker(
    settings: Settings,
    *,
    jobs: Jobs,
    isolation: IsolationReport,
    announce: Callable[[str], None],
    options: WorkerOptions | None = None,
) -> int:
    """Work until a signal: the first SIGTERM or SIGINT lets running jobs finish, the second gives them back at once.

    Jobs that have not finished after the setting `stop_timeout` are handed back: their runs end, others run them again.

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
        ConfigurationError: a queue's name is unusable, or the port for health is.
    """
    options = options or WorkerOptions()
    concurrency = options.concurrency or settings.concurrency
    queues = options.queues or settings.queue
    app = make_app(settings)
    register(app, jobs)
    worker = _worker(app, settings, concurrency=concurrency, queues=queues)
    line = start_line(settings, isolation, concurrency=concurrency, queues=queues)

    stopper = Stopper(worker, jobs, timeout_s=settings.stop_timeout)

    def ready(**_kwargs: object) -> None:
        stopper.listen()
        announce(line)

    with contextlib.ExitStack() as stack:
        if options.health_port is not None:
            checks, pages = _checks(worker, options.checks), {}
            if options.meter is not None:
                asked = Asked(settings=settings, app=app, isolation=isolation, slots=concurrency, queues=queues)
                options.meter.ask(lambda: asked.samples(checks["ready"]))
                pages["metrics"] = options.meter.page
            stack.enter_context(health_server(options.health_port, checks, pages))
        stack.enter_context(revoking(jobs))
        stack.enter_context(_connected(signals.worker_ready, ready))
        stack.callback(stopper.done)
        worker.start()
    return EX_OK if worker.exitcode is None else int(worker.exitcode)


def _checks(worker: Worker, given: Mapping[str, Check]) -> dict[str, Mapping[str, Check]]:
    """It lives while its loop answers; it is ready while it takes messages and its record answers."""

    def connected() -> bool:
        return bool(worker.consumer.connection.connected)

    def taking() -> bool:
        return worker.consumer.blueprint.state == RUN and state.should_stop is None

    return {
        "live": {name: check for name, check in given.items() if name == "loop"},
        "ready": {**given, "broker": connected, "taking": taking},
    }


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
    # Neighbours on one host need no gossip about each other. Heartbeats stay: without them no monitor sees the worker.
    alone = dict.fromkeys(("without_mingle", "without_gossip"), settings.embedded_broker)
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


class Stopper:
    """What signals do to a worker, from the moment it takes messages."""

    def __init__(self, worker: Worker, jobs: Jobs, *, timeout_s: float) -> None:
        self._worker = worker
        self._patience = threading.Timer(timeout_s, jobs.hand_back)
        self._patience.daemon = True

    def listen(self) -> None:
        """Handle the signals that stop."""
        for number in STOP_SIGNALS:
            signal.signal(number, lambda _number, _frame: self._stop_warm())

    def done(self) -> None:
        """The worker has ended; nothing is left to hand back."""
        self._patience.cancel()

    def _stop_warm(self) -> None:
        for number in STOP_SIGNALS:
            signal.signal(number, lambda _number, _frame: self._stop_cold())
        state.should_stop = EX_OK
        self._patience.start()
        transport = getattr(getattr(self._worker.consumer, "connection", None), "transport", None)
        if isinstance(transport, Transport):
            transport.interrupt()  # else it would notice after its poll of two seconds

    def _stop_cold(self) -> None:
        """Leave at once; runs die with this process, and their messages are delivered again elsewhere."""
        with contextlib.suppress(Exception):  # whatever the connection's state, the next line ends the process
            self._worker.consumer.connection.close()
        os._exit(EX_FAILURE)


@contextlib.contextmanager
def _connected(source: signals.Signal, receiver: Callable[..., None]) -> Iterator[None]:
    source.connect(receiver, weak=False)
    try:
        yield
    finally:
        source.disconnect(receiver)
