"""Drives the real guest: a process with a request file and a reply pipe, without a box around it."""

import asyncio
import json
import marshal
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from stepflow_python.environments.interpreters import Interpreters
from stepflow_python.sandbox.guest_files import compiled_guest

BOOT = "import sys; sys.path.insert(0, {!r}); from stepflow_guest.main import main; main()"
DEADLINE_S = 30.0
LIMITS: dict[str, int | None] = {
    "cpu_s": 20,
    "open_files": 128,
    "processes": None,
    "file_bytes": 1 << 26,
    "data_bytes": None,
    "result_bytes": 1 << 20,
    "output_files": 8,
    "output_files_bytes": 1 << 16,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """What came back from one guest."""

    code: int
    frames: tuple[tuple[bytes, bytes], ...]
    stdout: str
    stderr: str
    report: dict[str, Any] | None
    status: dict[str, Any]
    files: dict[str, bytes] = field(default_factory=dict)

    @property
    def value(self) -> Any:
        """The result of a run that succeeded."""
        assert self.report is not None, self.stderr
        assert self.report["ok"], self.report
        return self.report["value"]

    @property
    def message(self) -> str:
        """The error of a run that failed."""
        assert self.report is not None, self.stderr
        assert not self.report["ok"], self.report
        return str(self.report["error"]["message"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Guest:
    """An interpreter with the guest compiled for it."""

    interpreter: Path
    compiled: Path
    new_folder: Callable[[], Path]
    site_packages: str = "/nonexistent"

    def run(self, source: str, function: str | None = None, **fields: Any) -> Ran:
        """Run a tool; `fields` replace those of the request, `limits` only those it names.

        `folder` is its work folder, `within` a command that starts it.
        """
        folder = fields.pop("folder", None) or self.new_folder()
        within = fields.pop("within", ())
        payload = {
            "source": source,
            "module_name": "tool",
            "function": function,
            "parameters": [],
            "arguments": {},
            "input_schema": {},
            "stdin": b"",
            "files": {},
            "env": {},
            "site_packages": self.site_packages,
            "prefix": "/environment",
            "output_folder": str(folder / "output"),
            **fields,
            "limits": {**LIMITS, **fields.get("limits", {})},
        }
        return self.send(marshal.dumps(payload, 2), folder, within=within)

    def send(self, request: bytes, folder: Path, *, within: tuple[str, ...] = ()) -> Ran:
        """Hand a request to a new guest, started by the command `within`, and wait for its end."""
        request_fd = os.memfd_create("request")
        os.write(request_fd, request)
        reply_read, reply_write = os.pipe()
        argv = [*within, str(self.interpreter), "-I", "-S", "-c", BOOT.format(str(self.compiled))]
        process = subprocess.Popen(
            [*argv, str(request_fd), str(reply_write)],
            pass_fds=(request_fd, reply_write),
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        os.close(request_fd)
        os.close(reply_write)
        answer: list[bytes] = []
        reader = threading.Thread(target=_read_all, args=(reply_read, answer))
        reader.start()
        try:
            stdout, stderr = process.communicate(timeout=DEADLINE_S)
        finally:
            process.kill()
            reader.join()
        return _ran(process.returncode, b"".join(answer), stdout, stderr)


def _read_all(descriptor: int, into: list[bytes]) -> None:
    with os.fdopen(descriptor, "rb") as pipe:
        into.append(pipe.read())


def _ran(code: int, answer: bytes, stdout: bytes, stderr: bytes) -> Ran:
    frames = []
    while answer:
        length = int.from_bytes(answer[1:9], "big")
        frames.append((answer[:1], answer[9 : 9 + length]))
        answer = answer[9 + length :]
    bodies = dict(frames)
    files = {}
    for kind, body in frames:
        if kind == b"F":
            end = 4 + int.from_bytes(body[:4], "big")
            files[body[4:end].decode()] = body[end:]
    return Ran(
        code=code,
        frames=tuple(frames),
        stdout=stdout.decode(),
        stderr=stderr.decode("utf-8", "replace"),
        report=json.loads(bodies[b"R"]) if b"R" in bodies else None,
        status=json.loads(bodies.get(b"S", b"{}")),
        files=files,
    )


def interpreters() -> list[Path]:
    """Every supported interpreter of this machine, one for each minor version."""
    with tempfile.TemporaryDirectory() as folder:
        found = asyncio.run(Interpreters(record=Path(folder) / "interpreters.json", environ=os.environ).all())
    by_tag = {one.tag: one.executable for one in reversed(found) if one.supported}
    return [by_tag[tag] for tag in sorted(by_tag)]


@pytest.fixture(scope="session")
def make_guest(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], Guest]:
    """Makes the guest of an interpreter."""
    compiled = tmp_path_factory.mktemp("compiled")

    def make(interpreter: Path) -> Guest:
        folder = asyncio.run(compiled_guest(interpreter, folder=compiled))
        return Guest(
            interpreter=interpreter, compiled=folder, new_folder=lambda: tmp_path_factory.mktemp("work").resolve()
        )

    return make


@pytest.fixture(scope="session")
def guest(make_guest: Callable[[Path], Guest]) -> Guest:
    """The guest on the interpreter that runs the tests."""
    return make_guest(Path(sys.executable))


@pytest.fixture(scope="session", params=interpreters(), ids=lambda path: path.parent.parent.name)
def each_guest(request: pytest.FixtureRequest, make_guest: Callable[[Path], Guest]) -> Guest:
    """The guest on every interpreter there is."""
    return make_guest(request.param)
