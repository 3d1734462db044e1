from pathlib import Path

from support.program import Program

from stepflow_python.config import Settings


def test_a_host_that_can_run_tools(shared: Program) -> None:
    """Every part answers, and every setting is there."""
    stepflow = shared
    found = stepflow.here.json("doctor")
    assert found["usable"]
    assert {part: finding["fine"] for part, finding in found["findings"].items()} == dict.fromkeys(
        ("isolation", "interpreters", "installer", "database", "broker"), True
    )
    assert set(found["settings"]) == set(Settings.described())
    told = stepflow.here("doctor").stdout
    assert all(variable in told for variable in Settings.described())
    assert "\x1b" not in told


def test_what_cannot_be_reached_is_told_without_secrets(home: Path) -> None:
    """A broker and a database that do not answer are findings; without the record no tool runs: 3."""
    settings = {
        "BROKER_URL": "amqp://me:hush@127.0.0.1:1//",
        "DATABASE_URL": "postgresql://me:hush@127.0.0.1:1/none",
    }
    stepflow = Program(home=home, settings=settings)
    found = stepflow.here.json("doctor", code=3)
    assert not found["usable"]
    assert not found["findings"]["broker"]["fine"]
    assert not found["findings"]["database"]["fine"]
    assert found["findings"]["isolation"]["fine"]
    done = stepflow.here("doctor")
    assert "hush" not in done.stdout + done.stderr + str(found)
