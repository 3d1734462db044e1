"""The `stepflow` program as people start it: a process of its own, with a home of its own."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from click.testing import CliRunner
from typing_extensions import override

from stepflow_python.cli.main import main

COMMAND = (sys.executable, "-m", "stepflow_python")


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """`stepflow` on one home folder; `settings` are variables without their prefix."""

    home: Path
    settings: Mapping[str, str]

    @property
    def environ(self) -> dict[str, str]:
        """The caller's variables without settings of theirs, and ours."""
        inherited = {name: text for name, text in os.environ.items() if not name.startswith("STEPFLOW_PYTHON_")}
        ours = {"HOME": str(self.home), **self.settings}
        return inherited | {f"STEPFLOW_PYTHON_{name}": text for name, text in ours.items()}

    def __call__(
        self, *words: object, stdin: str = "", environ: Mapping[str, str] | None = None
    ) -> "subprocess.CompletedProcess[str]":
        """Run a command to its end."""
        return subprocess.run(
            [*COMMAND, *map(str, words)],
            input=stdin,
            capture_output=True,
            text=True,
            encoding="utf-8",
            check=False,
            timeout=100,
            env=self.environ | dict(environ or {}),
        )

    @property
    def here(self) -> "InProcess":
        """The same, without the cost of a process."""
        return InProcess(home=self.home, settings=self.settings)

    def json(self, *words: object, code: int = 0, stdin: str = "") -> Any:
        """The one value that a command prints with `--json`; it must end with this exit code."""
        done = self(*words, "--json", stdin=stdin)
        assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
        return json.loads(done.stdout)

    def start(self, *words: object) -> "subprocess.Popen[str]":
        """Start a command and leave it running."""
        return subprocess.Popen(
            [*COMMAND, *map(str, words)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            env=self.environ,
        )


class InProcess(Program):
    """The same commands in this process, several times as fast: for what does not depend on being one of its own."""

    @override
    def __call__(
        self, *words: object, stdin: str = "", environ: Mapping[str, str] | None = None
    ) -> "subprocess.CompletedProcess[str]":
        variables = self.environ | dict(environ or {})
        done = CliRunner().invoke(main, [str(word) for word in words], input=stdin, env=variables)
        return subprocess.CompletedProcess(words, done.exit_code, done.stdout, done.stderr)
