"""What a process tree takes, read from outside."""

import os
import subprocess
import sys
import threading

from stepflow_python.sandbox.watchdog import taken_by, tasks_of

WORKING = """
import os, sys, time
pid = os.fork()
end = time.process_time() + 0.15
while time.process_time() < end:
    pass
if pid == 0:
    os._exit(0)
os.waitpid(pid, 0)
os.fork()
print(flush=True)
sys.stdin.read()
"""


def test_the_tree_is_added_up() -> None:
    """CPU time of those that are gone counts on, processes that are there are counted."""
    with subprocess.Popen([sys.executable, "-c", WORKING], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        process.stdout.readline()
        taken = taken_by(process.pid)
        assert taken.cpu_ms >= 250  # the kernel counts in ticks
        assert taken.tasks == 2
        process.stdin.close()
    assert taken_by(process.pid).tasks == 0


def test_threads_of_a_user_count() -> None:
    """Each thread of each of its processes is one."""
    over = threading.Event()
    before = tasks_of(os.getuid())
    threads = [threading.Thread(target=over.wait) for _ in range(50)]
    for thread in threads:
        thread.start()
    assert tasks_of(os.getuid()) >= before + 25  # others of this user come and go meanwhile
    over.set()
    assert tasks_of(54321) == 0
