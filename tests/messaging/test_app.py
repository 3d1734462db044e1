from pathlib import Path

import pytest
from celery import current_app

from stepflow_python.config import Settings
from stepflow_python.messaging.app import broker_name, make_app, sent_priority
from stepflow_python.messaging.transport import Transport


def settings(url: str = "embedded", **fields: object) -> Settings:
    """Settings with a broker."""
    return Settings.model_validate({"home": Path("/srv/stepflow"), "broker_url": url} | fields)


def test_the_embedded_broker_is_the_default() -> None:
    """It lies below the home folder."""
    connection = make_app(settings()).connection()
    assert connection.transport_cls is not None
    assert isinstance(connection.transport, Transport)
    assert connection.as_uri() == "stepflow:///srv/stepflow/broker.db"


def test_work_survives_its_worker() -> None:
    """Acknowledged late, one message for each slot, JSON only."""
    conf = make_app(settings(concurrency=3)).conf
    assert (conf.task_acks_late, conf.task_reject_on_worker_lost, conf.worker_prefetch_multiplier) == (True, True, 1)
    assert (conf.accept_content, conf.worker_pool, conf.worker_concurrency) == (["json"], "threads", 3)


def test_results_are_kept_only_where_asked_for() -> None:
    """Without a result backend none are sent."""
    assert make_app(settings()).conf.task_ignore_result is True
    assert make_app(settings(result_backend="db+sqlite:///x")).conf.task_ignore_result is False


def test_redis_waits_longer_than_the_longest_run() -> None:
    """Else a long run would be delivered a second time while it runs."""
    conf = make_app(settings("redis://localhost/1", max_execution_time=7200)).conf
    assert conf.broker_transport_options["visibility_timeout"] > 7200


def test_rabbitmq_gets_quorum_queues() -> None:
    """The queue that is declared survives a node."""
    app = make_app(settings("amqp://localhost//", queue="jobs"))
    assert app.amqp.queues["jobs"].queue_arguments == {"x-queue-type": "quorum"}


@pytest.mark.parametrize(("url", "sent"), [("embedded", 7), ("amqp://h//", 7), ("redis://h/0", 2), ("rediss://h/0", 2)])
def test_nine_is_first_everywhere(url: str, sent: int) -> None:
    """Redis queues serve low numbers first."""
    assert sent_priority(settings(url), 7) == sent


def test_passwords_are_hidden() -> None:
    """The broker is named in start lines and errors."""
    name = broker_name(settings("redis://user:secret@host:6379/0"))
    assert "secret" not in name
    assert "host:6379" in name
    assert broker_name(settings()) == "embedded (/srv/stepflow/broker.db)"


def test_making_an_app_changes_nothing_global() -> None:
    """A program that has a Celery application of its own keeps it."""
    before = current_app._get_current_object()
    assert make_app(settings()) is not before
    assert current_app._get_current_object() is before
