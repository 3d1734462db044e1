"""The Celery application, configured from settings; none is made at import."""

import socket
from typing import Any
from urllib.parse import urlsplit

from celery import Celery
from kombu.utils.url import maybe_sanitize_url

from stepflow_python.config import Settings
from stepflow_python.messaging.transport import CLASS_PATH, broker_url

EXECUTE = "stepflow.execute"
REDIS_SCHEMES = frozenset({"redis", "rediss", "sentinel"})
AMQP_SCHEMES = frozenset({"amqp", "amqps", "pyamqp"})
HEARTBEAT_S = 20
"""RabbitMQ gives back what a silent worker held after twice this."""
# A host that is cut off says nothing: it is noticed within half a minute, and not when TCP gives up.
KEEPALIVE = {
    socket.TCP_KEEPIDLE: 10,
    socket.TCP_KEEPINTVL: 5,
    socket.TCP_KEEPCNT: 3,
    socket.TCP_USER_TIMEOUT: 20_000,
}
REDELIVERY_MARGIN_S = 600
"""Over the longest run: time to build its environment, and to record it."""


def make_app(settings: Settings) -> Celery:
    """A Celery application for clients and workers of these settings.

    JSON only. Messages are acknowledged after the work, so that a worker's death gives them back. Results stay in the
    record; a result backend is for `.get()` and chords only.
    """
    app = Celery("stepflow", broker=_url(settings), backend=settings.result_backend or None, set_as_current=False)
    app.conf.update(
        accept_content=["json"],
        task_serializer="json",
        result_serializer="json",
        task_default_queue=settings.queue,
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        task_ignore_result=not settings.result_backend,
        task_track_started=False,
        worker_pool="threads",
        worker_concurrency=settings.concurrency,
        worker_prefetch_multiplier=1,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        worker_send_task_events=False,
        broker_connection_retry_on_startup=True,
        broker_connection_timeout=5.0,
        # Celery's own default is to leave after a hundred tries.
        broker_connection_max_retries=None,
        task_annotations={EXECUTE: {"rate_limit": settings.start_rate}} if settings.start_rate else None,
    )
    app.conf.update(_for_broker(settings))
    return app


def broker_name(settings: Settings) -> str:
    """The broker for people to read: no password."""
    if settings.embedded_broker:
        return f"embedded ({settings.broker_path})"
    return str(maybe_sanitize_url(settings.broker_url))


def broker_scheme(settings: Settings) -> str:
    """The kind of broker: `embedded`, or the scheme of its URL."""
    return "embedded" if settings.embedded_broker else urlsplit(settings.broker_url).scheme.lower()


def sent_priority(settings: Settings, priority: int) -> int:
    """A request's priority (9 first) as the broker counts: Redis queues serve 0 first."""
    return 9 - priority if broker_scheme(settings) in REDIS_SCHEMES else priority


def _url(settings: Settings) -> str:
    return broker_url(settings.broker_path) if settings.embedded_broker else settings.broker_url


def _for_broker(settings: Settings) -> dict[str, Any]:
    scheme = broker_scheme(settings)
    if scheme == "embedded":
        return {"broker_transport": CLASS_PATH}
    if scheme in REDIS_SCHEMES:
        # Redis delivers again what is not acknowledged in time, even while it runs.
        timeout = settings.max_execution_time + REDELIVERY_MARGIN_S
        return {
            "broker_transport_options": {
                "visibility_timeout": int(timeout),
                "priority_steps": list(range(10)),
                "queue_order_strategy": "priority",
                "health_check_interval": HEARTBEAT_S,
                "socket_keepalive": True,
                "socket_keepalive_options": KEEPALIVE,
            }
        }
    if scheme in AMQP_SCHEMES:
        # Quorum queues survive a node; a direct exchange can't route their delayed deliveries.
        return {
            "task_default_queue_type": "quorum",
            "task_default_exchange_type": "topic",
            "broker_heartbeat": HEARTBEAT_S,
            # An exclusive queue is locked by a connection that the server does not know to be dead: a worker that was
            # cut off could not take its own again, and would end.
            "control_queue_exclusive": False,
            "control_queue_durable": True,
        }
    return {}
