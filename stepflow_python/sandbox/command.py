"""The command lines of a box: pure functions from values to argv."""

import functools
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from stepflow_python.model.limits import Limits

GUEST = "/run/guest"
WORK = "/work"
UID = 1000
SHARED_MEMORY_BYTES = 64 * 1024 * 1024

BOOT = "import sys; sys.path.insert(0, {folder!r}); from stepflow_guest.{module} import main; main()"

# What of the host's /etc changes while a worker lives, and only a run with a network needs.
ETC_NETWORK = ("resolv.conf", "hosts", "nsswitch.conf", "gai.conf", "host.conf")


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What a box shows of the host: `shown` pairs of (where it lies, where the box sees it), all read-only."""

    shown: tuple[tuple[Path, Path], ...]
    guest: Path
    etc: Path
    """What the box sees as `/etc`."""
    network: bool = False
    capabilities: tuple[str, ...] = ()
    """What process 1 of the box may do inside its user namespace; a tool never gets any of it."""
    files: bool = True
    """Whether the run may write anywhere."""


def bubblewrap_command(program: Path, view: View, limits: Limits, *, filter_fd: int | None = None) -> list[str]:
    """The bubblewrap argv up to the program that runs in the box.

    Args:
        program: bubblewrap.
        view: what the box shows of the host.
        limits: of the run.
        filter_fd: a descriptor to read a filter of system calls from, for all that runs in the box.
    """
    argv = [
        str(program),
        *("--unshare-user", "--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try"),
        *(() if view.network else ("--unshare-net",)),
        *("--uid", str(UID), "--gid", str(UID), "--hostname", "box"),
        *("--disable-userns", "--die-with-parent", "--new-session", "--as-pid-1", "--cap-drop", "ALL"),
        *(part for name in view.capabilities for part in ("--cap-add", name)),
        *_system(),
        *_etc(view),
    ]
    argv += ["--proc", "/proc", "--dev", "/dev"]
    writable = ((SHARED_MEMORY_BYTES, "/dev/shm"), (limits.work_bytes, "/tmp"), (limits.work_bytes, WORK))  # noqa: S108 - inside the box
    for size, folder in writable:
        argv += ["--size", str(size), "--tmpfs", folder]
    # After the tmpfs: an environment of the host may itself lie below /tmp.
    for source, target in view.shown:
        if not target.is_relative_to("/usr"):
            argv += ["--ro-bind", str(source), str(target)]
    argv += ["--ro-bind", str(view.guest), GUEST]
    if filter_fd is not None:
        argv += ["--seccomp", str(filter_fd)]
    if not view.files:
        argv += [part for _, folder in writable for part in ("--remount-ro", folder)]
    argv += ["--remount-ro", "/dev", "--remount-ro", "/", "--chdir", WORK, "--"]
    return argv


def python_command(interpreter: Path, *, guest: str, fds: tuple[int, ...], module: str = "main") -> list[str]:
    """The argv of the guest.

    -I and -S: neither variables nor the user's folders nor start-up hooks of the environment run before the guest.
    """
    boot = BOOT.format(folder=guest, module=module)
    return [str(interpreter), "-I", "-S", "-X", "utf8", "-c", boot, *map(str, fds)]


def unprivileged_command(uid: int, argv: Sequence[str]) -> list[str]:
    """The same program as another user, without any group or capability left over from root."""
    return [
        "/usr/bin/setpriv",
        *(f"--reuid={uid}", f"--regid={uid}", "--clear-groups", "--inh-caps=-all", "--bounding-set=-all", "--"),
        *argv,
    ]


@functools.cache
def _system() -> tuple[str, ...]:
    """The host's `/usr`, and the top-level folders that lead into it, as links or as they are. Asked once."""
    argv = ["--ro-bind", "/usr", "/usr"]
    for name in ("/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"):
        folder = Path(name)
        if folder.is_symlink():
            argv += ["--symlink", os.readlink(folder), name]  # noqa: PTH115 - the text as it is, not a path made of it
        elif folder.is_dir():
            argv += ["--ro-bind", name, name]
    return tuple(argv)


def _etc(view: View) -> list[str]:
    argv = ["--ro-bind", str(view.etc), "/etc"]
    if view.network:
        argv += [part for name in ETC_NETWORK for part in ("--ro-bind-try", f"/etc/{name}", f"/etc/{name}")]
    return argv
