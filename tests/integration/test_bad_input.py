"""Whatever is wrong with a request: a clear refusal that is on record, at every door, and nothing ran."""

import itertools
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from celery import Celery
from support.cli import Stepflow
from support.product import PATIENCE_S, Recorded, producer
from support.program import Program

if TYPE_CHECKING:
    import subprocess

TYPED = "def mix(name: str, count: int = 1, *, tags: list[str] | None = None) -> dict:\n    return {'name': name}\n"
ids = itertools.count()


@dataclass(frozen=True, slots=True, kw_only=True)
class Bad:
    """A request that cannot succeed, and what must be said of it.

    `fields` are those of an `ExecutionRequest`; `words` must all be in the message. `text` is what the file holds where
    it is no UTF-8 text.
    """

    name: str
    kind: str
    words: tuple[str, ...]
    code: str = TYPED
    data: bytes | None = None
    fields: Mapping[str, Any] = field(default_factory=dict)
    status: str = "rejected"
    exit_code: int = 2
    line: int | None = None
    column: int | None = None

    @property
    def payload(self) -> dict[str, Any]:
        """As a producer in any language would send it."""
        return {"code": self.code, "module_name": "tool", **self.fields}

    def words_of(self, folder: Path) -> list[str]:
        """The command line of it, from its FILE on."""
        path = folder / "tool.py"
        path.write_bytes(self.code.encode() if self.data is None else self.data)
        words = [str(path)]
        for name, value in self.fields.items():
            for one in value if isinstance(value, list) else [value]:
                words += [OPTIONS[name], json.dumps(one) if name == "parameters" else str(one)]
        return words

    def check(self, result: Mapping[str, Any], record: Mapping[str, Any]) -> None:
        """The result says it, and the record says the same."""
        assert result["status"] == self.status, result
        error = result["error"]
        assert error["kind"] == self.kind, error
        assert [word for word in self.words if word not in error["message"]] == [], error["message"]
        assert (error["line"], error["column"]) == (self.line, self.column), error
        assert error["retryable"] is False
        assert record["result"] == result
        assert (record["status"], record["why"]) == (self.status, error["message"])
        assert record["finished_at"] is not None
        if self.status == "rejected":
            ran = ("isolation", "return_code", "signal", "memory_usage_kb", "cpu_time_ms")
            assert [name for name in ran if result[name] is not None] == []


OPTIONS = {
    "function_name": "--function",
    "parameters": "--args-json",
    "timeout": "--timeout",
    "memory_limit": "--memory",
    "security_level": "--level",
    "dependencies": "--with",
    "python_version": "--python",
    "extensions": "--extension",
}
CALL = {"function_name": "mix"}


def called(**parameters: Any) -> dict[str, Any]:
    """The fields of a call of the typed tool."""
    return {**CALL, "parameters": parameters}


def returning(expression: str) -> dict[str, Any]:
    """A tool that returns what JSON cannot hold."""
    return {"code": f"def give():\n    return {expression}\n", "fields": {"function_name": "give"}}


def unusable(**fields: Any) -> dict[str, Any]:
    """What all cases of a result that is no JSON have in common."""
    return {"status": "failed", "exit_code": 1, "kind": "execution_error", **fields}


AT_EVERY_DOOR = [
    Bad(
        name="syntax error",
        code="def f():\n    return (1 +\n",
        kind="syntax_error",
        words=("line 2, column 12", "'(' was never closed", "return (1 +", "correct it"),
        line=2,
        column=12,
    ),
    Bad(
        name="too large",
        code="x = 1\n" * 11_000,
        kind="parse_error",
        words=("bytes", "limit", "60000", "MAX_CODE_SIZE"),
    ),
    Bad(
        name="NUL byte",
        code="x = 1\ny = '\0'\n",
        kind="parse_error",
        words=("line 2, column 6", "NUL byte"),
        line=2,
        column=6,
    ),
    Bad(
        name="nested in parentheses",
        code="x = " + "(" * 5_000 + ")" * 5_000,
        kind="syntax_error",
        words=("too many nested parentheses",),
        line=1,
        column=205,
    ),
    Bad(
        name="nested in minuses",
        code="x = " + "-" * 50_000 + "1\n",
        kind="parse_error",
        words=("tool", "nested too deep", "split"),
    ),
    Bad(name="unknown function", fields={"function_name": "mixx"}, kind="execution_error", words=("mixx", "mix")),
    Bad(
        name="function name that is code",
        fields={"function_name": "mix(1); import os"},
        kind="parse_error",
        words=("function_name", "'mix(1); import os' is not a Python identifier"),
    ),
    Bad(
        name="function name that is a keyword",
        fields={"function_name": "class"},
        kind="parse_error",
        words=("function_name", "'class' is not a Python identifier"),
    ),
    Bad(name="missing parameter", fields=called(count=2), kind="execution_error", words=("name", "missing")),
    Bad(
        name="unknown parameter",
        fields=called(name="a", conut=2),
        kind="execution_error",
        words=("conut", "count"),
    ),
    Bad(
        name="parameter of the wrong type",
        fields=called(name="a", count="two"),
        kind="execution_error",
        words=("count", "integer", "two"),
    ),
    Bad(
        name="item of the wrong type",
        fields=called(name="a", tags=["x", 7]),
        kind="execution_error",
        words=("tags", "1"),
    ),
    Bad(
        name="file in the result",
        **returning("{'rows': [1, __import__('io').StringIO()]}"),
        **unusable(words=("rows", "1", "StringIO")),
    ),
    Bad(name="bare object as result", **returning("object()"), **unusable(words=("object", "JSON"))),
    Bad(name="number that JSON lacks", **returning("{'a': float('nan')}"), **unusable(words=("a", "nan"))),
    Bad(
        name="blocked import",
        code="import json\nimport subprocess\n",
        kind="security_violation",
        words=("subprocess", "line 2", "strict"),
        line=2,
        column=1,
    ),
    Bad(
        name="blocked import, dressed up",
        code="def f():\n    return __import__('ctypes').CDLL(None)\n",
        kind="security_violation",
        words=("ctypes", "line 2"),
        line=2,
        column=12,
    ),
    Bad(
        name="blocked call",
        code="import os\nos.system('true')\n",
        kind="security_violation",
        words=("os.system", "line 2", "strict"),
        line=2,
        column=1,
    ),
    Bad(
        name="impossible requirements",
        fields={"dependencies": ["idna<3", "idna>=3"]},
        kind="dependency_error",
        words=("idna<3", "idna>=3", "unsatisfiable"),
    ),
    Bad(
        name="unknown distribution",
        fields={"dependencies": ["stepflow-has-no-such-distribution"]},
        kind="dependency_error",
        words=("stepflow-has-no-such-distribution", "not found"),
    ),
    Bad(
        name="unknown version",
        fields={"dependencies": ["idna==99"]},
        kind="dependency_error",
        words=("idna==99",),
    ),
    Bad(
        name="malformed requirement",
        fields={"dependencies": ["idna ==== 3"]},
        kind="dependency_error",
        words=("idna ==== 3",),
    ),
    Bad(
        name="option as requirement",
        fields={"dependencies": ["--index-url=http://127.0.0.1:1/"]},
        kind="dependency_error",
        words=("--index-url",),
    ),
    Bad(
        name="option on a second line of a requirement",
        fields={"dependencies": ["idna\n--index-url=http://127.0.0.1:1/"]},
        kind="dependency_error",
        words=("--index-url",),
    ),
    Bad(
        name="malformed requirement in the source",
        code='# /// script\n# dependencies = ["idna ==== 3"]\n# ///\n',
        kind="dependency_error",
        words=("line 2", "idna ==== 3", "write `name`"),
        line=2,
    ),
    Bad(
        name="unknown interpreter",
        fields={"python_version": "3.99"},
        kind="environment_error",
        words=("3.99", "3."),
    ),
    Bad(
        name="interpreter that is no version",
        fields={"python_version": "snake"},
        kind="environment_error",
        words=("snake",),
    ),
    Bad(
        name="time over the ceiling",
        fields={"timeout": 301},
        kind="timeout_exceeded",
        words=("timeout: 301 s", "300 s", "MAX_EXECUTION_TIME"),
    ),
    Bad(
        name="no time",
        fields={"timeout": 0},
        kind="parse_error",
        words=("timeout", "greater than 0"),
    ),
    Bad(
        name="memory over the ceiling",
        fields={"memory_limit": 4096},
        kind="memory_limit_exceeded",
        words=("memory_limit: 4096 MiB", "2048 MiB", "MAX_MEMORY_LIMIT"),
    ),
    Bad(
        name="level over the ceiling",
        fields={"security_level": "permissive"},
        kind="security_violation",
        words=("permissive", "standard", "MAX_SECURITY_LEVEL"),
    ),
    Bad(
        name="unknown extension",
        fields={"extensions": ["telepathy"]},
        kind="execution_error",
        words=("extensions", "telepathy"),
    ),
]
ONLY_FILES = [
    Bad(
        name="bytes that are not UTF-8",
        data="# größer\nx = 1\n".encode("latin-1"),
        kind="parse_error",
        words=("line 1, byte 5", "0xf6", "utf-8", "coding"),
        line=1,
        column=5,
    ),
    Bad(
        name="unknown encoding",
        data=b"# coding: klingon\n",
        kind="parse_error",
        words=("klingon", "UTF-8"),
        line=1,
    ),
]
ONLY_MESSAGES = [
    Bad(
        name="unknown environment",
        fields={"environment_id": "cp311-0000000000000000"},
        kind="environment_error",
        words=("cp311-0000000000000000",),
    ),
    Bad(
        name="environment id that is a path",
        fields={"environment_id": "../../etc"},
        kind="environment_error",
        words=("../../etc",),
    ),
    Bad(
        name="unknown field",
        fields={"timeuot": 3},
        kind="parse_error",
        words=("timeuot",),
    ),
    Bad(
        name="fields of the wrong type",
        fields={"timeout": "soon", "parameters": [1]},
        kind="parse_error",
        words=("timeout", "parameters"),
    ),
    Bad(
        name="files that are not base64",
        fields={"files": {"a.bin": "%%%"}},
        kind="parse_error",
        words=("files.a.bin", "base64"),
    ),
    Bad(
        name="file that leads out",
        fields={"files": {"../a": ""}},
        kind="parse_error",
        words=("'../a'", "relative"),
    ),
    Bad(
        name="two sources",
        fields={"script_path": "/etc/passwd"},
        kind="parse_error",
        words=("code", "script_path", "one"),
    ),
    Bad(
        name="file of the worker's host",
        fields={"code": None, "script_path": "/etc/passwd"},
        kind="security_violation",
        words=("/etc/passwd", "SCRIPT_ROOT"),
    ),
    Bad(
        name="tool that nobody recorded",
        fields={"code": None, "tool_id": "nobody-sent-it"},
        kind="execution_error",
        words=("nobody-sent-it", "send its code"),
    ),
]


def named(bad: Bad) -> str:
    """A case's name, in the output of the tests."""
    return bad.name.replace(" ", "-")


@pytest.fixture
def foreign(stepflow: Stepflow) -> Celery:
    """A producer on the shared home."""
    return producer(stepflow)


def send(app: Celery, payload: object) -> None:
    """Send as `docs/producers.md` says."""
    app.send_task("stepflow.execute", args=[payload], queue="stepflow")


@pytest.mark.parametrize("bad", AT_EVERY_DOOR + ONLY_FILES, ids=named)
def test_run(bad: Bad, here: Program, tmp_path: Path) -> None:
    """`stepflow run` prints one refusal, ends with its code, and the execution is in the history."""
    execution_id = f"bad-{next(ids)}"
    result = here.json("run", *bad.words_of(tmp_path), "--id", execution_id, code=bad.exit_code)
    assert result["execution_id"] == execution_id
    bad.check(result, here.json("show", execution_id))


@pytest.mark.usefixtures("worker")
@pytest.mark.parametrize("bad", AT_EVERY_DOOR + ONLY_FILES, ids=named)
def test_submit(bad: Bad, here: Program, tmp_path: Path) -> None:
    """`stepflow submit --wait` does the same, whether the client or the worker refuses it."""
    execution_id = f"bad-{next(ids)}"
    result = here.json("submit", *bad.words_of(tmp_path), "--wait", "--id", execution_id, code=bad.exit_code)
    bad.check(result, here.json("show", execution_id))


@pytest.mark.usefixtures("worker")
@pytest.mark.parametrize("bad", AT_EVERY_DOOR + ONLY_MESSAGES, ids=named)
def test_message(bad: Bad, foreign: Celery, recorded: Recorded) -> None:
    """A message of a producer that checks nothing is refused by the worker, on record."""
    execution_id = f"bad-{next(ids)}"
    send(foreign, {**bad.payload, "execution_id": execution_id})
    record = recorded(execution_id)
    bad.check(record["result"], record)


def test_messages_without_an_id(apart: Stepflow) -> None:
    """What cannot even be named is on record, each under an id of its own."""
    home = Program(home=apart.home, settings=apart.settings).here
    reasons = {
        "the payload is not JSON: ": "{'code': 1",
        "the payload is list, not an ExecutionRequest": [1, 2],
        "no source: give code, script_path, or the tool_id": {},
        "execution_id: String should match": {"code": "1", "execution_id": "a b"},
    }
    with apart.worker():
        for payload in reasons.values():
            send(producer(apart), payload)
        deadline = time.monotonic() + PATIENCE_S
        while len(items := home.json("history", "--status", "rejected")["items"]) < len(reasons):
            assert time.monotonic() < deadline, items
    assert [words for words in reasons if not any(words in item["why"] for item in items)] == []


def test_a_wrong_argument_starts_no_process(apart: Stepflow, tmp_path: Path) -> None:
    """With nothing to run it in - no environment was ever built - the refusal is the same: nothing was started."""
    folder = tmp_path / "environments"
    home = Program(home=apart.home, settings={**apart.settings, "VIRTUAL_ENV_PATH": str(folder)}).here
    path = tmp_path / "tool.py"
    path.write_text(TYPED)
    for parameters in ({}, {"name": "a", "conut": 1}, {"name": "a", "count": "two"}):
        home.json("run", path, "--function", "mix", "--args-json", json.dumps(parameters), code=2)
    assert home.json("env", "list") == []
    assert not folder.exists()
    assert home.json("run", path, "--function", "mix", "--arg", "name=a")["result"] == {"name": "a"}
    assert folder.exists()


def test_one_json_value_is_all_of_stdout(stepflow: Stepflow, tmp_path: Path) -> None:
    """As a program of its own: one line of JSON, and people's words on the other stream."""
    path = tmp_path / "tool.py"
    path.write_text("def f(:\n")
    done = stepflow("run", str(path), "--json")
    assert (done.code, done.json["status"], done.stdout.count("\n")) == (2, "rejected", 1)
    done = stepflow("run", str(path))
    assert (done.code, done.stdout) == (2, "")
    assert "line 1, column 7" in done.stderr


@pytest.mark.usefixtures("worker")
def test_an_id_used_twice(here: Program, foreign: Celery, recorded: Recorded, tmp_path: Path) -> None:
    """The recorded result comes back at every door, whatever is sent the second time; nothing runs again."""
    path = tmp_path / "dice.py"
    path.write_text("import random\n\ndef roll():\n    return random.random()\n")
    words = (path, "--function", "roll", "--id", "twice")
    first = here.json("run", *words)
    assert here.json("run", *words) == first
    assert here.json("submit", *words, "--wait") == first
    other = tmp_path / "other.py"
    other.write_text("def f(:\n")
    assert here.json("run", other, "--id", "twice") == first
    send(foreign, {"execution_id": "twice", "code": "print('again')"})
    send(foreign, {"execution_id": "twice", "code": 7})
    send(foreign, {"execution_id": "after-twice", "code": "print('last')"})
    assert recorded("after-twice")["result"]["stdout"] == "last\n"
    record = recorded("twice")
    assert (record["result"], record["attempts"]) == (first, 1)


@pytest.mark.usefixtures("worker")
def test_other_ids_do_run(here: Program, tmp_path: Path) -> None:
    """What the test above rests on: another roll differs."""
    path = tmp_path / "dice.py"
    path.write_text("import random\n\ndef roll():\n    return random.random()\n")
    rolls = {here.json("run", path, "--function", "roll")["result"] for _ in range(2)}
    assert len(rolls) == 2


def test_a_bad_command_line_is_one_json_value(worker: "subprocess.Popen[str]", here: Program, tmp_path: Path) -> None:
    """Arguments that make no request at all are refused with the same form; the worker does not hear of it."""
    path = tmp_path / "tool.py"
    path.write_text(TYPED)
    for words in (
        ("--args-json", "{"),
        ("--args-json", "[]"),
        ("--arg", "name"),
        ("--level", "lax"),
        ("--timeout", "x"),
    ):
        result = here.json("run", path, "--function", "mix", *words, code=2)
        assert (result["status"], result["error"]["kind"]) == ("rejected", "parse_error")
        assert words[0] in result["error"]["message"]
    assert worker.poll() is None
