"""Reaches for other processes, the supervisor of the run first of all."""

import ctypes
import os
import signal
import socket
import time
from typing import Any

from trade import call, ends, finds_nothing, harmless, in_background, libc, processes, readable, refused

World = dict[str, Any]


def _everything_to(pid: int) -> list[int]:
    """Send every signal; those that the kernel took."""
    taken = []
    for number in range(1, signal.NSIG):
        try:
            os.kill(pid, number)
        except OSError:
            continue
        taken.append(number)
    return taken


def _sent(pid: int, number: int) -> str:
    try:
        os.kill(pid, number)
    except PermissionError:
        return "refused"
    return "sent"


@finds_nothing(tiers="namespaces")
def sees_processes_of_the_host(world: World) -> Any:
    """Process 1 of the box, this one, and no other."""
    return [pid for pid in processes() if pid not in {1, os.getpid()}]


@refused("ESRCH", "EPERM")
def kills_a_process_of_the_host(world: World) -> Any:
    return os.kill(world["bystander"], signal.SIGKILL)


@refused("ESRCH", "EPERM")
def signals_the_worker_as_the_host_numbers_it(world: World) -> Any:
    return os.kill(world["worker"], signal.SIGCONT)


@refused("ESRCH", "EPERM")
def signals_the_process_group_of_the_worker(world: World) -> Any:
    return os.killpg(world["worker"], signal.SIGCONT)


@harmless()
def kills_process_1(world: World) -> Any:
    return _sent(1, signal.SIGKILL)


@harmless()
def stops_process_1(world: World) -> Any:
    return _sent(1, signal.SIGSTOP)


@harmless()
def sends_every_signal_to_process_1(world: World) -> Any:
    return _everything_to(1)


@harmless()
def sends_every_signal_to_the_session_of_its_parent(world: World) -> Any:
    for pid in {os.getppid(), os.getsid(0), os.getpgid(0)} - {os.getpid(), 0}:
        _everything_to(pid)


@harmless()
def kills_whatever_it_may(world: World) -> Any:
    in_background(lambda: time.sleep(600))
    os.kill(-1, signal.SIGKILL)
    return "alone"


@ends("failed")
def kills_whatever_it_may_from_a_child(world: World) -> Any:
    """A child's `kill -1` spares the child and process 1, and takes the tool."""
    if os.fork() == 0:
        os.kill(-1, signal.SIGKILL)
        os._exit(0)
    os.wait()


@harmless()
def slows_process_1_down(world: World) -> Any:
    try:
        os.setpriority(os.PRIO_PROCESS, 1, 19)
        os.sched_setscheduler(1, os.SCHED_IDLE, os.sched_param(0))
    except PermissionError:
        return "refused"
    return "done"


@harmless()
def gives_process_1_hundreds_of_orphans(world: World) -> Any:
    for _ in range(300):
        if os.fork() == 0:
            if os.fork() == 0:
                os._exit(0)
            os._exit(0)
        os.wait()


@finds_nothing()
def finds_words_of_the_host_in_its_own_memory(world: World) -> Any:
    """What was forked from the worker would still hold the worker's variables; this process never was."""
    found = []
    half = b"STEPFLOW_TEST_"  # the whole word would find itself
    with open("/proc/self/mem", "rb", buffering=0) as memory:
        for line in open("/proc/self/maps").read().splitlines():
            place, rights = line.split()[:2]
            start, end = (int(number, 16) for number in place.split("-"))
            if "r" in rights and "w" in rights and end - start < 1 << 28:
                try:
                    memory.seek(start)
                    held = memory.read(end - start)
                except (OSError, OverflowError):
                    continue
                ends = (index + len(half) for index in _places_of(half, held))
                found += [place for end in ends if held[end : end + 7] == b"CANARY="]
    return found


def _places_of(part: bytes, whole: bytes) -> list[int]:
    places, at = [], whole.find(part)
    while at >= 0:
        places.append(at)
        at = whole.find(part, at + 1)
    return places


@refused("ENOENT", "EACCES", "EPERM", "ENOSYS")
def attaches_to_shared_memory_of_the_host(world: World) -> Any:
    return call("shmget", world["key"], 4096, 0o666)


@finds_nothing()
def sees_shared_memory_of_the_host(world: World) -> Any:
    return readable("/proc/sysvipc/shm").splitlines()[1:]


@finds_nothing()
def sees_message_queues_of_the_host(world: World) -> Any:
    return readable("/proc/sysvipc/msg").splitlines()[1:] + readable("/proc/sysvipc/sem").splitlines()[1:]


@finds_nothing(tiers="namespaces")
def knows_the_name_of_the_host(world: World) -> Any:
    return [name for name in (socket.gethostname(), os.uname().nodename) if name != "box"]


@harmless()
def takes_a_server_port_of_the_host(world: World) -> Any:
    """In its own network the port is free; who connects on the host still reaches the host's server."""
    try:
        server = socket.create_server(("127.0.0.1", world["port"]))
    except OSError:
        return "refused"
    server.listen()
    return "taken"


@harmless()
def takes_an_abstract_name_of_the_host(world: World) -> Any:
    try:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind("\0" + world["abstract"])
    except OSError:
        return "refused"
    return "taken"


@harmless()
def leaves_a_process_behind_that_waits_for_the_end(world: World) -> Any:
    in_background(lambda: time.sleep(600))
    return "left"


@harmless()
def leaves_a_process_behind_that_ignores_everything(world: World) -> Any:
    def stay() -> None:
        for number in set(range(1, signal.NSIG)) - {signal.SIGKILL, signal.SIGSTOP, 32, 33}:
            signal.signal(number, signal.SIG_IGN)
        time.sleep(600)

    in_background(stay)
    return "left"


@harmless()
def dies_with_its_parent_only_in_name(world: World) -> Any:
    """Takes the parent-death signal off, for itself and its children."""
    libc.prctl(1, 0, 0, 0, 0)
    libc.prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER
    in_background(lambda: time.sleep(600))
    return ctypes.get_errno()


@refused("EPERM", "EACCES")
def opens_the_memory_of_process_1(world: World) -> Any:
    """Whoever writes there is process 1: without the tool's limits, and with the host's pipe."""
    return os.open("/proc/1/mem", os.O_RDWR)


@refused("EPERM", "EACCES")
def opens_the_descriptors_of_process_1(world: World) -> Any:
    """The host's pipe among them, on which answers could be forged."""
    return os.listdir("/proc/1/fd")


@refused("EPERM", "EACCES")
def opens_the_pipe_of_process_1(world: World) -> Any:
    error: OSError = PermissionError(1, "none of them")
    for descriptor in range(3, 64):
        try:
            return os.open(f"/proc/1/fd/{descriptor}", os.O_WRONLY)
        except FileNotFoundError:
            continue
        except OSError as refusal:
            error = refusal
    raise error


@refused("EPERM", "EACCES")
def reads_the_map_of_process_1(world: World) -> Any:
    return open("/proc/1/maps").read()


@refused("EPERM", "EACCES")
def changes_the_memory_score_of_process_1(world: World) -> Any:
    """As the killer's first choice it would go before the tool."""
    return os.write(os.open("/proc/1/oom_score_adj", os.O_WRONLY), b"1000")


@refused("EPERM", "EACCES")
def reads_the_variables_of_process_1(world: World) -> Any:
    return open("/proc/1/environ", "rb").read()
