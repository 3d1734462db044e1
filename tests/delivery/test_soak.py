"""The soak on a small number of jobs: what `make soak` runs for long."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support.services import postgresql_database

SOAK = Path(__file__).resolve().parents[2] / "scripts" / "soak.py"
JOBS = 80


@pytest.mark.parametrize("pair", ["embedded+sqlite", "redis+sqlite", "redis+postgresql", "rabbitmq+postgresql"])
@pytest.mark.timeout(300)
def test_every_job_ends_once(pair: str) -> None:
    """While workers, their children, the broker and connections are killed: none without an end, none with two."""
    broker, record = pair.split("+")
    if broker == "redis" and shutil.which("redis-server") is None:
        pytest.skip("there is no redis-server to start and kill")
    if broker == "rabbitmq" and not Path("/usr/lib/rabbitmq/bin/rabbitmq-server").exists():
        pytest.skip("there is no RabbitMQ to start and kill")
    if record == "postgresql":
        with postgresql_database():
            pass  # skipped where no server answers
    done = subprocess.run(
        [sys.executable, SOAK, "--jobs", str(JOBS), "--pairs", pair, "--seed", "7"],
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout)
    assert (found["lost"], found["twice"], found["given_up"]) == (0, 0, 0), found
    assert found["succeeded"] + found["failed"] == JOBS
    assert sum(found["kills"].values()) > 0
