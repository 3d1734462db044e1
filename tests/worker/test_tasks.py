from typing import Any

import pytest
from celery import Celery
from celery.exceptions import Reject, Retry
from kombu.exceptions import OperationalError
from kombu.transport.native_delayed_delivery import calculate_routing_key

from stepflow_python.errors import DatabaseError, ParseError, PythonError
from stepflow_python.jobs.job import TryLaterError
from stepflow_python.messages import Delivered
from stepflow_python.messaging.app import EXECUTE
from stepflow_python.messaging.dispatch import CLEANUP, LONGEST_DELAY_S, PROVISION
from stepflow_python.worker.tasks import delivery_of, register


class Echo:
    """Jobs that reply with what they got, or fail."""

    def __init__(self, error: Exception | None = None) -> None:
        self._error = error

    def execute(self, payload: object, previous: object | None, delivery: Delivered | None) -> dict[str, Any]:  # noqa: ARG002 - the contract
        """Reply with both."""
        return self._reply(payload=payload, previous=previous)

    def cancel(self, execution_id: str, *, running: bool) -> None:
        """Nothing that could be stopped."""

    def drop(self, payload: object) -> None:
        """Nothing to record."""

    def hand_back(self) -> None:
        """Nothing that could be handed back."""

    def provision(self, payload: object) -> dict[str, Any]:
        """Reply with it."""
        return self._reply(provision=payload)

    def cleanup(self, payload: object) -> dict[str, Any]:
        """Reply with it."""
        return self._reply(cleanup=payload)

    def _reply(self, **values: object) -> dict[str, Any]:
        if self._error:
            raise self._error
        return values


def app(error: PythonError | None = None) -> Celery:
    """An application with the tasks on it."""
    made = Celery("t", broker="memory://", set_as_current=False)
    register(made, Echo(error))
    return made


def test_each_task_passes_its_payload_on() -> None:
    """Three tasks, by their names."""
    tasks = app().tasks
    assert tasks[EXECUTE]({"a": 1}) == {"payload": {"a": 1}, "previous": None}
    assert tasks[PROVISION]({"a": 1}) == {"provision": {"a": 1}}
    assert tasks[CLEANUP]({"a": 1}) == {"cleanup": {"a": 1}}


def test_a_predecessors_result_comes_first() -> None:
    """As a chain passes it."""
    assert app().tasks[EXECUTE]([1, 2], {"a": 1}) == {"payload": {"a": 1}, "previous": [1, 2]}


@pytest.mark.parametrize("count", [0, 3])
def test_another_number_of_arguments_is_no_request(count: int) -> None:
    """They are handed on as what they are, to be refused on record."""
    assert app().tasks[EXECUTE](*[{}] * count) == {"payload": [{}] * count, "previous": None}


@pytest.mark.parametrize("name", [EXECUTE, PROVISION, CLEANUP])
def test_our_own_faults_are_tried_again(name: str) -> None:
    """A database that is away for a moment costs a delay, not the job; the delay grows to a bound."""
    task = app(DatabaseError("locked")).tasks[name]
    task.push_request(args=[{}], kwargs={}, retries=7, is_eager=False, called_directly=False, id="x")
    task.apply_async = lambda *_args, **_kwargs: None
    with pytest.raises(Retry) as caught:
        task.run({})
    assert LONGEST_DELAY_S / 2 <= caught.value.when <= LONGEST_DELAY_S


def test_a_delay_is_what_every_broker_takes() -> None:
    """RabbitMQ's delays are whole seconds, one at least; at once stays at once."""
    for delay_s, countdown in ((0.4, 1.0), (2.5, 2.5), (0.0, 0.0)):
        task = app(TryLaterError("busy", delay_s=delay_s)).tasks[EXECUTE]
        task.push_request(args=[{}], kwargs={}, retries=0, is_eager=False, called_directly=False, id="x")
        task.apply_async = lambda *_args, **_kwargs: None
        with pytest.raises(Retry) as caught:
            task.run({})
        assert caught.value.when == countdown


def test_a_retry_that_cannot_be_sent_stays_with_the_broker() -> None:
    """Celery itself would have the message dropped."""
    application = app(DatabaseError("away"))
    task = application.tasks[EXECUTE]
    task.push_request(args=[{}], kwargs={}, retries=0, is_eager=False, called_directly=False, id="x")
    application.send_task = _no_broker
    application.amqp.send_task_message = _no_broker
    with pytest.raises(Reject) as caught:
        task.run({})
    assert caught.value.requeue is True
    assert isinstance(caught.value.__cause__, DatabaseError)


def _no_broker(*_args: object, **_kwargs: object) -> None:
    raise OperationalError("no broker")


def test_a_delayed_message_is_of_its_queue() -> None:
    """Its routing key says for how long it was delayed; what is sent again for it goes to the queue alone."""
    task = app().tasks[EXECUTE]
    info = {"routing_key": calculate_routing_key(5, "large")}
    task.push_request(args=[{}], kwargs={}, delivery_info=info, called_directly=False, id="x")
    delivery = delivery_of(task)
    assert delivery is not None
    assert delivery().queue == "large"


@pytest.mark.parametrize("name", [EXECUTE, PROVISION, CLEANUP])
def test_an_unusable_request_is_not_tried_again(name: str) -> None:
    """It would be refused again."""
    task = app(ParseError("no")).tasks[name]
    task.push_request(args=[{}], kwargs={}, retries=0, is_eager=False, called_directly=False, id="x")
    with pytest.raises(ParseError, match="no"):
        task.run({})
