"""The folder of one environment: whole with its marker, rubbish without; read-only once it is whole."""

import contextlib
import os
import shutil
from pathlib import Path

from pydantic import ValidationError

from stepflow_python.environments.content import environment_id
from stepflow_python.environments.files import write_whole
from stepflow_python.model.environment import Environment
from stepflow_python.model.values import Value

MARKER = ".complete"

_WRITE = 0o222
_READ = 0o444
_RUN = 0o111
_OWNER_RUNS = 0o100


class _Marker(Value):
    """What the marker holds. The key proves it ours: a package cannot hold the hash of itself."""

    key: str
    environment: Environment


def read(path: Path) -> Environment | None:
    """The environment in a folder, or none if it is not whole, not in its place, or its interpreter is gone."""
    try:
        marker = _Marker.model_validate_json((path / MARKER).read_bytes())
    except (OSError, ValidationError):
        return None
    environment = marker.environment
    named = environment.id == path.name == environment_id(path.name.partition("-")[0], marker.key)
    return environment if named and environment.path == path and environment.interpreter.exists() else None


def is_whole(environment: Environment) -> bool:
    """Whether an environment that was read before is still there; two looks at the disk, no reading."""
    return (environment.path / MARKER).exists() and environment.interpreter.exists()


def seal(environment: Environment, key: str) -> None:
    """Make all of it readable by everyone and writable by none, then whole."""
    for parent, folders, files in os.walk(environment.path):
        for name in files:
            _protect(Path(parent) / name)
        for name in folders:
            _protect(Path(parent) / name)
    marker = environment.path / MARKER
    write_whole(marker, _Marker(key=key, environment=environment).model_dump_json().encode())
    _protect(marker)
    _protect(environment.path)


def erase(path: Path) -> None:
    """Remove a folder, whole or not; the marker goes first, so that what is left by a crash is rubbish."""
    if not path.exists():
        return
    path.chmod(0o700)
    (path / MARKER).unlink(missing_ok=True)
    for parent, folders, _files in os.walk(path):
        for name in folders:
            folder = Path(parent) / name
            if not folder.is_symlink():
                folder.chmod(0o700)
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(path)


def _protect(path: Path) -> None:
    """Never through a link: `bin/python` links to the machine's own interpreter."""
    if path.is_symlink():
        return
    mode = path.stat().st_mode & 0o7777
    runs = _RUN if mode & _OWNER_RUNS else 0
    wanted = (mode | _READ | runs) & ~_WRITE
    if wanted != mode:
        path.chmod(wanted)
