import asyncio
import json
import os
import signal
from pathlib import Path

import pytest
from support.program import Program

from stepflow_python.bootstrap.runtime import open_runtime
from stepflow_python.cli.run import execute_until_stopped
from stepflow_python.config import Settings
from stepflow_python.model.request import ExecutionRequest
from stepflow_python.model.result import ExecutionResult, Status


def test_a_function_prints_what_it_prints_and_its_result(stepflow: Program, tool: Path) -> None:
    """Stdout is the tool's words and its result as JSON; nothing is told to a pipe on stderr."""
    words = ("--arg", "name=5", "--arg", "times=2", "--args-json", '{"loud": true}')
    done = stepflow("run", tool, "--function", "greet", *words)
    assert (done.returncode, done.stderr) == (0, "")
    printed, result = done.stdout.splitlines()
    assert printed == "greeting"
    assert json.loads(result) == {"words": "HELLO 5 HELLO 5", "tags": None}


def test_a_script_reads_standard_input(shared: Program, tool: Path) -> None:
    """Without --function the file runs as a script."""
    done = shared.here("run", tool, "--stdin", "-", stdin="from here")
    assert (done.returncode, done.stdout) == (0, "as a script from here\n")


def test_json_is_one_result_that_is_on_record(shared: Program, tool: Path) -> None:
    """`--json` prints the result, and the record has the same; the same id runs once."""
    words = ("run", tool, "--function", "greet", "--arg", "name=you", "--id", "first")
    result = ExecutionResult.model_validate(shared.here.json(*words))
    assert (result.status, result.execution_id, result.result) == (
        Status.SUCCEEDED,
        "first",
        {"words": "hello you", "tags": None},
    )
    assert ExecutionResult.model_validate(shared.here.json(*words)) == result
    assert ExecutionResult.model_validate(shared.here.json("show", "first")["result"]) == result
    assert shared.here.json("show", "first")["attempts"] == 1


def test_dependencies_resolved_anew(stepflow: Program, tool: Path) -> None:
    """With --refresh the registry is asked again, and the record says so."""
    words = ("run", tool, "--with", "six")
    times = [
        stepflow.json(*words, *more)["environment_times"].keys() for more in ([], [], ["--refresh"], ["--refresh"])
    ]
    assert {"resolving", "creating"} <= times[0]
    assert times[1:] == [{"found"}, {"resolving", "found"}, {"resolving", "found"}]


def test_a_failing_tool(shared: Program, tool: Path) -> None:
    """The traceback is the tool's own, the error names the line, and the code is 1."""
    done = shared.here("run", tool, "--function", "fail")
    assert done.returncode == 1
    assert done.stdout == ""
    assert "Traceback" in done.stderr
    assert "stepflow: failed: ValueError: it had to" in done.stderr.splitlines()[-1]
    assert "line 20" in done.stderr.splitlines()[-1]


def test_an_unknown_function_names_the_known_ones(shared: Program, tool: Path) -> None:
    """A wrong name is refused with the right ones, and recorded as rejected."""
    done = shared.here("run", tool, "--function", "great", "--id", "wrong")
    assert done.returncode == 2
    assert done.stderr.startswith("stepflow: error: ")
    assert all(name in done.stderr for name in ("great", "greet"))
    assert shared.here.json("show", "wrong")["status"] == "rejected"


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        (["--timeout", "-1"], "parse_error"),
        (["--env", "A B=1", "--file", "/x=/etc/hostname"], "parse_error"),
        (["--timeout", "1e9"], "timeout_exceeded"),
        (["--memory", "99999999"], "memory_limit_exceeded"),
        (["--extension", "nothing"], "execution_error"),
        (["--with", "not a requirement!"], "dependency_error"),
        (["--python", "2.7"], "environment_error"),
        (["--function", "greet"], "execution_error"),
    ],
)
def test_requests_that_cannot_be_used(shared: Program, tool: Path, words: list[str], kind: str) -> None:
    """Each is a rejected result with its kind, and the code is 2."""
    result = shared.here.json("run", tool, *words, code=2)
    assert (result["status"], result["error"]["kind"]) == ("rejected", kind)


def test_a_missing_file(shared: Program) -> None:
    """A file that is not there is a rejected result, on stderr one line."""
    assert shared.here.json("run", "/nowhere/tool.py", code=2)["error"]["kind"] == "parse_error"
    assert shared.here("run", "/nowhere/tool.py").stderr.count("\n") == 1


def test_limits_have_codes_of_their_own(shared: Program, tmp_path: Path) -> None:
    """A tool that does not end is 124."""
    path = tmp_path / "slow.py"
    path.write_text("import time\nprint('before', flush=True)\ntime.sleep(60)\n")
    done = shared.here("run", path, "--timeout", "0.5")
    assert (done.returncode, done.stdout) == (124, "before\n")
    assert "time limit of 0.5 s" in done.stderr


def test_what_the_caller_hands_over(shared: Program, tmp_path: Path) -> None:
    """Variables, files and output travel in and out."""
    path, data = tmp_path / "copy_tool.py", tmp_path / "data.bin"
    data.write_bytes(b"\x00\xff")
    path.write_text(
        "import os, pathlib\n"
        "def copy() -> list:\n"
        "    out = pathlib.Path(os.environ['STEPFLOW_OUTPUT_DIR'], 'copied.bin')\n"
        "    out.write_bytes(pathlib.Path('in/data.bin').read_bytes())\n"
        "    return [os.environ['A'], os.environ['MINE']]\n"
    )
    words = ["--function", "copy", "--file", f"in/data.bin={data}", "--env", "A=1", "--env", "MINE"]
    done = shared.here("run", path, *words, "--output", tmp_path / "out", environ={"MINE": "carried"})
    assert (done.returncode, json.loads(done.stdout)) == (0, ["1", "carried"])
    assert (tmp_path / "out" / "copied.bin").read_bytes() == b"\x00\xff"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_before_the_tool_runs(home: Path, tmp_path: Path, number: signal.Signals) -> None:
    """Ctrl-C while the environment is made ends at once; the record says cancelled, and nothing ever runs."""
    path = tmp_path / "waiting.py"
    path.write_text("import time\ntime.sleep(60)\n")
    stepflow = Program(home=home, settings={"LOG_LEVEL": "INFO"})
    process = stepflow.start("run", path, "--id", "stopped", "--json")
    assert process.stderr is not None
    assert any("execution stopped started" in line for line in process.stderr)
    process.send_signal(number)
    printed, _told = process.communicate(timeout=60)
    assert process.returncode == 130
    assert json.loads(printed)["status"] == "cancelled"
    assert stepflow.here.json("show", "stopped")["status"] == "cancelled"


def test_a_signal_kills_a_running_tool(shared: Program) -> None:
    """Ctrl-C while the tool runs kills its tree and keeps what it printed."""
    request = ExecutionRequest(code="import time\nprint('here', flush=True)\ntime.sleep(60)\n")

    async def interrupted() -> ExecutionResult:
        settings = Settings.from_environ(shared.environ)
        async with open_runtime(settings, environ=shared.environ) as runtime:
            running = asyncio.create_task(execute_until_stopped(runtime, request))
            async with asyncio.timeout(60):
                # The sandbox has a status to ask for, no event.
                while not (running.done() or runtime.sandbox.status(request.execution_id).running):  # noqa: ASYNC110 - see above
                    await asyncio.sleep(0.01)
            os.kill(os.getpid(), signal.SIGINT)
            result = await running
            assert not runtime.sandbox.status(request.execution_id).running
            return result

    assert asyncio.run(interrupted()).status is Status.CANCELLED
    assert shared.here.json("show", request.execution_id)["status"] == "cancelled"
