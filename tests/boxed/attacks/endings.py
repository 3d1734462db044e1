"""Does not want to end, or to end alone."""

import atexit
import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from typing import Any

from trade import ends, harmless, in_background

World = dict[str, Any]


def _ignore_everything() -> None:
    for number in set(range(1, signal.NSIG)) - {signal.SIGKILL, signal.SIGSTOP, 32, 33}:
        signal.signal(number, signal.SIG_IGN)


def _stay() -> None:
    while True:
        time.sleep(60)


@ends("timed_out", timeout_s=0.7)
def ignores_signals(world: World) -> Any:
    _ignore_everything()
    _stay()


@ends("timed_out", timeout_s=0.7)
def blocks_signals(world: World) -> Any:
    signal.pthread_sigmask(signal.SIG_BLOCK, range(1, signal.NSIG))
    _stay()


@ends("timed_out", timeout_s=0.7)
def stops_itself(world: World) -> Any:
    os.kill(os.getpid(), signal.SIGSTOP)


@ends("timed_out", timeout_s=0.7)
def stops_everybody(world: World) -> Any:
    for _ in range(5):
        if os.fork() == 0:
            _stay()
    os.kill(-1, signal.SIGSTOP)
    os.kill(os.getpid(), signal.SIGSTOP)


@ends("timed_out", timeout_s=0.7)
def starts_a_session_of_its_own(world: World) -> Any:
    if os.fork() == 0:
        os.setsid()
        _ignore_everything()
        _stay()
    _stay()


@ends("timed_out", timeout_s=0.7)
def hides_by_forking_twice(world: World) -> Any:
    in_background(_stay)
    _stay()


@ends("timed_out", timeout_s=0.7, processes=64)
def forks_faster_than_it_is_killed(world: World) -> Any:
    """Each child lives for a moment and leaves another: no list of processes is ever complete."""
    first = os.getpid()
    while True:
        try:
            if os.fork():
                os._exit(0) if os.getpid() != first else time.sleep(0.001)
        except OSError:
            continue


@ends("timed_out", timeout_s=0.7)
def closes_its_pipes_while_a_grandchild_holds_them(world: World) -> Any:
    in_background(_stay)
    for descriptor in (0, 1, 2):
        os.close(descriptor)
    _stay()


@harmless()
def returns_while_a_grandchild_holds_the_pipes(world: World) -> Any:
    in_background(_stay)
    return "done"


@harmless()
def returns_while_a_grandchild_floods_the_pipes(world: World) -> Any:
    def talk() -> None:
        while True:
            os.write(2, b"x" * 100)
            time.sleep(0.01)

    in_background(talk)
    return "done"


@harmless()
def returns_while_programs_still_run(world: World) -> Any:
    return [subprocess.Popen(["sleep", "600"], start_new_session=True).pid > 0 for _ in range(10)]


@harmless()
def returns_while_children_are_being_forked(world: World) -> Any:
    def breed() -> None:
        while True:
            if os.fork() == 0:
                os._exit(0)

    in_background(breed)
    return "done"


@ends("timed_out", timeout_s=0.7)
def keeps_a_thread(world: World) -> Any:
    threading.Thread(target=_stay).start()
    return "returned"


@ends("timed_out", timeout_s=0.7)
def stays_in_an_exit_handler(world: World) -> Any:
    atexit.register(_stay)
    return "returned"


@ends("timed_out", timeout_s=0.7)
def stays_in_a_finalizer(world: World) -> Any:
    class Sticky:
        def __del__(self) -> None:
            _stay()

    return len([Sticky()])


@ends("timed_out", timeout_s=0.7)
def waits_in_the_kernel_for_its_child(world: World) -> Any:
    os.waitpid(os.posix_spawn("/bin/sleep", ["sleep", "600"], {}), 0)


@ends("timed_out", timeout_s=0.7)
def waits_for_a_lock_of_its_own(world: World) -> Any:
    lock = threading.Lock()
    lock.acquire()
    lock.acquire()


@ends("timed_out", timeout_s=0.7)
def refuses_every_exception(world: World) -> Any:
    while True:
        try:
            time.sleep(60)
        except BaseException:
            continue


@ends("timed_out", timeout_s=0.7)
def asks_for_its_own_death_in_a_long_while(world: World) -> Any:
    signal.alarm(600)
    signal.pause()


@ends("failed")
def dies_by_a_signal(world: World) -> Any:
    os.kill(os.getpid(), signal.SIGKILL)


@ends("failed")
def dies_by_a_fault_of_memory(world: World) -> Any:
    ctypes.string_at(0)


@ends("failed", "memory_exceeded")
def dies_by_too_deep_a_recursion(world: World) -> Any:
    sys.setrecursionlimit(10**9)

    def deeper() -> Any:
        return [deeper()]

    return deeper()
