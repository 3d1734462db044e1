import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from stepflow_python.cli.main import main
from stepflow_python.cli.source import described, signature
from stepflow_python.model.module import PythonModule
from stepflow_python.parsing.parser import parse_module


def called(*words: object, **settings: str) -> Result:
    """The program in this process: parse and check touch nothing."""
    environ = {f"STEPFLOW_PYTHON_{name}": text for name, text in settings.items()}
    return CliRunner().invoke(main, [str(word) for word in words], env=environ)


@pytest.mark.parametrize(
    "code",
    [
        "def f(): ...",
        "async def f(a, b: int = 1, *args, c=2, **kwargs) -> dict[str, int]: ...",
        "def f(a, /, b, *, c: str): ...",
        "def f(a: int, /): ...",
        "def f(*, a=None, b): ...",
        "def f(*args: int, a): ...",
    ],
)
def test_a_signature_is_as_it_was_written(code: str) -> None:
    """Every kind of parameter is shown as Python writes it."""
    assert signature(parse_module(code).functions[0]) == code.removesuffix(": ...")


def test_one_file_is_an_object(tool: Path) -> None:
    """`parse --json` of one file prints the module's facts."""
    done = called("parse", tool, "--json")
    module = PythonModule.model_validate(json.loads(done.stdout))
    assert done.exit_code == 0
    assert [function.name for function in module.functions] == ["greet", "fail"]
    assert module.functions[0].input_schema["required"] == ["name"]
    assert module.ast is None


def test_the_tree_when_asked_for(tool: Path) -> None:
    """`--ast` adds the syntax tree."""
    assert json.loads(called("parse", tool, "--ast", "--json").stdout)["ast"]


def test_several_files_are_an_array_with_their_errors(tool: Path, tmp_path: Path) -> None:
    """A file that is no Python takes its place in the array, on stderr, and in the exit code."""
    bad = tmp_path / "bad.py"
    bad.write_text("def f(:\n")
    done = called("parse", tool, bad, tmp_path / "missing.py", "--json")
    first, second, third = json.loads(done.stdout)
    assert done.exit_code == 2
    assert first["name"] == "greeter"
    assert (second["file"], second["error"]["kind"], second["error"]["line"]) == (str(bad), "syntax_error", 1)
    assert third["error"]["kind"] == "parse_error"
    assert done.stderr.count("stepflow: error: ") == 2


def test_facts_for_people(tool: Path) -> None:
    """Without --json there is a line for each fact."""
    done = called("parse", tool)
    lines = done.stdout.splitlines()
    assert lines[0] == f"{tool}: module greeter  # Greets people."
    assert '  def fail(why: str = "it had to") -> None  # Fail.' in lines
    assert "  import json (line 3, standard library)" in lines


def test_requirements_are_told() -> None:
    """What a script block declares is among the facts."""
    module = parse_module("# /// script\n# requires-python = '>=3.11'\n# dependencies = ['idna>=3']\n# ///\n")
    assert list(described(module, "x.py"))[1:] == ["  requires Python >=3.11", "  requires idna>=3"]


def test_a_refused_tool(tmp_path: Path) -> None:
    """`check` names each violation with its place and ends with 2."""
    path = tmp_path / "tool.py"
    path.write_text("import subprocess\nimport os\nos.system('ls')\n")
    done = called("check", path)
    assert done.exit_code == 2
    assert [line.split(": ")[0] for line in done.stdout.splitlines()] == [f"{path}:1:1", f"{path}:3:1"]
    value = json.loads(called("check", path, "--json").stdout)
    assert value["allowed"] is False
    assert [found["rule"] for found in value["violations"]] == ["blocked_import", "blocked_call"]


def test_levels_differ(tmp_path: Path) -> None:
    """What strict refuses, a higher level may allow, if this host goes so far."""
    path = tmp_path / "tool.py"
    path.write_text("import subprocess\n")
    assert called("check", path, "--level", "standard").exit_code == 0
    capped = called("check", path, "--level", "permissive", "--json", MAX_SECURITY_LEVEL="standard")
    assert capped.exit_code == 2
    assert json.loads(capped.stdout)["error"]["kind"] == "security_violation"


def test_what_is_no_python_is_no_verdict(tmp_path: Path) -> None:
    """`check` of a file with a syntax error tells the error."""
    path = tmp_path / "tool.py"
    path.write_text("x = = 1\n")
    done = called("check", path, "--json")
    assert done.exit_code == 2
    assert json.loads(done.stdout)["error"]["kind"] == "syntax_error"
