"""Processes by name: alive, dead, and of another place."""

import subprocess
import sys

from stepflow_python.store.claimant import is_dead, this_process

NAME = "from stepflow_python.store.claimant import this_process; print(this_process(), flush=True); input()"


def test_this_process_lives() -> None:
    """Its own name is of somebody alive."""
    assert not is_dead(this_process())


def test_another_process_until_it_is_killed() -> None:
    """Alive while it runs, dead as soon as it is killed, also before anybody has fetched its exit code."""
    with subprocess.Popen([sys.executable, "-c", NAME], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        name = process.stdout.readline().decode().strip()
        assert not is_dead(name)
        process.kill()
        assert process.stdout.read() == b""
        process.wait()
        assert is_dead(name)


def test_a_number_that_is_used_again() -> None:
    """The process of that number was started at another time: it is not the one that claimed."""
    place, _, _started = this_process().rpartition("/")
    assert is_dead(f"{place}/1")


def test_elsewhere_nothing_is_known() -> None:
    """Another boot, or another namespace, and names that are none."""
    boot, namespace, _pid, started = this_process().split("/", 3)
    assert not is_dead(f"other/{namespace}/4194303/{started}")
    assert not is_dead(f"{boot}/pid:[1]/4194303/{started}")
    assert not is_dead("")
    assert not is_dead("host:12:abc")
