"""Pairs: one run leaves something, another one looks for it. `leaves_X` is followed, or accompanied, by `finds_X`.

What leaves may return what it left; the one that looks says what it found, which must be nothing.
"""

import ctypes
import json
import os
import socket
import sys
import sysconfig
import tempfile
import time
from typing import Any

from trade import libc, processes, readable

World = dict[str, Any]

MARK = "left-behind-by-another-run"


def _try_to_write(path: str) -> None:
    try:
        with open(path, "w") as file:
            file.write(MARK)
    except OSError:
        return


def leaves_files(world: World) -> Any:
    for folder in ("/tmp", "/var/tmp", "/dev/shm", "/work", "/run", os.getcwd(), tempfile.gettempdir()):
        _try_to_write(f"{folder}/{MARK}")


def finds_files(world: World) -> Any:
    folders = ("/tmp", "/var/tmp", "/dev/shm", "/work", "/run", os.getcwd(), tempfile.gettempdir())
    return [folder for folder in folders if readable(f"{folder}/{MARK}")]


def leaves_a_module(world: World) -> Any:
    for folder in (*sys.path, sysconfig.get_path("purelib"), os.path.dirname(os.__file__)):
        for name in (f"{MARK}.pth", "sitecustomize.py", "usercustomize.py", "json.py"):
            _try_to_write(f"{folder}/{name}")
        for name in os.listdir(folder) if os.path.isdir(folder) else []:
            if name == "__pycache__":
                _try_to_write(f"{folder}/{name}/json.cpython-311.pyc")


def finds_a_module(world: World) -> Any:
    found = [folder for folder in sys.path if readable(f"{folder}/sitecustomize.py").startswith(MARK.encode())]
    return found + ([] if json.dumps([1]) == "[1]" else ["json"])


def leaves_shared_memory(world: World) -> Any:
    libc.shmat.restype = ctypes.c_void_p
    segment = libc.shmget(0x1E7, 4096, 0o1666)
    if segment != -1:
        ctypes.memmove(libc.shmat(segment, None, 0), MARK.encode(), len(MARK))


def finds_shared_memory(world: World) -> Any:
    found = readable("/proc/sysvipc/shm").splitlines()[1:]
    return [*map(repr, found)] + (["by its key"] if libc.shmget(0x1E7, 4096, 0o666) != -1 else [])


def leaves_a_message_queue(world: World) -> Any:
    return libc.mq_open(b"/left", os.O_CREAT | os.O_RDWR, 0o666, None)


def finds_a_message_queue(world: World) -> Any:
    return ["a queue"] if libc.mq_open(b"/left", os.O_RDWR) != -1 else []


def leaves_a_name(world: World) -> Any:
    libc.sethostname(b"left", 4)
    os.umask(0)
    os.environ["LEFT"] = MARK


def finds_a_name(world: World) -> Any:
    return [text for text in (socket.gethostname(), os.environ.get("LEFT", "")) if "left" in text]


def leaves_a_process(world: World) -> Any:
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            libc.prctl(15, b"leftbehind", 0, 0, 0)
            time.sleep(600)
        os._exit(0)
    os.wait()


def finds_a_process(world: World) -> Any:
    return [pid for pid in processes() if b"leftbehind" in readable(f"/proc/{pid}/comm")]


def leaves_a_server(world: World) -> Any:
    """On a port, an abstract name and a file; it is there while the other one looks."""
    servers = []
    for family, address in ((2, ("127.0.0.1", 8123)), (1, "\0left"), (1, f"{tempfile.gettempdir()}/left")):
        try:
            server = socket.socket(family)
            server.bind(address)
            server.listen()
            servers.append(server)
        except OSError:
            continue
    time.sleep(1.5)
    return len(servers)


def finds_a_server(world: World) -> Any:
    found, deadline = [], time.monotonic() + 1.0
    while not found and time.monotonic() < deadline:
        for family, address in ((2, ("127.0.0.1", 8123)), (1, "\0left"), (1, f"{tempfile.gettempdir()}/left")):
            try:
                with socket.socket(family) as client:
                    client.connect(address)
                    found.append(repr(address))
            except OSError:
                continue
        time.sleep(0.02)
    return found


def leaves_a_busy_neighbour(world: World) -> Any:
    """Everything that a neighbour could be seen by, at once."""
    leaves_files(world)
    leaves_shared_memory(world)
    leaves_a_process(world)
    time.sleep(1.5)


def finds_a_busy_neighbour(world: World) -> Any:
    found: list[Any] = []
    deadline = time.monotonic() + 1.0
    while not found and time.monotonic() < deadline:
        found = finds_files(world) + finds_shared_memory(world) + finds_a_process(world)
        time.sleep(0.05)
    return found
