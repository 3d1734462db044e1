"""The embedded broker with real workers: nothing is lost, nothing comes twice."""

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from support.brokers import rows
from support.workers import Hub, hub, worker

from stepflow_python.config import Settings
from stepflow_python.messaging.app import EXECUTE, make_app

PUBLISHER = """
import sys
from stepflow_python.config import Settings
from stepflow_python.messaging.app import EXECUTE, make_app
app = make_app(Settings(home=sys.argv[1]))
for number in range(int(sys.argv[4])):
    app.send_task("stepflow.execute", args=[{"hub": sys.argv[2], "n": f"{sys.argv[3]}-{number}"}], queue="stepflow")
"""


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings of a broker of its own."""
    return Settings(home=tmp_path)


def send(settings: Settings, payload: object, *, task_id: str | None = None, priority: int = 0) -> None:
    """Submit a payload as any program with Celery would."""
    make_app(settings).send_task(EXECUTE, args=[payload], queue="stepflow", task_id=task_id, priority=priority)


def numbers(reports: Hub, count: int) -> Counter[str]:
    """How often each numbered job started."""
    return Counter(str(reports.next().facts["payload"]["n"]) for _ in range(count))


def test_a_killed_worker_gives_its_job_to_the_next(settings: Settings, tmp_path: Path) -> None:
    """Killed in the middle of a job, its message is delivered to a worker that is already there, and says so."""
    with hub(tmp_path) as reports, worker(settings, concurrency=1) as first:
        send(settings, reports.payload(wait=True), task_id="job-1")
        lost = reports.next()
        assert lost.facts["pid"] == first.process.pid
        with worker(settings) as second:
            first.process.kill()
            again = reports.next()
            assert again.facts["pid"] == second.process.pid
            assert (lost.facts["redelivered"], again.facts["redelivered"]) == (False, True)
            assert again.facts["id"] == lost.facts["id"] == "job-1"
            again.answer("done")
        assert rows(settings.broker_path, "SELECT count(*) FROM messages") == [(0,)]


def test_two_workers_share_five_hundred_jobs(settings: Settings, tmp_path: Path) -> None:
    """None is lost and none runs twice, and both workers work."""
    with hub(tmp_path) as reports:
        for number in range(500):
            send(settings, reports.payload(n=number))
        with worker(settings), worker(settings):
            seen = [reports.next().facts for _ in range(500)]
            assert Counter(facts["payload"]["n"] for facts in seen) == Counter(range(500))
        assert rows(settings.broker_path, "SELECT count(*) FROM messages") == [(0,)]


def test_publishers_and_a_consumer_at_the_same_time(settings: Settings, tmp_path: Path) -> None:
    """Four processes publish two thousand messages while a worker consumes: all arrive, once."""
    with hub(tmp_path) as reports, worker(settings, concurrency=8):
        publishers = [
            subprocess.Popen([sys.executable, "-c", PUBLISHER, settings.home, reports.address, str(number), "500"])
            for number in range(4)
        ]
        expected = Counter(f"{publisher}-{number}" for publisher in range(4) for number in range(500))
        assert numbers(reports, 2000) == expected
        assert [publisher.wait(30) for publisher in publishers] == [0] * 4


def test_urgent_jobs_overtake(settings: Settings, tmp_path: Path) -> None:
    """With one slot, what waits is started by priority."""
    with hub(tmp_path) as reports:
        for priority in (0, 9, 5):
            send(settings, reports.payload(n=priority), priority=priority)
        with worker(settings, concurrency=1):
            assert [reports.next().facts["payload"]["n"] for _ in range(3)] == [9, 5, 0]


def test_rubbish_does_not_end_the_worker(settings: Settings, tmp_path: Path) -> None:
    """Rows that no task can be made of are put aside; the same worker goes on with all its slots."""
    header = json.dumps({"task": EXECUTE, "id": "x", "lang": "py"})
    bodies = ["", "{", "5", "null", "[1, 2, 3]", '"text"', "[[], [], {}]", "[[], {}, []]"]
    headers = [header, "{}", "[]", "rubbish", '{"task": 5, "id": []}', header[:-1] + ', "timelimit": 7, "eta": {}}']
    with hub(tmp_path) as reports, worker(settings, concurrency=2) as running:
        for text in headers:
            for body in bodies:
                rows(
                    settings.broker_path,
                    "INSERT INTO messages (queue, headers, body) VALUES ('stepflow', ?, ?)",
                    text,
                    body,
                )
        rows(settings.broker_path, "INSERT INTO messages (queue, body) VALUES ('stepflow', CAST(x'ff' AS TEXT))")
        for _ in range(2):
            send(settings, reports.payload(wait=True, n="good"))
        good = [reports.next() for _ in range(2)]
        assert {report.facts["pid"] for report in good} == {running.process.pid}
        for report in good:
            report.answer(None)
    assert rows(settings.broker_path, "SELECT * FROM messages") == []


def test_a_producer_without_us(settings: Settings, tmp_path: Path) -> None:
    """The program in docs/producers.md submits a job by SQL alone."""
    text = (Path(__file__).parents[2] / "docs" / "producers.md").read_text()
    program = text.split("```python\n# submit.py\n", 1)[1].split("```", 1)[0]
    with hub(tmp_path) as reports, worker(settings):
        payload = json.dumps(reports.payload(n="sql"))
        subprocess.run([sys.executable, "-I", "-c", program, settings.broker_path, payload], check=True, timeout=30)
        facts = reports.next().facts
        assert facts["payload"]["n"] == "sql"
        assert facts["id"]
