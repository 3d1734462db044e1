"""What is counted of jobs and of the record, by wrappers around both."""

import asyncio
import os
from collections import Counter
from pathlib import Path
from typing import Any, cast

import pytest
from support.records import OVER_AT_ONCE, outcome, request, with_store

from stepflow_python import metrics
from stepflow_python.bootstrap.runtime import Runtime, Watched, open_runtime
from stepflow_python.config import Settings
from stepflow_python.errors import DatabaseError
from stepflow_python.jobs.job import Job
from stepflow_python.jobs.metering import MeteredLedger
from stepflow_python.jobs.middleware import counted
from stepflow_python.jobs.monitoring import RecordMonitoring
from stepflow_python.metrics import Metric
from stepflow_python.model.request import ExecutionRequest
from stepflow_python.model.result import ExecutionResult, Status
from stepflow_python.model.values import now
from stepflow_python.ports import Attempt, Ledger, PythonMonitoring
from stepflow_python.store.opening import Store

CODE = "def half(number: int) -> float:\n    return 1 / number\n"


class Tally:
    """Implements `metrics.Meter` by remembering."""

    def __init__(self) -> None:
        self.counts: Counter[tuple[str, ...]] = Counter()
        self.seen: dict[tuple[str, ...], list[float]] = {}

    def add(self, metric: Metric, *labels: str, amount: float = 1.0) -> None:
        """Count."""
        assert len(labels) == len(metric.labels)
        self.counts[metric.name, *labels] += cast("int", amount)

    def observe(self, metric: Metric, value: float, *labels: str) -> None:
        """Note a value."""
        assert len(labels) == len(metric.labels)
        self.seen.setdefault((metric.name, *labels), []).append(value)


def half(number: object, **fields: Any) -> ExecutionRequest:
    """A call of the tool."""
    return ExecutionRequest(code=CODE, function_name="half", parameters={"number": number}, **fields)  # type: ignore[dict-item]


def test_what_is_counted_of_jobs(tmp_path: Path) -> None:
    """Ends by status, the parts of a run, how the environment was had; the record's answers; the public monitoring."""
    meter = Tally()

    async def scenario(runtime: Runtime) -> None:
        for one in (half(4, tool_id="halves"), half(0, tool_id="halves"), half("x"), half(2, module_name="named")):
            await runtime.executor.execute(one)

    async def run() -> RecordMonitoring:
        async with open_runtime(Settings(home=tmp_path), environ=os.environ, watched=Watched(meter=meter)) as runtime:
            await scenario(runtime)
            assert isinstance(runtime.monitoring, RecordMonitoring)
            assert dict(runtime.warm_counts) == {}
            return runtime.monitoring

    monitoring = asyncio.run(run())
    assert {key[1:]: count for key, count in meter.counts.items() if key[0] == metrics.EXECUTIONS.name} == {
        ("halves", "succeeded"): 1,
        ("halves", "failed"): 1,
        ("tool", "rejected"): 1,
        ("named", "succeeded"): 1,
    }
    assert meter.counts["running",] == 0
    assert sum(count for key, count in meter.counts.items() if key[0] == metrics.RUNS.name) == 3
    assert {len(meter.seen["execution_seconds", "halves"]), len(meter.seen["dispatch_seconds", "new"]) - 1} == {2}
    assert len(meter.seen["queue_wait_seconds",]) == 4
    assert meter.counts["environments", "built"] == 1
    assert meter.counts["environments", "found"] == 2
    assert {len(meter.seen["record_seconds", operation]) for operation in ("claim", "finish")} == {4}
    assert monitoring.counts == {"executions_succeeded": 2, "executions_failed": 2, "environments_created": 1}
    assert monitoring.seconds["environments_created"] > 0


def test_what_is_counted_of_the_record() -> None:
    """Failures by what was asked, however it ends."""

    class Away:
        async def claim(self, *_given: object) -> None:
            raise DatabaseError("away")

    meter = Tally()
    ledger = MeteredLedger(ledger=cast("Ledger", Away()), meter=meter)
    with pytest.raises(DatabaseError):
        asyncio.run(ledger.claim(request()))
    assert meter.counts == {("record_errors", "claim"): 1}
    assert len(meter.seen["record_seconds", "claim"]) == 1


def test_takeovers_and_retries(tmp_path: Path) -> None:
    """A takeover is one of a silent worker's; what was given back and is claimed again is a retry, with its reason."""
    meter = Tally()

    async def scenario(store: Store) -> None:
        ledger = MeteredLedger(ledger=store.ledger, meter=meter)
        silent, stopped, later = (request(name, max_attempts=3) for name in ("silent", "stopped", "later"))
        for one, status in ((stopped, Status.LOST), (later, Status.FAILED)):
            await ledger.claim(one)
            assert await ledger.give_back(Attempt(request=one, result=outcome(one, status)))
            assert (await ledger.claim(one)).attempt == 2
        await ledger.claim(silent)
        claim = await ledger.claim(silent)
        assert (claim.attempt, claim.taken_over) == (2, True)

    with_store(f"sqlite:///{tmp_path / 'record.db'}", scenario, lease_s=OVER_AT_ONCE)
    assert meter.counts == {
        ("retries", metrics.STOPPED): 1,
        ("retries", metrics.LATER): 1,
        ("leases_taken_over",): 1,
    }


def test_counting_costs_no_result(caplog: pytest.LogCaptureFixture) -> None:
    """Whatever the monitoring raises, the result that is on record comes back."""
    result = ExecutionResult(execution_id="one", status=Status.SUCCEEDED)

    class Broken:
        async def record_execution(self, *_given: object) -> None:
            raise LookupError("no room")

    async def run(_job: Job) -> ExecutionResult:
        return result

    job = Job(request=request(), attempt=1, started_at=now())
    assert asyncio.run(counted(run, cast("PythonMonitoring", Broken()))(job)) is result
    assert "is on record, but was not counted" in caplog.text
