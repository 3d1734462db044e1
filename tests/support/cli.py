"""The `stepflow` command as a user runs it: another process, its own home."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from click.testing import CliRunner

from stepflow_python.cli.main import main
from support.cases import Case


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """How a command ended."""

    code: int
    stdout: str
    stderr: str

    @property
    def json(self) -> Any:
        """The one value on its standard output."""
        return json.loads(self.stdout)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stepflow:
    """Runs the command with a home; `settings` are variables without their prefix."""

    home: Path
    settings: Mapping[str, str] = field(default_factory=dict)

    @property
    def environ(self) -> dict[str, str]:
        """The variables of the command: ours, and nobody's settings but these."""
        inherited = {name: text for name, text in os.environ.items() if not name.startswith("STEPFLOW_")}
        ours = {"HOME": str(self.home), **self.settings}
        return inherited | {f"STEPFLOW_PYTHON_{name}": text for name, text in ours.items()}

    def __call__(self, *args: str, stdin: str = "", timeout_s: float = 120) -> Done:
        """Run `stepflow ARGS`."""
        done = subprocess.run(
            [sys.executable, "-m", "stepflow_python", *args],
            env=self.environ,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
        return Done(code=done.returncode, stdout=done.stdout, stderr=done.stderr)

    def here(self, *args: str) -> Done:
        """The same in this process, several times as fast: for what does not depend on being a process of its own."""
        done = CliRunner().invoke(main, list(args), env=self.environ)
        return Done(code=done.exit_code, stdout=done.stdout, stderr=done.stderr)

    def case(self, command: str, case: Case, folder: Path, *options: str) -> Done:
        """Run or submit a case of the fixtures; its files are written into `folder` first."""
        return self(command, *case_words(case, folder), *options, timeout_s=120)

    def start(self, *args: str, stderr: "int | IO[str]" = subprocess.PIPE) -> "subprocess.Popen[str]":
        """Start `stepflow ARGS` and leave it running."""
        return subprocess.Popen(
            [sys.executable, "-m", "stepflow_python", *args],
            env=self.environ,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        )

    @contextlib.contextmanager
    def worker(self, *args: str) -> Iterator["subprocess.Popen[str]"]:
        """A worker that has said it is ready; ended by SIGTERM."""
        # A pipe that nobody reads would be full at some time, and the worker would wait for its log.
        with tempfile.TemporaryFile("w+") as log, self.start("worker", *args, stderr=log) as process:
            try:
                assert process.stdout is not None
                if not process.stdout.readline().startswith("stepflow worker: "):
                    process.wait(timeout=90)
                    log.seek(0)
                    raise RuntimeError(f"no worker: {log.read()}")
                yield process
            finally:
                process.send_signal(signal.SIGTERM)
                try:
                    process.communicate(timeout=90)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.communicate()
                    raise


def case_words(case: Case, folder: Path) -> list[str]:
    """The command line of a case, from its FILE on; its files are written into `folder`."""
    words = [str(case.tool), "--json", "--level", case.level]
    words += ["--function", case.function] if case.function else []
    words += ["--args-json", json.dumps(dict(case.parameters))] if case.parameters else []
    words += ["--timeout", str(case.timeout)] if case.timeout else []
    words += ["--memory", str(case.memory_limit)] if case.memory_limit else []
    for number, (name, content) in enumerate(case.files.items()):
        path = folder / f"{number}"
        path.write_bytes(content)
        words += ["--file", f"{name}={path}"]
    if case.stdin is not None:
        (folder / "stdin").write_text(case.stdin)
        words += ["--stdin", str(folder / "stdin")]
    return words
