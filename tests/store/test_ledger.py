"""The record as workers and clients write it, the same on both databases."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from support.records import (
    OVER_AT_ONCE,
    attempt,
    environment,
    module,
    outcome,
    request,
    with_store,
)

from stepflow_python.errors import ErrorKind, ExecutionError, InternalError
from stepflow_python.model.history import ExecutionRecord, HistoryFilter
from stepflow_python.model.result import ExecutionResult, Status
from stepflow_python.ports import Attempt, Claim
from stepflow_python.store.opening import Store, open_store


def record_of(url: str, execution_id: str) -> ExecutionRecord:
    """What is on record, seen by somebody who opens it anew."""
    record = with_store(url, lambda store: store.history.get(execution_id))
    assert record is not None
    return record


async def run_one(store: Store, execution_id: str, status: Status = Status.SUCCEEDED) -> ExecutionResult:
    """One execution from its queueing to its end."""
    one = request(execution_id)
    await store.ledger.enqueue(one)
    claim = await store.ledger.claim(one)
    return await store.ledger.finish(attempt(one, status, attempt=claim.attempt))


def test_a_result_is_rebuilt_as_it_was_recorded(url: str) -> None:
    """Every field of a result comes back equal, after the record was closed and opened."""
    recorded = with_store(url, lambda store: run_one(store, "one"))
    again = record_of(url, "one").result
    assert again == recorded
    given = outcome(request("one"))
    assert again is not None
    assert again.model_copy(update={"queued_at": None}) == given
    assert again.queued_at is not None
    assert again.queued_at.tzinfo is not None


@pytest.mark.parametrize(
    "result",
    [None, float("inf"), {"$json": "x"}, {"$json": {"$json": 1}}, "a\0b", {"b": 1, "a": 1.0}, 10**30, [[]], True],
    ids=repr,
)
def test_any_json_comes_back(url: str, result: object) -> None:
    """What a tool returns comes back equal and of the same type, in the same order."""

    async def scenario(store: Store) -> None:
        one = request(parameters={"value": result})
        await store.ledger.claim(one)
        await store.ledger.finish(Attempt(request=one, result=outcome(one, result=result)))

    with_store(url, scenario)
    record = record_of(url, "one")
    assert record.result is not None
    assert repr(record.result.result) == repr(result)
    assert repr(record.request["parameters"]) == repr({"value": result})


def test_enqueue_twice_changes_nothing(url: str) -> None:
    """An id that is there keeps its first request, and gives its result once it has ended."""

    async def scenario(store: Store) -> None:
        assert await store.ledger.enqueue(request("one", priority=3)) == Claim()
        assert await store.ledger.enqueue(request("one", priority=7)) == Claim()
        record = await store.history.get("one")
        assert record is not None
        assert (record.status, record.priority, record.attempts, record.result) == (Status.QUEUED, 3, 0, None)
        result = await run_one(store, "one")
        assert await store.ledger.enqueue(request("one")) == Claim(result=result)

    with_store(url, scenario)


def test_claim_takes_once(url: str) -> None:
    """The first claim runs it, a second finds it taken, one after the end gets the result."""

    async def scenario(store: Store) -> None:
        one = request()
        assert await store.ledger.claim(one) == Claim(attempt=1)
        assert await store.ledger.claim(one) == Claim()
        result = await store.ledger.finish(attempt(one))
        assert await store.ledger.claim(one) == Claim(result=result)

    with_store(url, scenario)


def test_one_of_eight_wins(url: str) -> None:
    """Eight workers that claim at once, each with its own connection: one runs it, whether a client made its row."""
    barrier = threading.Barrier(8)

    async def compete() -> list[Claim]:
        async with open_store(url) as store:
            claims = []
            for number in range(10):
                await asyncio.to_thread(barrier.wait, 30)
                if number % 2:
                    await store.ledger.enqueue(request(f"job-{number}"))
                claims.append(await store.ledger.claim(request(f"job-{number}")))
            return claims

    with ThreadPoolExecutor(8) as pool:
        workers = [future.result() for future in [pool.submit(asyncio.run, compete()) for _ in range(8)]]
    for claims in zip(*workers, strict=True):
        assert sorted((claim.attempt or 0) for claim in claims) == [0] * 7 + [1]
        assert all(claim.result is None for claim in claims)


def test_the_first_end_wins(url: str) -> None:
    """A second end changes nothing and gives back the first."""

    async def scenario(store: Store) -> None:
        first = await run_one(store, "one", Status.FAILED)
        late = await store.ledger.finish(attempt(request("one"), stdout="late"))
        assert late == first

    with_store(url, scenario)
    assert record_of(url, "one").status is Status.FAILED


def test_a_refusal_needs_no_claim(url: str) -> None:
    """A request that was refused before it ran is recorded, whether its row is there or not."""

    async def scenario(store: Store) -> None:
        await store.ledger.enqueue(request("known"))
        for name in ("known", "unknown"):
            refused = Attempt(request=request(name), result=outcome(request(name), Status.REJECTED, attempt=0))
            await store.ledger.finish(refused)

    with_store(url, scenario)
    for name in ("known", "unknown"):
        record = record_of(url, name)
        assert (record.status, record.attempts, record.why) == (Status.REJECTED, 0, "ValueError: no")


def test_a_success_needs_a_claim(url: str) -> None:
    """What was never claimed cannot have succeeded, and a status that is no end ends nothing."""

    async def scenario(store: Store) -> None:
        await store.ledger.enqueue(request())
        with pytest.raises(InternalError, match="is queued and cannot become succeeded; claim it first"):
            await store.ledger.finish(attempt(request()))
        with pytest.raises(InternalError, match="running is no end"):
            await store.ledger.finish(attempt(request(), Status.RUNNING))

    with_store(url, scenario)
    assert record_of(url, "one").status is Status.QUEUED


def test_cancel(url: str) -> None:
    """A queued execution ends at once, a running one is marked, an ended one stays, an unknown one is an error."""

    async def scenario(store: Store) -> None:
        await store.ledger.enqueue(request("queued", env={"TOKEN": "secret"}, files={"a": b"1"}))
        cancelled = await store.ledger.request_cancel("queued")
        assert cancelled.result is not None
        assert (cancelled.status, cancelled.result.status) == (Status.CANCELLED, Status.CANCELLED)
        assert (await store.ledger.claim(request("queued"))).result == cancelled.result
        await store.ledger.claim(request("running"))
        assert not (await store.ledger.wishes("running")).cancel
        assert (await store.ledger.request_cancel("running")).status is Status.RUNNING
        assert (await store.ledger.wishes("running")).cancel
        result = await store.ledger.finish(attempt(request("running"), Status.CANCELLED))
        assert not (await store.ledger.wishes("running")).cancel
        assert (await store.ledger.request_cancel("running")).result == result
        with pytest.raises(ExecutionError, match="no execution 'nobody' is on record"):
            await store.ledger.request_cancel("nobody")
        assert not (await store.ledger.wishes("nobody")).cancel

    with_store(url, scenario)


def test_a_dead_workers_execution_is_taken_over(url: str) -> None:
    """When the lease has passed, the next attempt is given, until they are used up: then it is lost, visibly."""

    async def scenario(store: Store) -> None:
        one = request(max_attempts=2)
        assert await store.ledger.claim(one) == Claim(attempt=1)
        assert await store.ledger.claim(one) == Claim(attempt=2, taken_over=True)
        result = (await store.ledger.claim(one)).result
        assert result is not None
        assert (result.status, result.attempt) == (Status.LOST, 2)
        assert result.error is not None
        assert result.error.kind is ErrorKind.INTERNAL_ERROR
        record = await store.history.get("one")
        assert record is not None
        assert (record.status, record.attempts, record.result) == (Status.LOST, 2, result)

    with_store(url, scenario, lease_s=OVER_AT_ONCE)


def test_a_late_first_attempt_still_counts(url: str) -> None:
    """A worker that was thought dead and ends first is the one on record."""

    async def scenario(store: Store) -> None:
        one = request()
        await store.ledger.claim(one)
        assert await store.ledger.claim(one) == Claim(attempt=2, taken_over=True)
        first = await store.ledger.finish(attempt(one, attempt=1))
        second = await store.ledger.finish(attempt(one, Status.FAILED, attempt=2))
        assert second == first
        assert first.attempt == 1

    with_store(url, scenario, lease_s=OVER_AT_ONCE)


def test_nobody_takes_over_what_was_cancelled(url: str) -> None:
    """A running execution that was to stop and whose worker died ends as cancelled."""

    async def scenario(store: Store) -> None:
        await store.ledger.claim(request())
        await store.ledger.request_cancel("one")
        claim = await store.ledger.claim(request())
        assert claim.result is not None
        assert claim.result.status is Status.CANCELLED

    with_store(url, scenario, lease_s=OVER_AT_ONCE)


def test_a_lease_is_kept_by_its_owner_only(url: str) -> None:
    """Renewing keeps others out; who is not the owner, or no longer, cannot renew."""

    async def scenario() -> None:
        async with open_store(url, lease_s=OVER_AT_ONCE) as dying, open_store(url) as living:
            await dying.ledger.claim(request())
            assert not await living.ledger.renew("one")
            assert await living.ledger.claim(request()) == Claim(attempt=2, taken_over=True)
            assert not await dying.ledger.renew("one")
            assert await living.ledger.renew("one")
            assert await dying.ledger.claim(request()) == Claim()

    asyncio.run(scenario())


def test_asking_for_cancel_keeps_the_lease(url: str) -> None:
    """Whoever asks whether to stop is alive: a short lease does not pass meanwhile."""

    async def scenario() -> None:
        async with open_store(url, lease_s=0.0) as asking, open_store(url) as other:
            await asking.ledger.claim(request())
            before = await lease_of(asking)
            await asking.ledger.wishes("one")
            assert await lease_of(asking) > before
            assert (await other.ledger.claim(request())).attempt == 2

    async def lease_of(store: Store) -> float:
        def read(connection: object) -> float:
            return float(connection.exec_driver_sql("SELECT lease_ends FROM executions").scalar_one())  # type: ignore[attr-defined]  # a connection

        return await store.ledger._recorder.write(read)

    asyncio.run(scenario())


def test_what_is_masked_and_dropped(url: str) -> None:
    """The stored request has no source, no values of variables and no bytes of files."""
    one = request(env={"API_KEY": "s3cret"}, files={"in.bin": b"12345"}, stdin="typed")
    with_store(url, lambda store: store.ledger.enqueue(one))
    stored = record_of(url, "one").request
    assert stored["env"] == {"API_KEY": "***"}
    assert stored["files"] == {"in.bin": 5}
    assert stored["source_hash"] == module().source_hash
    assert "code" not in stored
    assert stored["stdin"] == "typed"
    assert "s3cret" not in str(stored)


def test_versions_of_a_tool(url: str) -> None:
    """Each new source of a tool is its next version; one seen before adds none."""

    async def scenario(store: Store) -> None:
        for number, code in enumerate(["a = 1", "a = 2", "a = 1"]):
            one = request(f"run-{number}", tool_id="counting", code=code)
            await store.ledger.claim(one)
            await store.ledger.finish(Attempt(request=one, result=outcome(one), module=module(code)))
        newest = await store.history.source("counting")
        assert newest == module("a = 2")

        def versions(connection: object) -> object:
            return [
                connection.exec_driver_sql(text).all()  # type: ignore[attr-defined]  # a connection
                for text in (
                    "SELECT id, version FROM tools",
                    "SELECT version FROM python_modules ORDER BY version",
                )
            ]

        assert await store.ledger._recorder.write(versions) == [[("counting", 2)], [(1,), (2,)]]

    with_store(url, scenario)


def test_a_tool_without_an_id_is_named_by_its_source(url: str) -> None:
    """Its id is the module's name and the start of its source's hash, from the queue on."""
    with_store(url, lambda store: store.ledger.enqueue(request()))
    queued = record_of(url, "one")
    assert (queued.tool_id, queued.tool) == (f"doubling-{module().source_hash[:12]}", "doubling")
    with_store(url, lambda store: run_one(store, "one"))
    assert record_of(url, "one").tool_id == queued.tool_id


def test_environments_and_their_packages(url: str) -> None:
    """An environment is recorded once with its packages, counted while it is there, and may go."""

    async def scenario(store: Store) -> None:
        await run_one(store, "one")
        await run_one(store, "two")
        metrics = await store.history.metrics(HistoryFilter())
        assert (metrics.total_environments, metrics.active_environments, metrics.total_dependencies) == (1, 1, 2)
        await store.ledger.environment_removed(environment().id)
        metrics = await store.history.metrics(HistoryFilter())
        assert (metrics.total_environments, metrics.active_environments) == (1, 0)
        await run_one(store, "three")
        assert (await store.history.metrics(HistoryFilter())).active_environments == 1

    with_store(url, scenario)


def test_many_workers_record_shared_rows_at_once(url: str) -> None:
    """Workers that record the same tools and environments in different orders don't undo each other."""
    barrier = threading.Barrier(4)

    async def work(worker: int) -> None:
        async with open_store(url) as store:
            await asyncio.to_thread(barrier.wait, 30)
            numbers = list(range(24))
            await asyncio.gather(*(one(store, worker, number) for number in numbers[:: 1 if worker % 2 else -1]))

    async def one(store: Store, worker: int, number: int) -> None:
        code = f"a = {number % 6}"
        job = request(f"{worker}-{number}", tool_id=f"tool-{number % 3}", code=code)
        await store.ledger.claim(job)
        done = Attempt(
            request=job, result=outcome(job), module=module(code), environment=environment(f"env-{number % 4}")
        )
        await store.ledger.finish(done)

    with ThreadPoolExecutor(4) as pool:
        for future in [pool.submit(asyncio.run, work(worker)) for worker in range(4)]:
            future.result()

    async def totals(store: Store) -> tuple[int, int]:
        metrics = await store.history.metrics(HistoryFilter())
        return metrics.successful_executions, metrics.total_dependencies

    assert with_store(url, totals) == (96, 8)
