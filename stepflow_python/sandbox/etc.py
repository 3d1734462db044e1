"""The `/etc` that boxes see: one folder made once, since each thing shown separately costs every run two mounts."""

import contextlib
import hashlib
import os
import shutil
import tempfile
from pathlib import Path

# What of the host's /etc a Python program needs: the loader's cache, time zone, certificates.
COPIED = ("ld.so.cache", "localtime", "timezone", "ssl/certs", "ssl/openssl.cnf", "pki/tls/certs", "alternatives")

# The one user of a box, and names for loopback; the host's own users and neighbours stay out of sight.
OWN = {
    "passwd": "tool:x:1000:1000::/work:/bin/sh\n",
    "group": "tool:x:1000:\n",
    "hosts": "127.0.0.1 localhost box\n::1 localhost\n",
    "hostname": "box\n",
    "nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
    "resolv.conf": "",
    "gai.conf": "",
    "host.conf": "",
}


def make_etc(folder: Path, *, host: Path = Path("/etc")) -> Path:
    """The folder for boxes, below `folder`; one for each state of what is copied, so a running box keeps its own.

    Raises:
        OSError: it cannot be written.
    """
    finished = folder / f"etc-{_state(host)}"
    if finished.is_dir():
        return finished
    folder.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(prefix="etc-", dir=folder))
    for name in COPIED:
        _copy(host / name, made / name)
    for name, text in OWN.items():
        (made / name).write_text(text)
    for path in (made, *made.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() else 0o644)
    try:
        made.rename(finished)
    except OSError:  # another process was first
        shutil.rmtree(made)
    return finished


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileNotFoundError, PermissionError):
        if source.is_dir():
            # Keys are not for boxes: certificates lie in the open, and what cannot be read by all is left out.
            shutil.copytree(source, target, symlinks=True, ignore=_closed, ignore_dangling_symlinks=True)
        else:
            shutil.copyfile(source, target)


def _closed(folder: str, names: list[str]) -> set[str]:
    """What others may not read."""
    return {name for name in names if not os.stat(Path(folder, name), follow_symlinks=False).st_mode & 0o004}  # noqa: PTH116 - mode bits


def _state(host: Path) -> str:
    """A hash over what is copied, by time and size, and over what is ours."""
    digest = hashlib.sha256(repr(OWN).encode())
    for name in COPIED:
        with contextlib.suppress(OSError):
            found = (host / name).stat()
            digest.update(f"{name} {found.st_mtime_ns} {found.st_size}\n".encode())
    return digest.hexdigest()[:16]
