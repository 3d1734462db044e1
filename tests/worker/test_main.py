import signal
from pathlib import Path

import pytest
from celery import Celery, Signature, chain, chord, group
from support.brokers import rows
from support.workers import PATIENCE_S, hub, worker

from stepflow_python.config import Settings
from stepflow_python.messaging.app import EXECUTE, make_app
from stepflow_python.model.result import MemoryEnforcement
from stepflow_python.model.security import IsolationTier
from stepflow_python.ports import IsolationReport
from stepflow_python.worker.main import start_line

REPORT = IsolationReport(tier=IsolationTier.NAMESPACES, memory=MemoryEnforcement.CGROUP_V2, launcher="")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings with results, for canvas."""
    return Settings(home=tmp_path, result_backend=f"db+sqlite:///{tmp_path / 'results.db'}")


def execute(app: Celery, payload: object) -> Signature:
    """A call of the task, for canvas."""
    return app.signature(EXECUTE, args=[payload], queue="stepflow")


def test_the_start_line_hides_passwords() -> None:
    """Neither the broker's nor the database's is printed."""
    settings = Settings(
        home=Path("/h"), broker_url="amqp://u:secret@broker//", database_url="postgresql://u:secret@db/stepflow"
    )
    line = start_line(settings, REPORT, concurrency=2, queues="a,b")
    assert "secret" not in line
    assert "isolation namespaces, memory cgroup_v2 | concurrency 2 | queue a,b" in line


def test_a_worker_tells_its_start_in_one_line(tmp_path: Path) -> None:
    """What it works with, and nothing else on standard output."""
    with worker(Settings(home=tmp_path), concurrency=3) as running:
        running.signal(signal.SIGTERM)
        assert running.wait() == 0
        assert running.process.stdout is not None
        assert running.process.stdout.read() == ""
    assert running.line == (
        f"stepflow worker: broker embedded ({tmp_path}/broker.db) | database sqlite ({tmp_path}/stepflow.db)"
        " | isolation namespaces, memory cgroup_v1 | concurrency 3 | queue stepflow"
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_first_signal_lets_jobs_finish(tmp_path: Path, number: signal.Signals) -> None:
    """The job ends as it would have, its message is gone, and the exit code is 0."""
    settings = Settings(home=tmp_path)
    with hub(tmp_path) as reports, worker(settings, concurrency=1) as running:
        for name in ("running", "waiting"):
            make_app(settings).send_task(EXECUTE, args=[reports.payload(wait=True, n=name)], queue="stepflow")
        job = reports.next()
        running.signal(number)
        job.answer(None)
        assert running.wait() == 0
    assert rows(settings.broker_path, "SELECT body LIKE '%waiting%', owner FROM messages") == [(1, None)]


def test_the_second_signal_gives_jobs_back(tmp_path: Path) -> None:
    """The worker leaves at once with an exit code that says so; the job waits for another worker."""
    settings = Settings(home=tmp_path)
    with hub(tmp_path) as reports:
        with worker(settings) as running:
            make_app(settings).send_task(EXECUTE, args=[reports.payload(wait=True)], queue="stepflow")
            reports.next()
            running.signal(signal.SIGTERM)
            while running.process.poll() is None:
                running.signal(signal.SIGTERM)
            assert running.wait() == 1
        with worker(settings):
            again = reports.next()
            assert again.facts["redelivered"] is True
            again.answer(None)


def test_a_worker_can_be_asked_and_told(tmp_path: Path) -> None:
    """Remote control on the embedded broker: ping, active jobs, and a job that is revoked before it starts."""
    settings = Settings(home=tmp_path)
    app = make_app(settings)
    with hub(tmp_path) as reports, worker(settings, concurrency=1) as running:
        app.send_task(EXECUTE, args=[reports.payload(wait=True)], queue="stepflow", task_id="running")
        job = reports.next()
        name = f"stepflow-{running.process.pid}@"
        with app.connection() as connection:
            inspect = app.control.inspect(timeout=PATIENCE_S, limit=1, connection=connection)
            (ping,) = inspect.ping().items()
            assert ping[0].startswith(name)
            (active,) = inspect.active().values()
            assert [task["id"] for task in active] == ["running"]
        app.send_task(EXECUTE, args=[reports.payload(n="revoked")], queue="stepflow", task_id="revoked")
        app.send_task(EXECUTE, args=[reports.payload(n="next")], queue="stepflow")
        app.control.revoke("revoked", reply=True, limit=1, timeout=PATIENCE_S)
        job.answer(None)
        assert reports.next().facts["payload"]["n"] == "next"
    assert rows(settings.broker_path, "SELECT count(*) FROM messages") == [(0,)]
    assert rows(settings.broker_path, "SELECT name FROM queues WHERE name LIKE '%reply%'") == []


def test_our_own_faults_are_retried(tmp_path: Path) -> None:
    """The message of a job that we failed is there again, for a later try."""
    settings = Settings(home=tmp_path)
    with hub(tmp_path) as reports, worker(settings, concurrency=1):
        make_app(settings).send_task(EXECUTE, args=[reports.payload(fail=True)], queue="stepflow", task_id="again")
        make_app(settings).send_task(EXECUTE, args=[reports.payload(n=1)], queue="stepflow")
        reports.next()
        ((headers, owner),) = rows(settings.broker_path, "SELECT headers, owner FROM messages WHERE body LIKE '%fail%'")
        assert '"retries": 1' in headers or owner is not None


def test_chain_group_and_chord(settings: Settings, tmp_path: Path) -> None:
    """A successor gets its predecessor's result, a chord's body all of them, in order."""
    app = make_app(settings)
    with hub(tmp_path) as reports, worker(settings):

        def step(reply: object) -> Signature:
            return execute(app, reports.payload(reply=reply))

        assert chain(step(1), step(2)).apply_async().get(timeout=PATIENCE_S)["result"] == 2
        assert [reports.next().facts["previous"] for _ in range(2)] == [None, {"status": "succeeded", "result": 1}]
        answers = group(step(number) for number in range(4)).apply_async().get(timeout=PATIENCE_S)
        assert [answer["result"] for answer in answers] == [0, 1, 2, 3]
        chord([step(5), step(6)], execute(app, reports.payload(reply="body", body=True))).apply_async().get(
            timeout=PATIENCE_S
        )
        seen = [reports.next().facts for _ in range(7)]
        (body,) = [facts for facts in seen if facts["payload"].get("body")]
        assert [result["result"] for result in body["previous"]] == [5, 6]
