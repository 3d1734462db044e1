import sys

from support.program import Program

VERSION = f"{sys.version_info[0]}.{sys.version_info[1]}"


def test_the_life_of_an_environment(stepflow: Program) -> None:
    """Made once, found again, listed, shown, removed."""
    stepflow = stepflow.here
    made = stepflow.json("env", "create", "--python", VERSION)
    assert made["python_version"].startswith(VERSION)
    assert stepflow("env", "create", "--python", VERSION).stdout == made["id"] + "\n"
    assert stepflow.json("env", "list") == [made]
    assert made["id"] in stepflow("env", "list").stdout
    shown = stepflow.json("env", "show", made["id"][:10])
    assert made.items() <= shown.items()
    assert shown.keys() - made.keys() == {"bytes", "last_used", "build_times"}
    assert f"python:      {made['python_version']}" in stepflow("env", "show", made["id"]).stdout
    assert stepflow.json("env", "gc") == {"removed": []}
    assert stepflow.json("env", "gc", "--keep", "0") == {"removed": [made["id"]]}
    assert stepflow.json("env", "list") == []
    assert "none yet" in stepflow("env", "list").stderr


def test_several_are_removed_by_the_start_of_their_ids(stepflow: Program) -> None:
    """What several ids start with removes none; the words tell which they are."""
    stepflow = stepflow.here
    made = [stepflow.json("env", "create", *words)["id"] for words in ((), ("--with", "six"))]
    both = made[0].partition("-")[0]
    message = stepflow.json("env", "remove", both, code=2)["error"]["message"]
    assert all(environment_id in message for environment_id in made)
    assert stepflow.json("env", "remove", made[0][:-2], made[1], made[0]) == {"removed": made}
    assert stepflow.json("env", "list") == []


def test_an_unknown_environment(shared: Program) -> None:
    """Neither shown nor removed; the error names its kind."""
    for command in ("show", "remove"):
        error = shared.here.json("env", command, "cp311-0000000000000000", code=2)["error"]
        assert error["kind"] == "environment_error"


def test_a_malformed_requirement(shared: Program) -> None:
    """An option in disguise never reaches the installer."""
    assert shared.here.json("env", "create", "--with=-r /etc/passwd", code=2)["error"]["kind"] == "dependency_error"
