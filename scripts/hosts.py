"""Hosts on one machine: network namespaces with addresses of their own on a bridge, each with its processes and name.

Needs root. What a host starts sees no other host's processes, and nothing of this machine's network but the bridge, on
which ports of this machine's loopback are offered. A host's cable can be pulled and put back: packets are then lost,
and nobody is told, as it is when a switch fails.
"""

import contextlib
import os
import secrets
import socket
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

CHUNK = 65536
IP = "ip"


class NoHostsError(RuntimeError):
    """This machine cannot have any: not root, no `ip`, or no namespaces."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """A host on a bridge; `cable` is this machine's end of its link, `groups` hold its processes."""

    name: str
    address: str
    cable: str
    groups: tuple[Path, ...]

    def start(self, words: list[str], environ: Mapping[str, str], log: int) -> "subprocess.Popen[bytes]":
        """Start a program there as the first of its processes: with it all others end."""
        groups = " ".join(str(group / "cgroup.procs") for group in self.groups)
        inside = f'for group in {groups}; do echo $$ > "$group"; done; hostname {self.name} && exec "$@"'
        outside = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc", "--uts", "sh", "-c", inside, "sh"]
        return subprocess.Popen(
            # Not `ip netns exec`, which hides the control groups.
            ["nsenter", f"--net=/run/netns/{self.name}", *outside, *words],
            env=dict(environ),
            stdout=log,
            stderr=log,
            start_new_session=True,
        )

    def pull(self) -> None:
        """Pull its cable."""
        run(IP, "link", "set", self.cable, "down")

    def plug(self) -> None:
        """Put it back."""
        run(IP, "link", "set", self.cable, "up")


@dataclass(frozen=True, slots=True, kw_only=True)
class Bridge:
    """What hosts are connected to; `address` is this machine's own."""

    name: str
    net: str

    @property
    def address(self) -> str:
        """Under which hosts reach this machine."""
        return f"{self.net}.1"

    @contextlib.contextmanager
    def host(self, number: int) -> Iterator[Host]:
        """A further host, from 1 on."""
        name = f"{self.name}-{number}"
        made = Host(
            name=name,
            address=f"{self.net}.{10 + number}",
            cable=f"{self.name}v{number}",
            groups=tuple(own / name for own in own_groups()),
        )
        for group in made.groups:
            group.mkdir()
        run(IP, "netns", "add", made.name)
        try:
            run(IP, "link", "add", made.cable, "type", "veth", "peer", "name", "eth0", "netns", made.name)
            run(IP, "link", "set", made.cable, "master", self.name, "up")
            for words in (
                ("addr", "add", f"{made.address}/24", "dev", "eth0"),
                ("link", "set", "eth0", "up"),
                ("link", "set", "lo", "up"),
            ):
                run(IP, "-netns", made.name, *words)
            yield made
        finally:
            run(IP, "netns", "delete", made.name)
            for group in made.groups:
                _remove(group)

    @contextlib.contextmanager
    def offered(self, port: int) -> Iterator[int]:
        """A port of this machine's loopback, on the bridge; the number under which it is there."""
        with socket.create_server((self.address, 0)) as door:
            threading.Thread(target=_forward_all, args=(door, port), daemon=True).start()
            try:
                yield int(door.getsockname()[1])
            finally:
                door.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def bridge() -> Iterator[Bridge]:
    """A bridge with nothing on it.

    Raises:
        NoHostsError: this machine cannot have one.
    """
    if os.geteuid() != 0:
        raise NoHostsError("only root may make network namespaces")
    token = secrets.token_hex(3)
    made = Bridge(name=f"sf{token}", net=f"10.{200 + secrets.randbelow(50)}.{secrets.randbelow(250)}")
    try:
        run(IP, "link", "add", made.name, "type", "bridge")
    except (OSError, subprocess.CalledProcessError) as error:
        raise NoHostsError(f"no bridge can be made here: {error}") from error
    try:
        run(IP, "addr", "add", f"{made.address}/24", "dev", made.name)
        run(IP, "link", "set", made.name, "up")
        yield made
    finally:
        run(IP, "link", "delete", made.name)


def own_groups() -> list[Path]:
    """This process's control groups of version 1, whose names hosts that share them would both use; else none."""
    found = []
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _number, controller, path = line.split(":", 2)
        folder = Path(f"/sys/fs/cgroup/{controller}{path}")
        if controller in {"memory", "pids"} and (folder / "cgroup.procs").exists():
            found.append(folder)
    return found


def _remove(group: Path) -> None:
    """A group that nothing is in any more, with those below it."""
    until = time.monotonic() + 10
    while group.exists() and time.monotonic() < until:
        for folder in sorted(filter(Path.is_dir, group.rglob("*")), reverse=True):
            with contextlib.suppress(OSError):
                folder.rmdir()
        with contextlib.suppress(OSError):
            group.rmdir()
        time.sleep(0.05)


def run(*words: str) -> None:
    """Run a command that must succeed."""
    subprocess.run(words, check=True, capture_output=True, timeout=60)


def _forward_all(door: socket.socket, port: int) -> None:
    with contextlib.suppress(OSError):
        while True:
            caller, _address = door.accept()
            threading.Thread(target=_forward, args=(caller, port), daemon=True).start()


def _forward(caller: socket.socket, port: int) -> None:
    with caller, contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)) as server:
        back = threading.Thread(target=_pump, args=(server, caller), daemon=True)
        back.start()
        _pump(caller, server)
        back.join()


def _pump(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(CHUNK):
            target.sendall(data)
    # Whoever reads there is told, and ends the other direction in turn.
    for one in (source, target):
        with contextlib.suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)
