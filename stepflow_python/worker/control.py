"""Celery's `revoke`, and messages that expire, as wishes to cancel: on record, and for runs on any pool."""

import contextlib
from collections.abc import Iterator
from typing import Any

from celery import Task, signals
from celery.app.task import Context
from celery.utils.functional import maybe_list
from celery.worker import state as worker_state
from celery.worker.control import Panel
from celery.worker.request import Request

from stepflow_python.jobs.payload import execution_id_of
from stepflow_python.messaging.app import EXECUTE
from stepflow_python.worker.tasks import Jobs

REVOKE = "revoke"


@contextlib.contextmanager
def revoking(jobs: Jobs) -> Iterator[None]:
    """Meanwhile a revoked or expired task's execution is cancelled; with `terminate` also one that runs.

    Celery's own `terminate` ends processes of its pool; here tools run in boxes, which are ended by way of the record.
    """
    original = Panel.data[REVOKE]

    def revoke(state: Any, task_id: Any, terminate: bool = False, signal: Any = None, **kwargs: Any) -> Any:  # noqa: ANN401, ARG001, FBT001, FBT002 - Celery's signature
        for known in _execution_ids(maybe_list(task_id) or []):
            jobs.cancel(known, running=terminate)
        return original(state, task_id, terminate=False, **kwargs)

    def dropped(sender: Task, request: Context, **_kwargs: object) -> None:
        if sender.name == EXECUTE:
            jobs.drop(request.args[-1] if request.args else None)

    Panel.data[REVOKE] = revoke
    signals.task_revoked.connect(dropped, weak=False)
    try:
        yield
    finally:
        signals.task_revoked.disconnect(dropped)
        Panel.data[REVOKE] = original


def _execution_ids(task_ids: list[str]) -> Iterator[str]:
    """A client of ours gives both the same id; others are looked up among the messages that this worker holds."""
    held = {request.id: request for request in [*worker_state.reserved_requests, *worker_state.active_requests]}
    for task_id in task_ids:
        request = held.get(task_id)
        yield (_execution_id(request) if request is not None else None) or task_id


def _execution_id(request: Request) -> str | None:
    return execution_id_of(request.args[-1]) if request.args else None
