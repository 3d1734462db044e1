import base64
import io
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from stepflow_python.cli.main import main
from stepflow_python.cli.requests import RequestOptions, request_of
from stepflow_python.cli.run import run
from stepflow_python.cli.session import Session
from stepflow_python.config import Settings
from stepflow_python.errors import ParseError

DEFAULTS = {
    "function": None,
    "arg": (),
    "args_json": None,
    "timeout": None,
    "memory": None,
    "level": "strict",
    "requirements": (),
    "env": (),
    "file": (),
    "stdin": None,
    "extension": (),
    "python": None,
    "reuse_for": None,
    "execution_id": None,
}


def options(source: object, **changes: object) -> RequestOptions:
    """Options as click hands them over."""
    return RequestOptions(**{**DEFAULTS, **changes, "source": str(source)})


def session(**settings: object) -> Session:
    """A session with one variable of the caller's."""
    return Session(settings=Settings(**settings), environ={"TOKEN": "from here"})


def test_every_option_reaches_the_request(tool: Path, tmp_path: Path) -> None:
    """Each option becomes the field of its meaning."""
    data = tmp_path / "data.bin"
    data.write_bytes(b"\x00\xff")
    words = tmp_path / "words.txt"
    words.write_text("so\n")
    given = options(
        tool,
        function="greet",
        arg=(("name", "5"), ("times", "2")),
        args_json='{"loud": true}',
        timeout=2.5,
        memory=64,
        level="standard",
        requirements=("idna",),
        env=(("A", "1"), ("TOKEN", None)),
        file=(("sub/data.bin", str(data)),),
        stdin=str(words),
        python="3.12",
        extension=("llm",),
    )
    request = request_of(given, session(), execution_id="mine")
    assert request.model_dump(exclude_defaults=True, exclude={"code"}) == {
        "execution_id": "mine",
        "module_name": "greeter",
        "function_name": "greet",
        "parameters": {"name": "5", "times": 2, "loud": True},
        "timeout": 2.5,
        "memory_limit": 64,
        "security_level": "standard",
        "dependencies": ("idna",),
        "env": {"A": "1", "TOKEN": "from here"},
        "files": {"sub/data.bin": b"\x00\xff"},
        "stdin": "so\n",
        "python_version": "3.12",
        "extensions": ("llm",),
    }
    assert request.code == tool.read_text()


def test_the_tool_from_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    """`-` reads the tool, by its coding cookie."""
    source = "# -*- coding: latin-1 -*-\nprint('é')\n"
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(source.encode("latin-1"))))
    request = request_of(options("-"), session(), execution_id="mine")
    assert request.code == source
    assert request.module_name == "tool"


def test_standard_input_cannot_be_both() -> None:
    """The tool and its input cannot come from the same place."""
    with pytest.raises(click.BadParameter, match="standard input already"):
        request_of(options("-", stdin="-"), session(), execution_id="mine")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"timeout": -1.0}, "timeout"),
        ({"timeout": float("nan")}, "timeout"),
        ({"memory": 1}, "memory_limit"),
        ({"env": (("A=B", "1"),)}, "env"),
        ({"function": "not a name"}, "function_name"),
        ({"file": (("../x", __file__),)}, "relative file name"),
        ({"stdin": "/nowhere"}, "--stdin /nowhere: cannot be read"),
        ({"file": (("x", "/"),)}, "--file /: cannot be read"),
    ],
)
def test_what_does_not_fit_is_named(tool: Path, changes: dict[str, object], message: str) -> None:
    """A value that no request can have is refused by its name."""
    with pytest.raises(ParseError, match=message):
        request_of(options(tool, **changes), session(), execution_id="mine")


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "cannot be read"), (b"\xff\xfe\xff", "UTF-8"), (b"x" * 200, "100 bytes")],
    ids=["missing", "undecodable", "too large"],
)
def test_a_file_that_cannot_be_a_tool(tmp_path: Path, content: bytes | None, message: str) -> None:
    """Unreadable, undecodable and oversized files are refused before anything else."""
    path = tmp_path / "tool.py"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ParseError, match=message):
        request_of(options(path), session(max_code_size=100), execution_id="mine")


def test_input_that_is_no_text(tool: Path, tmp_path: Path) -> None:
    """Binary standard input is refused with the way that takes it."""
    data = tmp_path / "data"
    data.write_bytes(b"ab\xff")
    with pytest.raises(ParseError, match="byte 3 is not UTF-8; hand binary data over with --file"):
        request_of(options(tool, stdin=str(data)), session(), execution_id="mine")


def test_files_are_bounded(tool: Path) -> None:
    """A device without end is not read to its end."""
    with pytest.raises(ParseError, match="MAX_WORK_BYTES"):
        request_of(options(tool, file=(("zeros", "/dev/zero"),)), session(max_work_bytes=4096), execution_id="mine")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--arg", "novalue"], "'novalue' is not K=V"),
        (["--arg", "=v"], "'=v' is not K=V"),
        (["--arg", "a=1", "--arg", "a=2"], "'a' is given twice"),
        (["--env", "=v"], "a name is missing"),
        (["--env", "NOT_SET_ANYWHERE"], "NOT_SET_ANYWHERE: not set here"),
        (["--file", "name"], "'name' is not NAME=PATH"),
        (["--args-json", "["], "is not JSON"),
        (["--level", "none"], "'none' is not one of"),
        (["--timeout", "soon"], "'soon' is not a valid float"),
    ],
)
def test_malformed_options_are_usage_errors(tool: Path, tmp_path: Path, words: list[str], message: str) -> None:
    """A malformed option ends with 2 and its name; with --json stdout holds a rejected result as well."""
    runner = CliRunner(env={"STEPFLOW_PYTHON_HOME": str(tmp_path / "home")})
    done = runner.invoke(main, ["run", str(tool), *words, "--json"], prog_name="stepflow")
    assert done.exit_code == 2
    assert message in done.stderr
    assert '"status": "rejected"' in done.stdout
    assert not (tmp_path / "home").exists()


def test_files_travel_as_base64(tool: Path, tmp_path: Path) -> None:
    """A request with files survives the way through JSON."""
    data = tmp_path / "data.bin"
    data.write_bytes(bytes(range(256)))
    request = request_of(options(tool, file=(("d", str(data)),)), session(), execution_id="mine")
    assert base64.b64decode(request.model_dump(mode="json")["files"]["d"]) == data.read_bytes()


def test_run_has_an_option_for_each_field() -> None:
    """No field of the request's options is without its option, and none without help."""
    assert {parameter.name for parameter in run.params} >= set(RequestOptions.__dataclass_fields__)
    assert all(option.help for option in run.params if isinstance(option, click.Option))
