"""Unusable requests on the record."""

from pathlib import Path

from support.records import with_store

from stepflow_python.errors import ParseError
from stepflow_python.jobs.refusing import refuse
from stepflow_python.model.request import ExecutionRequest
from stepflow_python.model.result import ExecutionResult, Status
from stepflow_python.ports import Attempt
from stepflow_python.store.opening import Store

ERROR = ParseError("timeout: not a number", line=3)


def url_in(folder: Path) -> str:
    """An empty record in a folder."""
    return f"sqlite:///{folder / 'record.db'}"


def test_a_refusal_is_on_record(tmp_path: Path) -> None:
    """It ends as rejected under its id, with the error; under a new id where it has none."""

    async def scenario(store: Store) -> None:
        for execution_id in ("mine", None):
            refused = await refuse(execution_id, ERROR, ledger=store.ledger)
            record = await store.history.get(refused.execution_id)
            assert record is not None
            assert record.result == refused
            assert refused.status is Status.REJECTED
            assert refused.error is not None
            assert (refused.error.message, refused.error.line) == (ERROR.message, 3)
            assert execution_id in {refused.execution_id, None}

    with_store(url_in(tmp_path), scenario)


def test_a_queued_execution_ends(tmp_path: Path) -> None:
    """A step of a chain that was recorded first, and whose message turns out to be unusable, is not left waiting."""

    async def scenario(store: Store) -> None:
        await store.ledger.enqueue(ExecutionRequest(execution_id="step", step_id="second", code="1"))
        assert (await refuse("step", ERROR, ledger=store.ledger)).status is Status.REJECTED
        record = await store.history.get("step")
        assert record is not None
        assert (record.status, record.step_id) == (Status.REJECTED, "second")

    with_store(url_in(tmp_path), scenario)


def test_what_runs_or_has_ended_stays_as_it_is(tmp_path: Path) -> None:
    """A bad message neither ends somebody's run nor changes how one ended: then its result comes back."""

    async def scenario(store: Store) -> None:
        request = ExecutionRequest(execution_id="good", code="1")
        claim = await store.ledger.claim(request)
        assert (await refuse("good", ERROR, ledger=store.ledger)).status is Status.REJECTED
        record = await store.history.get("good")
        assert record is not None
        assert (record.status, record.attempts) == (Status.RUNNING, 1)
        done = ExecutionResult(execution_id="good", status=Status.SUCCEEDED, attempt=claim.attempt or 0)
        ended = await store.ledger.finish(Attempt(request=request, result=done))
        assert await refuse("good", ERROR, ledger=store.ledger) == ended

    with_store(url_in(tmp_path), scenario)
