"""What a request gives in `env` reaches the tool, and is to be found nowhere afterwards."""

import contextlib
import json
import sqlite3
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.program import Program

if TYPE_CHECKING:
    import subprocess

VALUE = "of-the-caller-alone-7f1c93"
TOOLS = {
    "succeeds": "import os\ndef f():\n    return len(os.environ['TOKEN'])\n",
    "raises": "import os\ndef f():\n    token = os.environ['TOKEN']\n    raise ValueError(len(token))\n",
    "exits": "import os, sys\ndef f():\n    sys.exit(len(os.environ['TOKEN']))\n",
    "is killed": "import os\ndef f():\n    os.environ['TOKEN']\n    os.kill(os.getpid(), 9)\n",
    "is out of time": "import os\ndef f():\n    os.environ['TOKEN']\n    while True: pass\n",
    "is refused": "import subprocess\ndef f():\n    return 1\n",
    "has no such function": "def g():\n    return 1\n",
    "is no Python": "def f(:\n",
}


def found_in(folder: Path) -> list[str]:
    """Where the secret is: databases by what is in them, since pages that were freed are nobody's to read."""
    found = []
    for path in folder.rglob("*"):
        if "environments" in path.parts or not path.is_file() or path.name.endswith(("-wal", "-shm")):
            continue
        if path.suffix == ".db":
            with contextlib.closing(sqlite3.connect(path)) as database:
                content = "\n".join(database.iterdump()).encode()
        else:
            content = path.read_bytes()
        found += [path.name] if VALUE.encode() in content else []
    return found


def told(done: "subprocess.CompletedProcess[str]") -> str:
    """All that a command said."""
    return str(done.stdout) + str(done.stderr)


@pytest.mark.parametrize(
    ("command", "source"),
    [("run", source) for source in TOOLS.values()] + [("submit", TOOLS[name]) for name in ("succeeds", "raises")],
    ids=[f"run {name}" for name in TOOLS] + ["submit succeeds", "submit raises"],
)
def test_a_secret_is_nowhere_afterwards(
    command: str, source: str, here: Program, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """However the execution ends, the secret is in no output of ours, no record, no log and no file."""
    tool = tmp_path / "tool.py"
    tool.write_text(source)
    words = [str(tool), "--function", "f", "--timeout", "1", "--env", f"TOKEN={VALUE}", "--json"]
    if command == "submit":
        request.getfixturevalue("worker")
        words.append("--wait")
    done = here(command, *words)
    shown = here("show", json.loads(done.stdout)["execution_id"], "--json")
    assert VALUE not in told(done) + told(shown)
    deadline = time.monotonic() + 60.0
    while found_in(here.home) and time.monotonic() < deadline:
        time.sleep(0.05)  # a worker acknowledges a message after it has answered
    assert found_in(here.home) == []


def test_a_tool_gets_its_secret(here: Program, tmp_path: Path) -> None:
    """It is in the tool's variables as it was given."""
    tool = tmp_path / "tool.py"
    tool.write_text(TOOLS["succeeds"])
    done = here("run", str(tool), "--function", "f", "--env", f"TOKEN={VALUE}", "--json")
    assert json.loads(done.stdout)["result"] == len(VALUE)


@pytest.mark.parametrize("variable", [f"={VALUE}", f"TOKEN {VALUE}", f"TO KEN={VALUE}"])
def test_a_malformed_variable_is_refused_without_its_value(variable: str, here: Program, tmp_path: Path) -> None:
    """The words of a refusal name the variable and not what it holds; where it is no variable, neither."""
    tool = tmp_path / "tool.py"
    tool.write_text(TOOLS["succeeds"])
    done = here("run", str(tool), "--function", "f", "--env", variable, "--json")
    assert VALUE not in told(done)
    assert found_in(here.home) == []
