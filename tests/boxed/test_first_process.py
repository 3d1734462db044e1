"""Where the worker is process 1, what its runs leave to it is waited for."""

import subprocess
import sys
from pathlib import Path

ALONE = ("unshare", "--user", "--map-current-user", "--pid", "--fork", "--mount", "--mount-proc", "--")
PROGRAM = Path(__file__).resolve().parents[1] / "support" / "first_process.py"


def test_no_zombie_stays_with_a_worker_that_is_process_1(tmp_path: Path) -> None:
    """A launcher that had to be killed hands its box to process 1, which reaps it once it has ended."""
    command = [*ALONE, sys.executable, str(PROGRAM), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert done.stdout.split() == ["timed_out"] * 3 + ["0"], done.stderr[-3000:]
