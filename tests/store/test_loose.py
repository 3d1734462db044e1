"""Loose ends on record: what died, what was not heard of, and who ties it up."""

import asyncio

import pytest
from support.records import OVER_AT_ONCE, attempt, outcome, request, with_store

from stepflow_python.errors import QueueFullError
from stepflow_python.messages import Delivery
from stepflow_python.model.result import Status
from stepflow_python.ports import Attempt, Claim
from stepflow_python.store import deliveries
from stepflow_python.store.ledger import Bounds
from stepflow_python.store.opening import Store, open_store


def message(name: str, queue: str = "q") -> Delivery:
    """A message of nobody's protocol: the record does not look into it."""
    return Delivery(queue=queue, message={"of": name, "n": [1.0, None]})


@pytest.fixture
def _due_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Messages are due again as soon as they were sent."""
    monkeypatch.setattr(deliveries, "RESEND_S", -1.0)


def test_who_may_go_on_is_sent_and_who_may_not_ends(url: str) -> None:
    """Of four whose worker died: one has attempts left, one has none, one was to stop, one has no message."""

    async def scenario(store: Store) -> None:
        for name in ("again", "used-up", "unwanted", "local"):
            one = request(name, max_attempts=1 if name == "used-up" else 3)
            await store.ledger.claim(one, None if name == "local" else lambda: message("it"))
        await store.ledger.request_cancel("unwanted")
        assert await store.loose.end_abandoned() == 3
        assert await store.loose.end_abandoned() == 0
        ends = {}
        for name in ("again", "used-up", "unwanted", "local"):
            record = await store.history.get(name)
            assert record is not None
            ends[name] = record.status
        assert ends == {
            "again": Status.RUNNING,
            "used-up": Status.LOST,
            "unwanted": Status.CANCELLED,
            "local": Status.LOST,
        }

    with_store(url, scenario, lease_s=OVER_AT_ONCE)


def test_a_dead_workers_message_is_given_once(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One of two that look at the same moment gets it, as it was kept; the next time it is due only later."""

    async def scenario() -> None:
        async with open_store(url, lease_s=OVER_AT_ONCE) as dying, open_store(url) as one, open_store(url) as two:
            with monkeypatch.context() as patched:
                patched.setattr(deliveries, "RESEND_S", -1.0)
                await dying.ledger.claim(request("a"), lambda: message("a"))
            found = await asyncio.gather(one.loose.take_abandoned(), two.loose.take_abandoned())
            assert sorted(map(list, found), key=len) == [[], [message("a")]]

    asyncio.run(scenario())


@pytest.mark.usefixtures("_due_at_once")
def test_what_waits_unheard_of(url: str) -> None:
    """By queue: how many wait, and their messages; not those that run, that have ended, or that nobody sent."""

    async def scenario(store: Store) -> None:
        for name, queue in (("a", "q"), ("b", "q"), ("c", "other"), ("running", "q"), ("ended", "q")):
            await store.ledger.enqueue(request(name), message(name, queue))
        await store.ledger.enqueue(request("later-step"))
        await store.ledger.claim(request("running"))
        await store.ledger.claim(request("ended"))
        await store.ledger.finish(attempt(request("ended")))
        assert await store.loose.waiting() == {"q": 2, "other": 1}
        found = await store.loose.take_due("q")
        assert sorted(str(one.message["of"]) for one in found) == ["a", "b"]

    with_store(url, scenario)


@pytest.mark.usefixtures("_due_at_once")
@pytest.mark.parametrize("sent_by_us", [True, False])
def test_a_message_that_has_come_is_kept_once(url: str, *, sent_by_us: bool) -> None:
    """Where it is kept already, nobody takes it apart again."""
    taken: list[Delivery] = []

    def come() -> Delivery:
        taken.append(message("come"))
        return taken[-1]

    async def scenario() -> None:
        async with open_store(url) as store, open_store(url, lease_s=OVER_AT_ONCE) as dying:
            if sent_by_us:
                await store.ledger.enqueue(request("one"), message("sent"))
            for number in (1, 2):
                assert await dying.ledger.claim(request("one"), come) == Claim(attempt=number, taken_over=number > 1)
            [kept] = await store.loose.take_abandoned()
            assert (kept, taken) == ((message("sent"), []) if sent_by_us else (message("come"), [message("come")]))

    asyncio.run(scenario())


def test_what_was_just_sent_is_not_due(url: str) -> None:
    """Nothing is sent twice in the first seconds."""

    async def scenario(store: Store) -> None:
        await store.ledger.enqueue(request("a"), message("a"))
        assert await store.loose.waiting() == {}
        assert list(await store.loose.take_due("q")) == []

    with_store(url, scenario)


def test_an_attempt_that_is_given_back(url: str) -> None:
    """Its execution waits again, its attempt is kept; by its owner only, and while attempts remain."""

    async def scenario(store: Store) -> None:
        one = request("one", max_attempts=2)
        for number in (1, 2):
            assert await store.ledger.claim(one, lambda: message("one")) == Claim(attempt=number)
            failed = Attempt(request=one, result=outcome(one, Status.FAILED, attempt=number))
            assert await store.ledger.give_back(failed) == (number == 1)
        ended = await store.ledger.finish(failed)
        assert not await store.ledger.give_back(failed)
        record = await store.history.get("one")
        assert record is not None
        assert (record.status, record.attempts, record.result) == (Status.FAILED, 2, ended)
        assert [(early.attempt, early.status) for early in record.earlier_attempts] == [(1, Status.FAILED)]
        async with open_store(url) as other:
            await store.ledger.claim(request("mine"))
            assert not await other.ledger.give_back(attempt(request("mine")))

    with_store(url, scenario)


def test_who_is_to_stop_is_not_given_back(url: str) -> None:
    """A cancelled run ends; it does not wait again."""

    async def scenario(store: Store) -> None:
        await store.ledger.claim(request("one"))
        await store.ledger.request_cancel("one")
        assert not await store.ledger.give_back(attempt(request("one"), Status.FAILED))

    with_store(url, scenario)


def test_as_many_may_wait_as_the_operator_says(url: str) -> None:
    """One more is refused with the setting's name; who is on record already is not a further one."""

    async def scenario() -> None:
        async with open_store(url, bounds=Bounds(queued=2)) as store:
            for name in ("a", "b", "a"):
                await store.ledger.enqueue(request(name))
            with pytest.raises(QueueFullError, match=r"2 executions wait already.*MAX_QUEUED") as caught:
                await store.ledger.enqueue(request("c"))
            assert caught.value.retryable
            assert await store.history.get("c") is None
            await store.ledger.claim(request("a"))
            assert await store.ledger.enqueue(request("c")) == Claim()

    asyncio.run(scenario())


def test_as_many_of_one_tool_run_as_the_operator_says(url: str) -> None:
    """Of eight claims at once, each with its own connection, two are given; another tool is not held up."""

    async def scenario() -> None:
        async with open_store(url, bounds=Bounds(per_tool=2)) as store, open_store(url, bounds=Bounds(per_tool=2)) as b:
            jobs = [request(f"job-{number}", tool_id="one") for number in range(8)]
            claims = await asyncio.gather(
                *((store, b)[number % 2].ledger.claim(job) for number, job in enumerate(jobs))
            )
            assert sorted((claim.attempt or 0, claim.crowded) for claim in claims) == [(0, True)] * 6 + [(1, False)] * 2
            assert (await store.ledger.claim(request("free", tool_id="two"))).attempt == 1
            first = jobs[next(number for number, claim in enumerate(claims) if claim.attempt)]
            await store.ledger.finish(attempt(first))
            waiting = jobs[next(number for number, claim in enumerate(claims) if claim.crowded)]
            assert (await b.ledger.claim(waiting)).attempt == 1

    asyncio.run(scenario())


def test_a_queued_execution_alone_is_cancelled(url: str) -> None:
    """Who may stop only what waits does not touch what runs."""

    async def scenario(store: Store) -> None:
        await store.ledger.enqueue(request("waits"), message("waits"))
        await store.ledger.claim(request("runs"))
        for name in ("waits", "runs"):
            await store.ledger.request_cancel(name, running=False)
        assert not (await store.ledger.wishes("runs")).cancel
        record = await store.history.get("waits")
        assert record is not None
        assert record.status is Status.CANCELLED
        assert await store.loose.waiting() == {}

    with_store(url, scenario)
