"""The folder of one environment: whole with its marker, rubbish without; read-only once it is whole."""

import contextlib
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

from pydantic import Field, ValidationError

from stepflow_python.environments.content import environment_id
from stepflow_python.environments.files import write_whole
from stepflow_python.environments.inventory import INVENTORY, keep, protect, protect_one
from stepflow_python.model.environment import Environment
from stepflow_python.model.values import Value

MARKER = ".complete"


class _Marker(Value):
    """What the marker holds. The key proves it ours: a package cannot hold the hash of itself."""

    key: str
    environment: Environment
    times: dict[str, float] = Field(default_factory=dict)


def read(path: Path) -> Environment | None:
    """The environment in a folder, or none if it is not whole, not in its place, or its interpreter is gone."""
    try:
        marker = _Marker.model_validate_json((path / MARKER).read_bytes())
    except (OSError, ValidationError):
        return None
    environment = marker.environment
    named = environment.id == path.name == environment_id(path.name.partition("-")[0], marker.key)
    return environment if named and environment.path == path and environment.interpreter.exists() else None


def build_times(path: Path) -> dict[str, float]:
    """How long each step of the build took, in ms; nothing if it is not whole."""
    try:
        return _Marker.model_validate_json((path / MARKER).read_bytes()).times
    except (OSError, ValidationError):
        return {}


def is_whole(environment: Environment) -> bool:
    """Whether an environment that was read before is still there; two looks at the disk, no reading."""
    return (environment.path / MARKER).exists() and environment.interpreter.exists()


def seal(environment: Environment, key: str, *, compiled: bool, times: Mapping[str, float] | None = None) -> None:
    """Make all of it readable by everyone and writable by none, then whole; `compiled`: its bytecode is complete.

    `times`: how long each step of the build took, in ms.
    """
    found = protect(environment.path)
    # One that a package brought would pose as ours.
    (environment.path / INVENTORY).unlink(missing_ok=True)
    if compiled:
        keep(environment.path, found)
    marker = environment.path / MARKER
    write_whole(marker, _Marker(key=key, environment=environment, times=dict(times or {})).model_dump_json().encode())
    protect_one(marker, 0o600)
    protect_one(environment.path, 0o755)


def seal_compiled(environment: Environment) -> None:
    """Note that the bytecode of a whole environment is complete now."""
    with opened(environment.path):
        keep(environment.path, protect(environment.path))


@contextlib.contextmanager
def opened(path: Path) -> Iterator[None]:
    """Let the owner add files to a sealed folder."""
    path.chmod(0o755)
    try:
        yield
    finally:
        path.chmod(0o555)


def condemn(path: Path) -> None:
    """Make a whole environment rubbish, which is built anew when it is needed."""
    with opened(path):
        (path / MARKER).unlink(missing_ok=True)


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
