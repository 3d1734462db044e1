from pathlib import Path

from support.program import Program


def test_the_schema(stepflow: Program) -> None:
    """Behind before the upgrade, at its head after it, and the check changes nothing."""
    before = stepflow.here.json("db", "check", code=3)
    assert (before["current"], before["behind"]) == (None, True)
    assert not stepflow.home.exists()
    after = stepflow.here.json("db", "upgrade")
    assert after["current"] == after["head"] == before["head"]
    assert stepflow.here("db", "check").stdout == f"schema {after['head']}, as this version wants it\n"


def test_forgetting(stepflow: Program, tool: Path) -> None:
    """What ended longer ago than that goes, what is younger or not ended stays."""
    stepflow.here("run", tool, "--function", "fail")
    stepflow.here("submit", tool, "--id", "waiting")
    assert stepflow.here.json("db", "prune", "--older-than", "1d")["executions"] == 0
    assert stepflow.here.json("db", "prune", "--older-than", "0s")["executions"] == 1
    assert [item["execution_id"] for item in stepflow.here.json("history")["items"]] == ["waiting"]


def test_copying(stepflow: Program, tool: Path, tmp_path: Path) -> None:
    """The counts of each table, for people and programs; the copy has the history."""
    stepflow.here("run", tool, "--function", "fail", "--id", "failed")
    urls = [f"sqlite:///{stepflow.home / 'stepflow.db'}", f"sqlite:///{tmp_path / 'copy.db'}"]
    lines = stepflow.here("db", "copy", *urls).stdout.splitlines()
    assert lines[0].split() == ["TABLE", "MOVED", "ALREADY", "THERE"]
    assert ["executions", "1", "0"] in [line.split() for line in lines]
    again = stepflow.here.json("db", "copy", *urls)
    assert (again["moved"]["executions"], again["already"]["executions"], again["running"]) == (0, 1, 0)
    copied = Program(home=stepflow.home, settings={"DATABASE_URL": urls[1]})
    assert copied.here.json("show", "failed") == stepflow.here.json("show", "failed")
    assert "name two databases" in stepflow.here.json("db", "copy", urls[0], urls[0], code=2)["error"]["message"]


def test_a_span_that_is_none(stepflow: Program) -> None:
    """A bad span is a usage error."""
    done = stepflow.here("db", "prune", "--older-than", "long")
    assert done.returncode == 2
    assert "'long' is no span of time" in done.stderr


def test_a_file_that_is_no_database(home: Path) -> None:
    """The error names the file, and the code is 3."""
    home.mkdir()
    (home / "stepflow.db").write_text("certainly not a database, but long enough to be looked at" * 100)
    error = Program(home=home, settings={}).here.json("db", "check", code=3)["error"]
    assert error["kind"] == "database_error"
    assert str(home / "stepflow.db") in error["message"]
