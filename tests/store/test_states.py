"""The state machine, as a table and as the record keeps it."""

import asyncio
import itertools
import shutil
import sqlite3
import tempfile
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from support.records import attempt, request

from stepflow_python.errors import ExecutionError, InternalError
from stepflow_python.model.history import HistoryFilter
from stepflow_python.model.result import ExecutionResult, Status
from stepflow_python.ports import Claim
from stepflow_python.store.opening import open_store
from stepflow_python.store.states import ENDED, may_follow, sources_of

MAX_ATTEMPTS = 2
IDS = st.sampled_from(["one", "two"])


def test_nothing_leaves_an_end() -> None:
    """What has ended stays as it is."""
    assert not [pair for pair in itertools.product(ENDED, Status) if may_follow(*pair)]


def test_only_a_run_goes_back_to_the_queue() -> None:
    """Its worker gives it back; what has ended never runs again."""
    assert sources_of(Status.QUEUED) == (Status.RUNNING,)


@pytest.mark.parametrize("end", sorted(ENDED))
def test_every_end_can_come_of_a_run(end: Status) -> None:
    """A running execution may end in every way; a queued one only in those that need no run."""
    assert may_follow(Status.RUNNING, end)
    assert may_follow(Status.QUEUED, end) == (end in {Status.REJECTED, Status.CANCELLED, Status.FAILED})


@dataclass(slots=True)
class Expected:
    """What the record should say of one execution."""

    status: Status
    attempts: int = 0
    cancel: bool = False
    abandoned: bool = False
    result: ExecutionResult | None = None


class Life(RuleBasedStateMachine):
    """Any order of calls on a few executions, beside a model of what should come of it."""

    empty: Path

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.file = Path(self.folder.name) / "record.db"
        shutil.copy(self.empty, self.file)
        self.runner = asyncio.Runner()
        self.stack = AsyncExitStack()
        self.store = self.runner.run(self.stack.enter_async_context(open_store(f"sqlite:///{self.file}")))
        self.model: dict[str, Expected] = {}

    def teardown(self) -> None:
        """Close the record."""
        self.runner.run(self.stack.aclose())
        self.runner.close()
        self.folder.cleanup()

    def result_of(self, name: str) -> ExecutionResult | None:
        """What the record gives as the result."""
        record = self.runner.run(self.store.history.get(name))
        return record.result if record is not None else None

    @rule(name=IDS)
    def enqueue(self, name: str) -> None:
        """A client records it."""
        claim = self.runner.run(self.store.ledger.enqueue(request(name, max_attempts=MAX_ATTEMPTS)))
        expected = self.model.setdefault(name, Expected(Status.QUEUED))
        assert claim == Claim(result=expected.result)

    @rule(name=IDS)
    def claim(self, name: str) -> None:
        """A worker takes it."""
        claim = self.runner.run(self.store.ledger.claim(request(name, max_attempts=MAX_ATTEMPTS)))
        expected = self.model.setdefault(name, Expected(Status.QUEUED))
        if expected.abandoned and (expected.cancel or expected.attempts == MAX_ATTEMPTS):
            expected.status = Status.CANCELLED if expected.cancel else Status.LOST
            expected.result, expected.abandoned = self.result_of(name), False
        elif expected.status is Status.QUEUED or expected.abandoned:
            taken_over = expected.abandoned
            expected.status, expected.attempts, expected.abandoned = Status.RUNNING, expected.attempts + 1, False
            assert claim == Claim(attempt=expected.attempts, taken_over=taken_over)
            return
        assert claim == Claim(result=expected.result)

    @rule(name=IDS, status=st.sampled_from(sorted(ENDED)), back=st.integers(0, 1))
    def finish(self, name: str, status: Status, back: int) -> None:
        """A worker ends it, perhaps one that was thought dead."""
        expected = self.model.get(name)
        number = max((expected.attempts if expected else 0) - back, 0)
        ending = self.store.ledger.finish(attempt(request(name), status, attempt=number))
        if expected is not None and not expected.status.ended and not may_follow(expected.status, status):
            with pytest.raises(InternalError):
                self.runner.run(ending)
            return
        recorded = self.runner.run(ending)
        if expected is None:
            expected = self.model[name] = Expected(status, attempts=number)
        if expected.result is None:
            expected.status, expected.result, expected.abandoned = status, recorded, False
        assert recorded == expected.result

    @rule(name=IDS)
    def cancel(self, name: str) -> None:
        """Somebody asks it to stop."""
        expected = self.model.get(name)
        if expected is None:
            with pytest.raises(ExecutionError):
                self.runner.run(self.store.ledger.request_cancel(name))
            return
        record = self.runner.run(self.store.ledger.request_cancel(name))
        if expected.status is Status.QUEUED:
            expected.status, expected.result = Status.CANCELLED, record.result
        expected.cancel = expected.cancel or expected.status is Status.RUNNING
        assert (record.status, record.result) == (expected.status, expected.result)

    @rule(name=IDS)
    def die(self, name: str) -> None:
        """The worker that runs it dies, and its lease passes."""
        expected = self.model.get(name)
        if expected is not None and expected.status is Status.RUNNING:
            with sqlite3.connect(self.file, timeout=30) as connection:
                connection.execute("UPDATE executions SET lease_ends = 0 WHERE id = ?", [name])
            connection.close()
            expected.abandoned = True

    @invariant()
    def the_record_says_the_same(self) -> None:
        """History and model agree, and whoever runs it is told of a wish to stop."""
        page = self.runner.run(self.store.history.page(HistoryFilter(), limit=10))
        found = {line.execution_id: (line.status, line.attempts) for line in page.items}
        assert found == {name: (expected.status, expected.attempts) for name, expected in self.model.items()}
        for name, expected in self.model.items():
            wished = expected.cancel and expected.status is Status.RUNNING
            assert self.runner.run(self.store.ledger.wishes(name)).cancel == wished


def test_any_order_of_calls(empty_record: Path) -> None:
    """Whatever is called in whatever order, the record does what the table of states says."""
    life = type("LifeOnCopies", (Life,), {"empty": empty_record})
    run_state_machine_as_test(
        life,
        settings=settings(
            max_examples=25, stateful_step_count=16, deadline=None, suppress_health_check=[HealthCheck.too_slow]
        ),
    )
