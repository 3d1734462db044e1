"""The one door at which faults of the installer and of the disk become errors of ours."""

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

from stepflow_python.environments.installer_env import without_credentials
from stepflow_python.errors import DependencyError, EnvironmentUnavailableError, PythonEnvironmentError, PythonError
from stepflow_python.process.run import Completed


class NoWheelError(DependencyError):
    """There is no solution of wheels alone; `names` have none."""

    def __init__(self, message: str, names: tuple[str, ...]) -> None:
        self.names = names
        super().__init__(message)


_LONGEST = 2000
_UNREACHABLE = re.compile(
    r"failed to (?:fetch|download)|error sending request|dns error|connection (?:refused|reset)|timed out"
    r"|network connectivity is disabled|status (?:client|server) error|tls|certificate",
    re.IGNORECASE,
)
_DISK = re.compile(r"no space left|disk quota|read-only file system|input/output error", re.IGNORECASE)
_UNSOLVABLE = "No solution found"
_HASHES = "Hash mismatch"
_NO_WHEEL = re.compile(r"Wheels are required for `([^`]+)` because building from source is disabled")
_BUILD = "publish wheels, or have the operator set ALLOW_SOURCE_BUILDS: they are built in the sandbox then"


def installer_error(done: Completed, *, doing: str, folder: Path) -> PythonError:
    """The error for an installer that ended with another code than 0, in its own words.

    Args:
        done: how it ended.
        doing: what it was told to do, such as `resolving idna`.
        folder: our folder, whose path is nobody's business.
    """
    words = _words(done.stderr, folder)
    if _DISK.search(words):
        return EnvironmentUnavailableError(f"{doing}: {words}; free some space in {folder} and try again")
    if _UNSOLVABLE in words and (names := _NO_WHEEL.findall(words)):
        return NoWheelError(f"{doing}: {words}; {_BUILD}", tuple(names))
    if _UNSOLVABLE in words or _HASHES in words:
        return DependencyError(f"{doing}: {words}")
    if _UNREACHABLE.search(words):
        return EnvironmentUnavailableError(f"{doing}: the registry cannot be reached now; try again later. {words}")
    if done.returncode < 0:
        return EnvironmentUnavailableError(f"{doing}: the installer was killed by signal {-done.returncode}; try again")
    return PythonEnvironmentError(f"{doing}: {words}")


@contextlib.contextmanager
def translated(folder: Path) -> Iterator[None]:
    """Faults of time and disk below a folder become `EnvironmentUnavailableError`s that name it."""
    try:
        yield
    except TimeoutError as error:
        raise EnvironmentUnavailableError(f"{folder}: {str(error) or 'took too long'}; try again later") from error
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        place = error.filename or folder
        raise EnvironmentUnavailableError(f"{place}: {reason}; make room or access there and try again") from error


def _words(stderr: bytes, folder: Path) -> str:
    """What the installer said, in one line, without our paths and without credentials."""
    lines = stderr.decode("utf-8", "replace").replace(str(folder), "<environments>").splitlines()
    said = " ".join(line.strip() for line in lines).removeprefix("error: ").replace(" cause: ", ": ")
    text = without_credentials(said)
    return text if len(text) <= _LONGEST else text[:_LONGEST] + "..."
