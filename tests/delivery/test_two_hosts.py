"""Two hosts, one of which is cut off and comes back, on a small number of jobs: what `make two-hosts` runs for long."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from support.services import postgresql_database

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "two_hosts.py"
JOBS = 60
AT_A_TIME = 4
NO_HOSTS = 77


@pytest.mark.timeout(300)
def test_a_host_that_is_cut_off(tmp_path: Path) -> None:
    """Every job ends once, what the cut host held is taken over, and it works again when it is back.

    Each host has built the environment for itself, from the same lock.
    """
    if not Path("/usr/lib/rabbitmq/bin/rabbitmq-server").exists():
        pytest.skip("there is no RabbitMQ to start")
    with postgresql_database():
        pass  # skipped where no server answers
    options = ["--jobs", str(JOBS), "--pairs", "rabbitmq+postgresql", "--lease", "3", "--logs", str(tmp_path)]
    done = subprocess.run(
        [sys.executable, SCRIPT, *options],
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    if done.returncode == NO_HOSTS:
        pytest.skip(done.stderr)
    logs = "".join(path.read_text()[-3000:] for path in tmp_path.glob("*.log"))
    assert done.returncode == 0, done.stdout + done.stderr + logs
    found = json.loads(done.stdout)
    assert (found["succeeded"], found["lost"], found["twice"]) == (JOBS, 0, 0)
    assert (found["environments"], found["built_on_hosts"]) == (1, [2])
    far_while_cut, near_while_cut = found["while_cut"]
    # What was on its way when the cable was pulled may still arrive.
    assert far_while_cut <= AT_A_TIME
    assert near_while_cut > 0
    assert found["after"][0] > 0
