import os
import subprocess
import sys
from pathlib import Path

from stepflow_python.messaging.owners import OwnerLocks

HOLD = (
    "import sys; from pathlib import Path; from stepflow_python.messaging.owners import OwnerLocks;"
    "locks = OwnerLocks(Path(sys.argv[1])); locks.hold(7); print('held', flush=True); sys.stdin.read()"
)


def test_a_killed_owner_is_dead_at_once(tmp_path: Path) -> None:
    """The kernel gives the lock back on kill -9, nothing else has to happen."""
    path = tmp_path / "owners"
    mine = OwnerLocks(path)
    with subprocess.Popen([sys.executable, "-c", HOLD, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        assert not mine.is_dead(7)
        assert mine.is_dead(8)
        holder.kill()
        holder.wait()
        assert mine.is_dead(7)
    mine.close()


def test_a_forked_child_does_not_keep_its_parent_alive(tmp_path: Path) -> None:
    """A child that outlives its parent holds none of the parent's locks."""
    path = tmp_path / "owners"
    code = (
        "import os, sys; from pathlib import Path; from stepflow_python.messaging.owners import OwnerLocks;"
        "locks = OwnerLocks(Path(sys.argv[1])); locks.hold(7); child = os.fork();"
        "print(child, flush=True) if child else None; sys.stdin.read() if not child else os._exit(0)"
    )
    mine = OwnerLocks(path)
    with subprocess.Popen([sys.executable, "-c", code, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        parent.wait(30)
        os.kill(child, 0)
        assert mine.is_dead(7)
    mine.close()
