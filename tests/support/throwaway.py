"""Run a command where a broken sandbox can hurt nothing.

As an unprivileged user, in user, pid, mount, network and ipc namespaces of its own that end with the command. Started
by root, it first shows the interpreter to that user (in a mount namespace of its own) and hands it a control group to
make its own groups in; started by anybody else, what it has is already little and it makes the namespaces alone.

    python throwaway.py COMMAND [ARG ...]
"""

import ctypes
import fcntl
import os
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

NOBODY = 65534
CONTROLLERS = ("memory", "pids")
INSIDE = (
    *("unshare", "--user", "--map-current-user", "--keep-caps", "--pid", "--fork", "--kill-child"),
    *("--mount", "--net", "--ipc", "--mount-proc", "--", sys.executable, __file__, "--inside"),
)
SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 1
HOMES = ("HOME", "TMPDIR", "XDG_CACHE_HOME")
FIRST_PID = 10_000
CAPABILITIES_VERSION = 0x2008_0522
CLONE_NEWNS, MS_BIND, MS_REC, MS_SLAVE = 0x0002_0000, 4096, 16384, 1 << 19


def main(command: list[str]) -> int:
    """Run the command; its exit code."""
    if command[:1] == ["--inside"]:
        return _first_process(command[1:])
    if os.getuid() != 0:
        return subprocess.call([*INSIDE, *command])
    groups = _delegated_groups()
    home = tempfile.mkdtemp(prefix="throwaway-")
    os.chown(home, NOBODY, NOBODY)
    try:
        with subprocess.Popen(
            [*INSIDE, *command],
            preexec_fn=lambda: _become_nobody(groups),  # noqa: PLW1509 - this process has one thread
            env=_variables(home),
        ) as process:
            return process.wait()
    finally:
        shutil.rmtree(home, ignore_errors=True)
        for group in groups:
            _remove(group)


def _variables(home: str) -> dict[str, str]:
    """Ours with a home of its own, and a place for bytecode: that user can write none beside our sources.

    Compiling all of them would cost every start of the product three seconds.
    """
    kept = {name: text for name, text in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return kept | dict.fromkeys(HOMES, home) | {"PYTHONPYCACHEPREFIX": f"{home}/bytecode"}


def _become_nobody(groups: list[Path]) -> None:
    _show_interpreter()
    for group in groups:
        (group / "inner" / "cgroup.procs").write_text("0")
    os.setgroups([])
    os.setresgid(NOBODY, NOBODY, NOBODY)
    os.setresuid(NOBODY, NOBODY, NOBODY)


def _first_process(command: list[str]) -> int:
    """Start the command under a pid that no process of a box has, and reap what loses its parent until it ends."""
    _start_loopback()
    Path("/proc/sys/kernel/ns_last_pid").write_text(str(FIRST_PID - 1))
    _drop_capabilities()
    started = os.posix_spawnp(command[0], command, os.environ)
    while True:
        pid, status = os.wait()
        if pid == started:
            return os.waitstatus_to_exitcode(status)


def _start_loopback() -> None:
    """Servers of the host are to be found where attacks look for them: without an interface there could be none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        request = struct.pack("16sh14x", b"lo", 0)
        (flags,) = struct.unpack_from("h", fcntl.ioctl(any_socket, SIOCGIFFLAGS, request), 16)
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", flags | IFF_UP))


def _drop_capabilities() -> None:
    """Give back what was kept to start loopback; ambient ones go with the inheritable."""
    header, none = struct.pack("Ii", CAPABILITIES_VERSION, 0), bytes(24)
    if ctypes.CDLL(None).capset(header, none) != 0:
        raise OSError("capabilities could not be dropped")


def _show_interpreter() -> None:
    """Make folders that only root may enter, on the way to the interpreter, enterable in a private view."""
    libc = ctypes.CDLL(None, use_errno=True)

    def mount(source: Path | str, target: Path | str, kind: str | None, flags: int, data: str | None = None) -> None:
        encoded = [None if text is None else os.fsencode(text) for text in (source, target, kind, data)]
        if libc.mount(encoded[0], encoded[1], encoded[2], flags, encoded[3]) != 0:
            raise OSError(ctypes.get_errno(), f"mount {source} on {target}")

    if libc.unshare(CLONE_NEWNS) != 0:
        raise OSError(ctypes.get_errno(), "unshare")
    mount("none", "/", None, MS_REC | MS_SLAVE)
    needed = (Path(sys.base_prefix).resolve(), Path(__file__).resolve().parents[2], Path(sys.prefix).resolve())
    for closed in {folder for path in needed for folder in _closed(path)[:1]}:
        mount(closed, "/mnt", None, MS_BIND | MS_REC)
        mount("tmpfs", closed, "tmpfs", 0, "mode=0755")
        for path in needed:
            if path.is_relative_to(closed) and not path.exists():
                path.mkdir(parents=True)
                mount(Path("/mnt") / path.relative_to(closed), path, None, MS_BIND | MS_REC)


def _closed(path: Path) -> list[Path]:
    """The folders on the way to a path that others may not enter, from the root."""
    return [folder for folder in reversed(path.parents) if folder.stat().st_mode & 0o005 != 0o005]


def _delegated_groups() -> list[Path]:
    """A control group of each version 1 hierarchy that nobody may make groups in; none where there is no such thing."""
    own = dict(line.split(":", 2)[1:] for line in Path("/proc/self/cgroup").read_text().splitlines())
    groups = []
    for controller in CONTROLLERS:
        base = Path("/sys/fs/cgroup", controller) / own.get(controller, "/missing").lstrip("/")
        if not (base / "cgroup.procs").exists():
            return []
        inner = base / f"throwaway-{os.getpid()}" / "inner"
        inner.mkdir(parents=True)
        for path in (inner, inner / "cgroup.procs", inner / "tasks"):
            os.chown(path, NOBODY, NOBODY)
        groups.append(inner.parent)
    return groups


def _remove(group: Path) -> None:
    for folder in [*sorted(group.rglob("*"), reverse=True), group]:
        if folder.is_dir():
            folder.rmdir()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
