"""The `stepflow` command as a user runs it: another process, its own home."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

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

    def __call__(self, *args: str, stdin: str = "", timeout_s: float = 60) -> Done:
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

    def case(self, command: str, case: Case, folder: Path, *options: str) -> Done:
        """Run or submit a case of the fixtures; its files are written into `folder` first."""
        args = [command, str(case.tool), "--json", "--level", case.level, *options]
        args += ["--function", case.function] if case.function else []
        args += ["--args-json", json.dumps(dict(case.parameters))] if case.parameters else []
        args += ["--timeout", str(case.timeout)] if case.timeout else []
        args += ["--memory", str(case.memory_limit)] if case.memory_limit else []
        for number, (name, content) in enumerate(case.files.items()):
            path = folder / f"{number}"
            path.write_bytes(content)
            args += ["--file", f"{name}={path}"]
        if case.stdin is not None:
            (folder / "stdin").write_text(case.stdin)
            args += ["--stdin", str(folder / "stdin")]
        return self(*args, timeout_s=120)

    @contextlib.contextmanager
    def worker(self, *args: str) -> Iterator["subprocess.Popen[str]"]:
        """A worker that has said it is ready; ended by SIGTERM."""
        with subprocess.Popen(
            [sys.executable, "-m", "stepflow_python", "worker", *args],
            env=self.environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            try:
                yield process
            finally:
                process.send_signal(signal.SIGTERM)
                try:
                    process.communicate(timeout=30)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.communicate()
                    raise
