from pathlib import Path

import pytest

from stepflow_python.cli.diagnosis import masked, setting_lines, shown
from stepflow_python.config import Settings


@pytest.mark.parametrize(
    ("url", "hidden"),
    [
        ("amqp://me:hush@host:5672//", "amqp://me:***@host:5672//"),
        ("redis://:hush@host/0", "redis://:***@host/0"),
        ("postgresql://me:hu/s@h#@host/db", "postgresql://me:***@host/db"),
        ("postgresql://host/db?user=me&password=hush&x=1", "postgresql://host/db?user=me&password=***&x=1"),
        ("amqp://a:hush@one;amqp://b:hush@two", "amqp://a:***@two"),
        ("cannot reach redis://:hush@host now", "cannot reach redis://:***@host now"),
        ("embedded", "embedded"),
        ("sqlite:////folder/stepflow.db", "sqlite:////folder/stepflow.db"),
    ],
)
def test_passwords_are_hidden(url: str, hidden: str) -> None:
    """Whatever form the URL has, its password is not shown."""
    assert masked(url) == hidden


def test_every_setting_has_its_line() -> None:
    """All settings with value, default and unit, and where the value comes from; secrets are hidden."""
    environ = {
        "HOME": "/home/me",
        "STEPFLOW_PYTHON_DATABASE_URL": "postgresql://me:hush@host/db",
        "STEPFLOW_PYTHON_DEFAULT_TIMEOUT": "2.5",
        "STEPFLOW_PYTHON_SCRIPT_ROOT": "/a:/b",
    }
    lines = {line.variable: line for line in setting_lines(Settings.from_environ(environ), environ)}
    assert set(lines) == set(Settings.described())
    timeout = lines["STEPFLOW_PYTHON_DEFAULT_TIMEOUT"]
    assert (timeout.value, timeout.default, timeout.unit, timeout.given) == ("2.5", "30", "s", True)
    assert lines["STEPFLOW_PYTHON_DATABASE_URL"].value == "postgresql://me:***@host/db"
    assert lines["STEPFLOW_PYTHON_SCRIPT_ROOT"].value == "/a:/b"
    assert lines["STEPFLOW_PYTHON_HOME"].value == "/home/me/.local/share/stepflow-python"
    assert not lines["STEPFLOW_PYTHON_QUEUE"].given


def test_values_are_shown_as_they_are_written() -> None:
    """A value looks as it would in its variable."""
    written = [shown(value) for value in (None, True, 30.0, ("a", "b"), (Path("/a"), Path("/b")), 7)]
    assert written == ["", "true", "30", "a,b", "/a:/b", "7"]
