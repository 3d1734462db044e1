"""Run each engine's example by its one command, then give Prefect and Airflow bad input: `make engines-test`.

It takes minutes and hundreds of megabytes: Prefect and Airflow are installed into environments of their own. With
`--write` the table goes into docs/engines.md. Exit code 1: something did not hold.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

from marked import put

ROOT = Path(__file__).resolve().parents[1]
ENGINES = ROOT / "examples" / "engines"
DOCS = ROOT / "docs" / "engines.md"
PATIENCE_S = 900
DESCRIBED = {"mean": 2.5, "deviation": 1.118033988749895}

WORDS = {
    "a failing tool": "failed: ValueError: no number is good enough",
    "an unknown function": "rejected: ",
    "a missing parameter": "n: missing",
    "no worker": "no worker takes from the queue 'stepflow'",
}
"""What is said of each call that cannot succeed."""

BAD_CALLS = """
import json, sys
FAIL = "def fail():\\n    raise ValueError('no number is good enough')\\n"
SQUARE = "def square(n: int) -> int:\\n    return n * n\\n"
SLEEP = "import time\\n\\ndef sleep():\\n    time.sleep(25)\\n"
CALLS = {
    "a failing tool": (FAIL, "fail", {}),
    "an unknown function": (SQUARE, "cube", {"n": 1}),
    "a missing parameter": (SQUARE, "square", {}),
}
if "deserted" in sys.argv:
    CALLS = {"no worker": (SQUARE, "square", {"n": 1})}
TIMEOUT_S = 3 if "deserted" in sys.argv else 60
"""

BY_PREFECT = """
from prefect import flow
from flow import run_tool

@flow
def bad():
    once = run_tool.with_options(retries=0)
    ends = {name: once(*call, timeout_s=TIMEOUT_S, return_state=True) for name, call in CALLS.items()}
    return {name: str(state.result(raise_on_failure=False)) for name, state in ends.items()}

print(json.dumps(bad()))
"""

BY_AIRFLOW = """
import os, threading
from types import SimpleNamespace
from uuid import uuid4
os.environ["AIRFLOW_CONN_STEPFLOW_BROKER"] = os.environ["BROKER_URL"]
from airflow.sdk.exceptions import AirflowException, AirflowFailException
from stepflow_operator import StepflowOperator

said = {}
if "no worker" not in CALLS:
    CALLS["a task that is stopped"] = (SLEEP, "sleep", {})
for name, (code, function, parameters) in CALLS.items():
    task_id = name.replace(" ", "_")
    task = StepflowOperator(task_id=task_id, code=code, function=function, parameters=parameters, timeout_s=TIMEOUT_S)
    if name == "a task that is stopped":
        threading.Timer(6, task.on_kill).start()
    try:
        task.execute({"ti": SimpleNamespace(id=uuid4(), try_number=1)})
    except AirflowException as error:
        # Airflow tries again unless it is this kind: a tool's failure stays one.
        assert isinstance(error, AirflowFailException) is (name != "no worker"), type(error)
        said[name] = str(error)
print(json.dumps(said))
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """An example: its folder, what its last line of output must be like, its program of bad calls, its packages."""

    name: str
    held: Callable[[str], bool]
    bad: str = ""
    also_said: Mapping[str, str] = field(default_factory=dict)
    packages: tuple[str, ...] = ()

    @property
    def folder(self) -> Path:
        """Where it is."""
        return ENGINES / self.name

    def run(self) -> str:
        """What its one command prints."""
        return run(["make", "--silent", "-C", str(self.folder)])

    def bad_input(self, *, deserted: bool) -> dict[str, str]:
        """What it says of calls that cannot succeed."""
        python = str(self.folder / ".venv/bin/python")
        options = ["--deserted"] if deserted else []
        words = [sys.executable, str(ENGINES / "with_worker.py"), *options, python, "-c", BAD_CALLS + self.bad]
        said = run([*words, *(["deserted"] if deserted else [])], cwd=self.folder, variables=self.variables())
        return dict(json.loads(said.splitlines()[-1]))

    def variables(self) -> dict[str, str]:
        """Those that its Makefile sets."""
        lines = (self.folder / "Makefile").read_text().replace("$(CURDIR)", str(self.folder)).splitlines()
        exports = [line.removeprefix("export ").split() for line in lines if line.startswith("export ")]
        return {words[0]: words[-1] for words in exports} | {"PYTHONPATH": str(self.folder)}

    def versions(self) -> str:
        """Of what it was run with."""
        if not self.bad:
            return ", ".join(f"{name} {version(name)}" for name in self.packages)
        told = f"print(*(f'{{name}} {{version(name)}}' for name in {self.packages}), sep=', ')"
        code = f"from importlib.metadata import version\n{told}"
        return run([str(self.folder / ".venv/bin/python"), "-c", code])


def run(words: list[str], *, cwd: Path = ROOT, variables: Mapping[str, str] | None = None) -> str:
    """What a command prints on its standard output; it must succeed."""
    environ = os.environ | dict(variables or {})
    done = subprocess.run(words, cwd=cwd, env=environ, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    if done.returncode:
        raise AssertionError(f"{' '.join(words[:4])}: {done.returncode}: {done.stderr[-2000:]}")
    return done.stdout.strip()


def last_is(value: object) -> Callable[[str], bool]:
    """Whether the last line that is printed is this value."""
    return lambda text: bool(json.loads(text.splitlines()[-1]) == value)


ALL = (
    Engine(name="canvas", held=lambda text: json.loads(text)["chain"] == "A Queue", packages=("celery",)),
    Engine(name="amqp", held=last_is("PLAIN AMQP!"), packages=("pika",)),
    Engine(name="node", held=last_is(DESCRIBED)),
    Engine(name="prefect", held=last_is(DESCRIBED), bad=BY_PREFECT, packages=("prefect", "celery")),
    Engine(
        name="airflow",
        held=last_is(DESCRIBED),
        bad=BY_AIRFLOW,
        also_said={"a task that is stopped": ": cancelled: "},
        packages=("apache-airflow-core", "celery"),
    ),
)


def tested(engine: Engine) -> str:
    """The row of an engine, all of whose promises held."""
    began = time.monotonic()
    printed = engine.run()
    assert engine.held(printed), printed
    took_s = time.monotonic() - began
    bad = "in `make test`"
    if engine.bad:
        said = engine.bad_input(deserted=False) | engine.bad_input(deserted=True)
        wanted = WORDS | dict(engine.also_said)
        wrong = {name: said.get(name) for name, words in wanted.items() if words not in str(said.get(name))}
        assert not wrong, wrong
        also = "".join(f", {name}" for name in engine.also_said)
        bad = f"{', '.join(WORDS)}{also}: each said in one line"
    versions = engine.versions() if engine.name != "node" else f"Node {run(['node', '--version'])}, amqplib {amqplib()}"
    return f"| {engine.name} | {versions} | {took_s:.0f} s | {bad} |"


def amqplib() -> str:
    """The version in the lock."""
    lock = json.loads((ENGINES / "node" / "package-lock.json").read_text())
    return str(lock["packages"]["node_modules/amqplib"]["version"])


def main() -> int:
    """Each engine in turn; what fails does not keep the others from being tried."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--write", action="store_true", help="write the table into docs/engines.md")
    parser.add_argument("names", nargs="*", metavar="ENGINE", help="only these")
    options = parser.parse_args()
    rows, failed = [], False
    for engine in ALL:
        if options.names and engine.name not in options.names:
            continue
        try:
            rows.append(tested(engine))
            print(rows[-1], flush=True)
        except (AssertionError, subprocess.TimeoutExpired, ValueError) as error:
            failed = True
            print(f"{engine.name}: {type(error).__name__}: {error}", file=sys.stderr)
    if options.write and not failed:
        table = ["| example | with | its one command took | bad input |", "|---|---|---|---|", *rows]
        put(DOCS, "engines", "\n".join(table))
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
