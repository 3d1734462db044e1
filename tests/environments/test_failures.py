"""Foreign faults at the one door."""

import errno
from pathlib import Path

import pytest

from stepflow_python.environments.failures import installer_error, translated
from stepflow_python.errors import DependencyError, EnvironmentUnavailableError, PythonEnvironmentError
from stepflow_python.process.run import Completed

FOLDER = Path("/data/environments")


@pytest.mark.parametrize(
    ("words", "kind", "retryable"),
    [
        ("error: No solution found when resolving dependencies\n  cause: Because x", DependencyError, False),
        ("error: Failed to download\n  cause: Hash mismatch for `x==1`", DependencyError, False),
        ("error: Failed to fetch: http://h/\n  cause: dns error", EnvironmentUnavailableError, True),
        ("error: HTTP status client error (401 Unauthorized)", EnvironmentUnavailableError, True),
        ("error: Failed to write\n  cause: No space left on device (os error 28)", EnvironmentUnavailableError, True),
        ("error: something new", PythonEnvironmentError, False),
    ],
)
def test_what_the_installer_says_decides(words: str, kind: type[PythonEnvironmentError], retryable: bool) -> None:  # noqa: FBT001 - a column of the table
    """Each fault has its kind, and only those that time may mend are to be tried again."""
    error = installer_error(
        Completed(returncode=2, stdout=b"", stderr=words.encode()), doing="resolving x", folder=FOLDER
    )
    assert type(error) is kind
    assert error.retryable is retryable
    assert error.message.startswith("resolving x: ")


def test_a_killed_installer_may_be_started_again() -> None:
    """A signal is nobody's requirement."""
    error = installer_error(Completed(returncode=-9, stdout=b"", stderr=b""), doing="resolving x", folder=FOLDER)
    assert error.retryable
    assert "signal 9" in error.message


def test_messages_are_short_and_keep_secrets() -> None:
    """Our paths and credentials are taken out, endless words are cut."""
    words = b"error: http://me:secret@h/x in /data/environments/.cache/uv " + b"x" * 100_000
    error = installer_error(Completed(returncode=2, stdout=b"", stderr=words), doing="resolving x", folder=FOLDER)
    assert "secret" not in error.message
    assert "/data" not in error.message
    assert len(error.message) < 2200


@pytest.mark.parametrize("cause", [TimeoutError(), OSError(errno.ENOSPC, "x", "/data/environments/y"), OSError("odd")])
def test_time_and_disk_are_translated_with_their_cause(cause: OSError) -> None:
    """They become retryable errors that name the place."""
    with pytest.raises(EnvironmentUnavailableError, match="/data/environments") as caught, translated(FOLDER):
        raise cause
    assert caught.value.__cause__ is cause


def test_errors_of_ours_pass() -> None:
    """What is already in the tree stays what it is."""
    with pytest.raises(DependencyError, match="as it was"), translated(FOLDER):
        raise DependencyError("as it was")
