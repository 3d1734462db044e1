"""Settings: a wrong one is named before anything starts, and every right one has an effect."""

import json
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.brokers import rows
from support.cli import Stepflow
from support.product import producer, wait_for_end
from support.program import Program

from stepflow_python.config import PREFIX, Settings
from stepflow_python.errors import ConfigurationError

Run = Callable[..., dict[str, Any]]
DRAW = "import segno\n\ndef f():\n    return segno.make('a').designator\n"


@pytest.fixture
def run(apart: Stepflow, tmp_path: Path) -> Run:
    """Runs code with settings, in this process; its result as JSON. The function `f` is called where there is one."""

    def run_with(settings: Mapping[str, str], code: str, *words: str, exit_code: int = 0) -> dict[str, Any]:
        path = tmp_path / "tool.py"
        path.write_text(code)
        called = ["--function", "f"] if "def f(" in code else []
        here = Program(home=apart.home, settings={**apart.settings, **settings}).here
        result: dict[str, Any] = here.json("run", path, *called, *words, code=exit_code)
        return result

    return run_with


# --- wrong ones -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("DEFAULT_TIMOUT", "DEFAULT_TIMEOUT"),
        ("MAX_CODESIZE", "MAX_CODE_SIZE"),
        ("ENABLE_SANDBOX", "ENABLE_SANDBOXING"),
        ("DATABASE", "DATABASE_URL"),
    ],
)
def test_a_misspelt_variable(wrong: str, right: str, run: Run) -> None:
    """Its nearest right name is told, and nothing runs."""
    result = run({wrong: "1"}, "print('ran')", exit_code=2)
    assert (result["status"], result["stdout"]) == ("rejected", "")
    assert f"{PREFIX}{wrong} is not a setting; did you mean {PREFIX}{right}?" in result["error"]["message"]


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("MAX_CODE_SIZE", "1 MB", "valid integer"),
        ("DEFAULT_TIMEOUT", "-1", "greater than 0"),
        ("DEFAULT_MEMORY_LIMIT", "1", "greater than or equal to 16"),
        ("ENABLE_SANDBOXING", "perhaps", "valid boolean"),
        ("MIN_ISOLATION", "good", "'process', 'landlock' or 'namespaces'"),
        ("MAX_SECURITY_LEVEL", "lax", "'strict', 'standard' or 'permissive'"),
        ("CONCURRENCY", "0", "greater than or equal to 1"),
        ("LOG_LEVEL", "loud", "'DEBUG', 'INFO', 'WARNING' or 'ERROR'"),
    ],
)
def test_a_malformed_value(name: str, value: str, words: str, run: Run) -> None:
    """The variable, its value and what it takes are told."""
    message = run({name: value}, "print('ran')", exit_code=2)["error"]["message"]
    assert f"{PREFIX}{name}=" in message
    assert words in message


@pytest.mark.parametrize(
    "name", [name for name, field in Settings.model_fields.items() if field.annotation in {int, float, bool}]
)
def test_every_number_and_switch_is_checked(name: str) -> None:
    """No text that is neither is taken for one."""
    with pytest.raises(ConfigurationError, match=PREFIX + name.upper()):
        Settings.from_environ({PREFIX + name.upper(): "a few"})


@pytest.mark.parametrize("words", [("history",), ("worker",), ("env", "list"), ("submit", "nothing.py")])
def test_every_command_refuses_it(words: tuple[str, ...], apart: Stepflow) -> None:
    """Not only those that run tools."""
    here = Program(home=apart.home, settings={**apart.settings, "TIMEOUT": "1"}).here
    done = here(*words)
    assert done.returncode == 2
    assert f"{PREFIX}TIMEOUT is not a setting" in done.stderr
    assert not apart.home.exists()


# --- what each right one does -----------------------------------------------------------------------------------------


def test_without_parsing_functions_still_run(run: Run) -> None:
    """ENABLE_AST_PARSING=false: no argument is checked before, and no line refused; the call itself tells."""
    code = "import subprocess\n\ndef f(number: int) -> str:\n    return str(number)\n"
    refused = run({}, code, "--arg", "number=7", exit_code=2)
    assert refused["error"]["kind"] == "security_violation"
    unparsed = {"ENABLE_AST_PARSING": "false"}
    assert run(unparsed, code, "--arg", "number=7")["result"] == "7"
    assert run(unparsed, code, "--args-json", '{"number": [1]}')["result"] == "[1]"
    failed = run(unparsed, code, "--arg", "nubmer=7", exit_code=1)
    assert (failed["status"], failed["exceptions"][0]["type"]) == ("failed", "TypeError")


def test_without_dependency_analysis_nothing_is_installed(run: Run) -> None:
    """ENABLE_DEPENDENCY_ANALYSIS=false: what the source declares is not read; what the request says is."""
    block = '# /// script\n# dependencies = ["segno>=1.6,<2"]\n# ///\n'
    code = block + DRAW
    assert run({}, code)["result"] == "M3-M"
    missing = run({"ENABLE_DEPENDENCY_ANALYSIS": "false"}, code, exit_code=1)
    assert missing["exceptions"][0]["message"] == "No module named 'segno'"
    assert run({"ENABLE_DEPENDENCY_ANALYSIS": "false"}, code, "--with", "segno>=1.6,<2")["result"] == "M3-M"


def test_import_lists(run: Run) -> None:
    """ALLOWED_IMPORTS and BLOCKED_IMPORTS decide which modules a tool may name; the refusal names module and line."""
    code = "import json\nimport csv\n"
    for settings in ({"ALLOWED_IMPORTS": "json,math"}, {"BLOCKED_IMPORTS": "csv"}):
        error = run(settings, code, exit_code=2)["error"]
        assert (error["kind"], error["line"]) == ("security_violation", 2)
        assert "csv" in error["message"]
        assert "json" not in error["message"].split(";")[0]
    assert run({"ALLOWED_IMPORTS": "json,csv"}, code)["status"] == "succeeded"
    assert run({"BLOCKED_IMPORTS": ""}, "import subprocess\n")["status"] == "succeeded"


@pytest.mark.parametrize("name", ["DEFAULT_TIMEOUT", "MAX_EXECUTION_TIME"])
def test_time_of_a_run_that_asks_for_none(name: str, run: Run) -> None:
    """DEFAULT_TIMEOUT holds, and never more than MAX_EXECUTION_TIME."""
    result = run({name: "0.5"}, "import time\nprint('begun', flush=True)\ntime.sleep(60)\n", exit_code=124)
    assert (result["status"], result["stdout"]) == ("timed_out", "begun\n")
    assert "0.5 s" in result["error"]["message"]


@pytest.mark.parametrize("name", ["DEFAULT_MEMORY_LIMIT", "MAX_MEMORY_LIMIT"])
def test_memory_of_a_run_that_asks_for_none(name: str, run: Run) -> None:
    """DEFAULT_MEMORY_LIMIT holds, and never more than MAX_MEMORY_LIMIT."""
    result = run({name: "48"}, "held = b'x' * (100 << 20)\n", exit_code=137)
    assert result["status"] == "memory_exceeded"
    assert "48 MiB" in result["error"]["message"]


def test_processes_of_a_run(run: Run) -> None:
    """MAX_PROCESSES counts threads too."""
    code = (
        "import threading\n\ndef f():\n    free = threading.Event()\n    started = []\n    try:\n"
        "        for _ in range(12):\n            started.append(threading.Thread(target=free.wait))\n"
        "            started[-1].start()\n    finally:\n        free.set()\n    return len(started)\n"
    )
    assert run({}, code)["result"] == 12
    failed = run({"MAX_PROCESSES": "8"}, code, exit_code=1)
    assert failed["exceptions"][0]["type"] == "RuntimeError"


def test_output_of_a_run(run: Run) -> None:
    """MAX_OUTPUT_BYTES ends a run that prints more, and so much of it is kept."""
    result = run({"MAX_OUTPUT_BYTES": "100"}, "print('x' * 1000, flush=True)\n", exit_code=1)
    assert (result["status"], result["stdout"]) == ("output_exceeded", "x" * 100)
    assert result["truncated"] == {"stdout": True, "stderr": False, "result": False}


def test_result_of_a_run(run: Run) -> None:
    """MAX_RESULT_BYTES refuses a larger result, and says how large it may be."""
    code = "def f():\n    return 'x' * 200\n"
    assert run({"MAX_RESULT_BYTES": "202"}, code)["result"] == "x" * 200
    result = run({"MAX_RESULT_BYTES": "100"}, code, exit_code=1)
    assert (result["status"], result["result"]) == ("output_exceeded", None)
    assert "100 bytes" in result["error"]["message"]


def test_work_folder_of_a_run(run: Run) -> None:
    """MAX_WORK_BYTES is the largest file, and all there is."""
    code = "open('file', 'wb').write(b'x' * 200_000)\n"
    assert run({}, code)["status"] == "succeeded"
    result = run({"MAX_WORK_BYTES": "65536"}, code, exit_code=1)
    assert result["status"] == "failed"
    assert result["exceptions"][0]["type"] == "OSError"


@pytest.mark.parametrize("settings", [{"MAX_OUTPUT_FILES": "1"}, {"MAX_OUTPUT_FILES_BYTES": "5"}])
def test_files_that_a_run_leaves(settings: dict[str, str], run: Run) -> None:
    """MAX_OUTPUT_FILES and MAX_OUTPUT_FILES_BYTES bound them together."""
    code = "import os\nfor name in 'ab':\n    open(os.environ['STEPFLOW_OUTPUT_DIR'] + '/' + name, 'w').write('1234')\n"
    assert sorted(run({}, code)["files"]) == ["a", "b"]
    assert run(settings, code, exit_code=1)["status"] == "output_exceeded"


def test_the_ceiling_of_levels(run: Run) -> None:
    """MAX_SECURITY_LEVEL refuses what is above it, and allows what is not."""
    assert run({"MAX_SECURITY_LEVEL": "standard"}, "", "--level", "standard")["status"] == "succeeded"
    error = run({"MAX_SECURITY_LEVEL": "strict"}, "", "--level", "standard", exit_code=2)["error"]
    assert "MAX_SECURITY_LEVEL" in error["message"]


def test_without_the_sandbox(run: Run) -> None:
    """ENABLE_SANDBOXING=false: the record says `process`; where MIN_ISOLATION is set as well, it holds."""
    assert run({}, "print(1)")["isolation"] == "namespaces"
    assert run({"ENABLE_SANDBOXING": "false"}, "print(1)")["isolation"] == "process"
    leave = "import os\nopen(os.environ['STEPFLOW_OUTPUT_DIR'] + '/a', 'w').close()\n"
    assert run({"ENABLE_SANDBOXING": "false"}, leave)["files"] == {"a": ""}
    assert run({"ENABLE_SANDBOXING": "false"}, DRAW, "--with", "segno>=1.6,<2")["result"] == "M3-M"
    both = {"ENABLE_SANDBOXING": "false", "MIN_ISOLATION": "process"}
    assert run(both, "print(1)")["isolation"] == "process"
    refused = run({**both, "MIN_ISOLATION": "namespaces"}, "print(1)", exit_code=3)
    assert (refused["stdout"], refused["isolation"]) == ("", None)
    assert refused["error"]["kind"] == "security_violation"
    assert "MIN_ISOLATION asks for `namespaces`" in refused["error"]["message"]
    assert "ENABLE_SANDBOXING is false" in refused["error"]["message"]


def test_without_monitoring(run: Run) -> None:
    """ENABLE_RESOURCE_MONITORING=false: neither memory nor CPU time is on record; the limits still hold."""
    measured = run({}, "print(1)")
    assert min(measured["memory_usage_kb"], measured["cpu_time_ms"]) > 0
    unmeasured = {"ENABLE_RESOURCE_MONITORING": "false"}
    result = run(unmeasured, "print(1)")
    assert (result["memory_usage_kb"], result["cpu_time_ms"]) == (None, None)
    assert result["execution_time_ms"] > 0
    limited = run(unmeasured, "held = b'x' * (100 << 20)\n", "--memory", "48", exit_code=137)
    assert limited["status"] == "memory_exceeded"


def test_which_python(run: Run) -> None:
    """VERSION and INTERPRETER_PATH choose it; one that is not there is named."""
    code = "import sys\n\ndef f():\n    return list(sys.version_info[:2])\n"
    own = list(sys.version_info[:2])
    assert run({"VERSION": ".".join(map(str, own))}, code)["result"] == own
    path = str(Path(sys.base_prefix, "bin", f"python{own[0]}.{own[1]}"))
    assert run({"INTERPRETER_PATH": path}, code)["result"] == own
    for settings in ({"VERSION": "3.99"}, {"INTERPRETER_PATH": "/nowhere/python"}):
        error = run(settings, code, exit_code=2)["error"]
        assert error["kind"] == "environment_error"
        assert next(iter(settings.values())) in error["message"]


def test_base_packages(run: Run) -> None:
    """BASE_PACKAGES are in every environment, also of a tool that declares nothing."""
    assert run({"BASE_PACKAGES": "segno>=1.6,<2"}, DRAW)["result"] == "M3-M"


@pytest.mark.skipif(os.getuid() != 0, reason="SANDBOX_UID is for workers that run as root")
def test_the_user_of_a_box(run: Run) -> None:
    """SANDBOX_UID is who a run is to the host; in a box of its own it sees another number."""
    code = "import os\n\ndef f():\n    return os.getuid()\n"
    assert run({"SANDBOX_UID": "61234", "ENABLE_SANDBOXING": "false"}, code)["result"] == 61234


def test_where_the_record_is(apart: Stepflow, run: Run, tmp_path: Path) -> None:
    """DATABASE_URL: it is there, and not below the home."""
    url = {"DATABASE_URL": f"sqlite:///{tmp_path / 'elsewhere' / 'record.db'}"}
    (tmp_path / "elsewhere").mkdir()
    done = run(url, "print(1)")
    here = Program(home=apart.home, settings={**apart.settings, **url}).here
    assert here.json("show", done["execution_id"])["result"] == done
    assert (tmp_path / "elsewhere" / "record.db").exists()
    assert not (apart.home / "stepflow.db").exists()


def test_what_is_logged(apart: Stepflow, tmp_path: Path) -> None:
    """LOG_LEVEL=INFO tells on stderr when an execution starts and ends; stdout stays one JSON value."""
    path = tmp_path / "tool.py"
    path.write_text("print(1)")
    done = replace(apart, settings={**apart.settings, "LOG_LEVEL": "info"})("run", str(path), "--id", "told", "--json")
    assert done.json["status"] == "succeeded"
    assert "execution told started" in done.stderr
    assert "execution told succeeded" in done.stderr


def test_a_worker_takes_its_settings(apart: Stepflow, tmp_path: Path) -> None:
    """QUEUE and CONCURRENCY are announced; SCRIPT_ROOT lets a message name files below it, but no links out of it."""
    root = tmp_path / "scripts"
    root.mkdir()
    (root / "hello.py").write_text("print('hello from', __file__)")
    (tmp_path / "outside.py").write_text("print('outside')")
    (root / "link.py").symlink_to(tmp_path / "outside.py")
    home = replace(apart, settings={**apart.settings, "QUEUE": "other", "CONCURRENCY": "3", "SCRIPT_ROOT": str(root)})
    app = producer(home)
    with home.start("worker") as worker:
        assert worker.stdout is not None
        line = worker.stdout.readline()
        for name in ("hello.py", "link.py", "../outside.py", "missing.py"):
            payload = {"execution_id": name.replace("../", ""), "script_path": str(root / name)}
            app.send_task("stepflow.execute", args=[payload], queue="other")
        ends = {name: wait_for_end(home, name) for name in ("hello.py", "link.py", "outside.py", "missing.py")}
        worker.terminate()
        worker.communicate()
    assert "concurrency 3 | queue other" in line
    assert ends["hello.py"]["result"]["stdout"].startswith("hello from ")
    assert [ends[name]["result"]["error"]["kind"] for name in ("link.py", "outside.py", "missing.py")] == [
        "security_violation",
        "security_violation",
        "parse_error",
    ]
    assert "SCRIPT_ROOT" in ends["link.py"]["why"]


def test_where_a_client_sends(apart: Stepflow, tmp_path: Path) -> None:
    """QUEUE is also where `submit` sends."""
    path = tmp_path / "tool.py"
    path.write_text("print(1)")
    here = Program(home=apart.home, settings={**apart.settings, "QUEUE": "other"}).here
    assert here("submit", path, "--id", "sent").returncode == 0
    sent = rows(apart.home / "broker.db", "SELECT queue, body FROM messages")
    assert [queue for queue, _ in sent] == ["other"]
    assert json.loads(sent[0][1])[0][0]["execution_id"] == "sent"
