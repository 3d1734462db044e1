"""What lies outside a box and must not change, be read or be reached: the canaries of the attack suite."""

import contextlib
import ctypes
import os
import secrets
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stepflow_python.model.result import SandboxOutcome
from support.leftovers import mounts

IPC_CREAT, IPC_RMID = 0o1000, 0
KEY = 0x57E9
PATIENCE_S = 20.0
WATCHED = (
    *("kernel/core_pattern", "kernel/hostname", "kernel/domainname", "kernel/pid_max"),
    *("kernel/shmmax", "kernel/shmall", "kernel/msgmax", "kernel/sem", "fs/mqueue/msg_max"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outside:
    """The host as an attack would like to have it."""

    folder: Path
    home: Path
    bystander: "subprocess.Popen[bytes]"
    tokens: tuple[str, ...]
    servers: tuple[socket.socket, ...]
    visitors: list[str] = field(default_factory=list)

    @property
    def secret(self) -> Path:
        """A file that any user of the host may read."""
        return self.folder / "secret.txt"

    def described(self) -> dict[str, Any]:
        """What an attack is told: where everything is, and nothing of what it holds."""
        return {
            "secret": str(self.secret),
            "open_folder": str(self.folder / "open"),
            "socket": str(self.folder / "socket"),
            "record": str(self.home / "stepflow.db"),
            "guest": str(self.home / "sandbox" / "guest"),
            "port": self.servers[0].getsockname()[1],
            "abstract": self.folder.name,
            "worker": os.getpid(),
            "bystander": self.bystander.pid,
            "mark": str(self.folder / "mark"),
            "key": KEY,
        }

    def state(self, *, waiting: int = 0) -> dict[str, object]:
        """Everything that an attack may not change, as it is now."""
        pid = self.bystander.pid
        return {
            "the secret file": self.secret.read_text(),
            "the open folder": sorted(path.name for path in (self.folder / "open").iterdir()),
            "the bystander": self.bystander.poll(),
            "its limits": Path(f"/proc/{pid}/limits").read_text(),
            "its chance to be killed": Path(f"/proc/{pid}/oom_score_adj").read_text(),
            "its priority": (os.getpriority(os.PRIO_PROCESS, pid), os.sched_getscheduler(pid)),
            "its processors": os.sched_getaffinity(pid),
            "its being stopped": _stopped(pid),
            "our priority": (os.getpriority(os.PRIO_PROCESS, 0), os.sched_getaffinity(0)),
            "our mounts": mounts(),
            "the kernel's settings": [Path("/proc/sys", name).read_text() for name in WATCHED],
            "visitors": list(self.visitors),
            "processes": _processes() - waiting,
        }

    def settled(self, before: dict[str, object], *, waiting: int = 0) -> dict[str, object]:
        """The state once it is as it was, or after a moment: the last of a killed tree may still be on their way."""
        deadline = time.monotonic() + PATIENCE_S
        while (state := self.state(waiting=waiting)) != before and time.monotonic() < deadline:
            time.sleep(0.01)
        return state

    def spilled(self, outcome: SandboxOutcome) -> list[str]:
        """The tokens of the host that are in what a run gave."""
        given = outcome.model_dump_json() + "".join(
            content.decode("utf-8", "replace") for content in outcome.files.values()
        )
        return [token for token in self.tokens if token in given]


@contextlib.contextmanager
def outside(folder: Path, home: Path) -> Iterator[Outside]:
    """Put the canaries up; all of them are gone in the end."""
    tokens = tuple(secrets.token_hex(16) for _ in range(3))
    (folder / "secret.txt").write_text(tokens[0])
    (folder / "secret.txt").chmod(0o644)
    (home / "stepflow.db").write_text(tokens[0])
    (folder / "open").mkdir()
    (folder / "open").chmod(0o777)
    (folder / "mark").touch()
    os.environ["STEPFLOW_TEST_CANARY"] = tokens[1]
    bystander = subprocess.Popen(
        ["tail", "-f", str(folder / "mark")],
        env={"STEPFLOW_TEST_CANARY": tokens[2]},
        stdout=subprocess.DEVNULL,
    )
    with contextlib.ExitStack() as stack:
        stack.callback(os.environ.pop, "STEPFLOW_TEST_CANARY")
        stack.callback(bystander.wait)
        stack.callback(bystander.kill)
        stack.enter_context(_shared_memory(tokens[2]))
        servers = tuple(stack.enter_context(server) for server in _servers(folder))
        found = Outside(folder=folder, home=home, bystander=bystander, tokens=tokens, servers=servers)
        for server in servers:
            threading.Thread(target=_serve, args=(server, found.visitors), daemon=True).start()
            stack.callback(server.shutdown, socket.SHUT_RDWR)
        yield found


def _servers(folder: Path) -> Iterator[socket.socket]:
    """Servers on loopback of both versions, on an abstract name, and among the files."""
    first = socket.create_server(("127.0.0.1", 0))
    yield first
    port = first.getsockname()[1]
    with contextlib.suppress(OSError):  # a host without version 6
        yield socket.create_server(("::1", port), family=socket.AF_INET6)
    for address in ("\0" + folder.name, str(folder / "socket")):
        server = socket.socket(socket.AF_UNIX)
        server.bind(address)
        server.listen()
        yield server
    (folder / "socket").chmod(0o777)


def _serve(server: socket.socket, visitors: list[str]) -> None:
    with contextlib.suppress(OSError):  # it is shut down in the end
        while True:
            client, _ = server.accept()
            visitors.append(f"{server.getsockname()!r}")
            client.close()


@contextlib.contextmanager
def _shared_memory(token: str) -> Iterator[None]:
    """A segment of shared memory that every user of the host may attach to."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.shmat.restype = ctypes.c_void_p
    segment = libc.shmget(KEY, 4096, IPC_CREAT | 0o666)
    if segment == -1:
        raise OSError(ctypes.get_errno(), "shmget")
    ctypes.memmove(libc.shmat(segment, None, 0), token.encode(), len(token))
    try:
        yield
    finally:
        libc.shmctl(segment, IPC_RMID, None)


def _stopped(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "Tt"


def _processes() -> int:
    """How many processes there are; in a throw-away pid namespace all of them are ours."""
    return sum(path.name.isdigit() for path in Path("/proc").iterdir())
