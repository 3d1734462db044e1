"""Takes more than it was given."""

import ctypes
import mmap
import os
import re
import signal
import socket
import sys
import tempfile
import threading
import time
from typing import Any

from trade import call, ends, harmless, in_background, libc, refused

World = dict[str, Any]

MIB = 1 << 20


def _hold(size: int) -> bytearray:
    """Memory that is really there."""
    held = bytearray(size)
    held[:: mmap.PAGESIZE] = b"x" * len(held[:: mmap.PAGESIZE])
    return held


def _fill(path: str, size: int) -> None:
    with open(path, "wb", buffering=0) as file:
        file.writelines(b"x" * MIB for _ in range(size // MIB))


# --- memory -----------------------------------------------------------------------------------------------------------


@ends("memory_exceeded", memory_mib=64)
def takes_too_much_memory(world: World) -> Any:
    return len(_hold(300 * MIB))


@ends("memory_exceeded", memory_mib=64)
def takes_too_much_memory_bit_by_bit(world: World) -> Any:
    held = []
    while True:
        held.append(_hold(MIB))


@ends("memory_exceeded", memory_mib=64)
def takes_too_much_memory_in_two_children(world: World) -> Any:
    """Each of the two is within the limit; both together are not, and do not both live."""
    for _ in range(2):
        if os.fork() == 0:
            held = _hold(40 * MIB)
            time.sleep(1.5)
            os._exit(len(held) and 0)
    for _ in range(2):
        os.wait()
    return "both lived"


@ends("memory_exceeded", memory_mib=64)
def takes_too_much_memory_in_many_children(world: World) -> Any:
    for _ in range(20):
        if os.fork() == 0:
            held = _hold(10 * MIB)
            time.sleep(1.5)
            os._exit(len(held) and 0)
    for _ in range(20):
        os.wait()
    return "all lived"


@ends("memory_exceeded", memory_mib=64)
def takes_too_much_memory_in_a_process_left_behind(world: World) -> Any:
    in_background(lambda: (_hold(300 * MIB), time.sleep(5)))
    time.sleep(2)
    return "lived"


@ends("memory_exceeded", memory_mib=64)
def takes_too_much_memory_in_threads(world: World) -> Any:
    held: list[bytearray] = []
    threads = [threading.Thread(target=lambda: held.append(_hold(20 * MIB))) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return len(held)


@ends("memory_exceeded", memory_mib=64, tiers="namespaces")
def takes_too_much_memory_as_temporary_files(world: World) -> Any:
    _fill(f"{tempfile.gettempdir()}/large", 200 * MIB)


@ends("memory_exceeded", memory_mib=64, tiers="namespaces")
def takes_too_much_memory_as_files_of_its_work_folder(world: World) -> Any:
    for number in range(10):
        _fill(f"large-{number}", 20 * MIB)


@ends("memory_exceeded", "failed", memory_mib=32)
def takes_too_much_memory_as_shared_files(world: World) -> Any:
    _fill("/dev/shm/large", 60 * MIB)


@ends("memory_exceeded", "failed", memory_mib=64)
def takes_too_much_memory_in_files_without_a_name(world: World) -> Any:
    for _ in range(10):
        descriptor = os.memfd_create("large")
        for _ in range(20):
            os.write(descriptor, b"x" * MIB)
    return "all there"


@ends("memory_exceeded", memory_mib=64)
def takes_too_much_memory_shared_without_a_name(world: World) -> Any:
    area = mmap.mmap(-1, 300 * MIB, flags=mmap.MAP_SHARED)
    for place in range(0, len(area), mmap.PAGESIZE):
        area[place] = 1
    return len(area)


@ends("memory_exceeded", "failed", memory_mib=64)
def takes_too_much_memory_in_segments(world: World) -> Any:
    libc.shmat.restype = ctypes.c_void_p
    for _ in range(10):
        segment = call("shmget", 0, 20 * MIB, 0o1600)
        ctypes.memset(libc.shmat(segment, None, 0), 1, 20 * MIB)
    return "all there"


@ends("memory_exceeded", memory_mib=64)
def takes_too_much_memory_after_raising_its_score(world: World) -> Any:
    """Asks the killer to take everybody else first; it may only make itself a better choice."""
    for score in (b"-1000", b"0"):
        try:
            os.write(os.open("/proc/self/oom_score_adj", os.O_WRONLY), score)
        except OSError:
            continue
    return len(_hold(300 * MIB))


@ends("memory_exceeded", "failed", "timed_out", memory_mib=64, timeout_s=3)
def takes_too_much_memory_in_pipes(world: World) -> Any:
    held = []
    for _ in range(120):
        _reading, writing = os.pipe()
        os.set_blocking(writing, False)
        libc.fcntl(writing, 1031, MIB)
        held.append(os.write(writing, b"x" * MIB))
    if sum(held) < 64 * MIB:
        raise OSError(24, "the kernel gave less")
    return sum(held)


@ends("memory_exceeded", "failed", memory_mib=64)
def locks_memory(world: World) -> Any:
    held = mmap.mmap(-1, 300 * MIB)
    address = ctypes.addressof(ctypes.c_char.from_buffer(held))
    return call("mlock", ctypes.c_void_p(address), ctypes.c_size_t(300 * MIB))


# --- processes, threads, descriptors ----------------------------------------------------------------------------------


@refused("EAGAIN", processes=32)
def starts_processes_without_end(world: World) -> Any:
    pids = []
    try:
        for _ in range(100):
            pid = os.fork()
            if pid == 0:
                time.sleep(60)
                os._exit(0)
            pids.append(pid)
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
    return len(pids)


@ends("timed_out", processes=32, timeout_s=1.0)
def starts_processes_that_start_processes(world: World) -> Any:
    """The fork bomb itself."""
    while True:
        try:
            os.fork()
        except OSError:
            continue


@ends("timed_out", processes=32, timeout_s=1.0, level="strict")
def starts_processes_at_the_level_that_starts_none(world: World) -> Any:
    while True:
        try:
            os.fork()
        except OSError:
            continue


@refused("EAGAIN", processes=32)
def starts_threads_without_end(world: World) -> Any:
    let_go = threading.Event()
    try:
        for _ in range(100):
            threading.Thread(target=let_go.wait, daemon=True).start()
    except RuntimeError as error:
        raise BlockingIOError(11, str(error)) from error
    finally:
        let_go.set()
    return threading.active_count()


@refused("EMFILE", open_files=64)
def opens_files_without_end(world: World) -> Any:
    return [os.open("/dev/null", os.O_RDONLY) for _ in range(100)]


@refused("EMFILE", "ETOOMANYREFS", open_files=64)
def opens_files_without_end_in_flight(world: World) -> Any:
    """Descriptors in messages that nobody reads are counted nowhere in the process."""
    left, right = socket.socketpair()
    left.setblocking(False)
    null = os.open("/dev/null", os.O_RDONLY)
    for sent in range(100_000):
        try:
            socket.send_fds(left, [b"x"], [null] * 50)
        except BlockingIOError as error:
            if sent * 50 < 5_000:
                raise OSError(24, f"after {sent * 50}") from error
            return sent * 50
    return right


# --- files ------------------------------------------------------------------------------------------------------------


@refused("EFBIG", file_bytes=4_194_304)
def writes_a_file_that_is_too_large(world: World) -> Any:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    return _fill("large", 16 * MIB)


@refused("ENOSPC", tiers="namespaces", work_bytes=4_194_304)
def fills_its_work_folder(world: World) -> Any:
    return _fill("large", 16 * MIB)


@refused("ENOSPC", tiers="namespaces", work_bytes=4_194_304)
def fills_its_folder_for_temporary_files(world: World) -> Any:
    return _fill(f"{tempfile.gettempdir()}/large", 16 * MIB)


@ends("failed", "memory_exceeded", "timed_out", memory_mib=64, timeout_s=5.0)
def makes_files_without_end(world: World) -> Any:
    """Each is empty, and costs the kernel a kilobyte."""
    for number in range(10_000_000):
        os.close(os.open(f"{number}", os.O_CREAT))


@ends("failed", "memory_exceeded", "timed_out", memory_mib=64, timeout_s=5.0)
def makes_folders_within_folders_without_end(world: World) -> Any:
    for _ in range(10_000_000):
        os.mkdir("x")
        os.chdir("x")


# --- time -------------------------------------------------------------------------------------------------------------


@ends("timed_out", timeout_s=1.0)
def spins(world: World) -> Any:
    while True:
        pass


@ends("timed_out", timeout_s=1.0)
def sleeps(world: World) -> Any:
    time.sleep(600)


@ends("timed_out", timeout_s=8.0, cpu_s=1.0)
def uses_more_of_the_processor_than_it_has(world: World) -> Any:
    signal.signal(signal.SIGXCPU, signal.SIG_IGN)
    while True:
        pass


@ends("timed_out", timeout_s=8.0, cpu_s=1.0)
def uses_the_processor_in_a_child(world: World) -> Any:
    if os.fork() == 0:
        while True:
            pass
    os.wait()
    while True:
        pass


@ends("timed_out", timeout_s=1.0)
def computes_in_one_instruction_of_python(world: World) -> Any:
    return 9 ** (9**9) % 7


@ends("timed_out", timeout_s=1.0)
def matches_a_pattern_for_ever(world: World) -> Any:
    return re.match(r"(a+)+$", "a" * 64 + "b")


# --- output -----------------------------------------------------------------------------------------------------------


@ends("output_exceeded", output_bytes=65536)
def prints_without_end(world: World) -> Any:
    while True:
        print("x" * 4096)


@ends("output_exceeded", output_bytes=65536)
def prints_errors_without_end(world: World) -> Any:
    while True:
        print("x" * 4096, file=sys.stderr)


@ends("output_exceeded", output_bytes=65536)
def prints_without_end_from_a_process_left_behind(world: World) -> Any:
    def talk() -> None:
        while True:
            os.write(1, b"x" * 4096)

    in_background(talk)
    time.sleep(8)


@ends("output_exceeded", result_bytes=65536)
def returns_too_much(world: World) -> Any:
    return "x" * 1_000_000


@ends("output_exceeded", result_bytes=65536)
def returns_too_much_in_small_pieces(world: World) -> Any:
    return [[] for _ in range(1_000_000)]


@ends("output_exceeded", "failed", "timed_out", "memory_exceeded", result_bytes=65536, timeout_s=5.0)
def returns_something_without_end(world: World) -> Any:
    class Endless(dict[str, int]):
        def items(self) -> Any:
            number = 0
            while True:
                number += 1
                yield str(number), number

        def __iter__(self) -> Any:
            return (name for name, _ in self.items())

    return Endless(a=1)


@ends("failed", "output_exceeded")
def raises_with_a_message_of_a_hundred_megabytes(world: World) -> Any:
    raise ValueError("x" * 40_000_000)


@harmless()
def yields_every_limit_as_text(world: World) -> Any:
    """A run that reads its own limits finds those of this run."""
    text = open("/proc/self/limits").read()
    assert "unlimited" not in next(line for line in text.splitlines() if line.startswith("Max cpu time"))
    assert "Max core file size        0" in text
