"""Real worker processes whose jobs report to the test and wait for its word; no test has to sleep.

Run as a program (`python -m support.workers`) it is such a worker, configured by the environment.
"""

import contextlib
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from multiprocessing.connection import Client, Connection, Listener
from pathlib import Path
from typing import Any

from celery import current_task

from stepflow_python.config import Settings
from stepflow_python.errors import InternalError, ParseError
from stepflow_python.messages import Delivered
from stepflow_python.model.result import MemoryEnforcement
from stepflow_python.model.security import IsolationTier
from stepflow_python.ports import IsolationReport
from stepflow_python.worker.main import WorkerOptions, run_worker

TESTS = Path(__file__).parent.parent
PATIENCE_S = 90.0


class ReportingJobs:
    """Jobs that tell the test's hub what they got; with `wait` they last until the test answers."""

    def execute(self, payload: object, previous: object | None, delivery: Delivered | None) -> dict[str, Any]:  # noqa: ARG002 - the contract
        """Report, wait if asked to, and reply what the payload or the answer says."""
        if not isinstance(payload, dict):
            raise ParseError("not an object")
        if payload.get("fail"):
            raise InternalError("asked to fail")
        info = current_task.request.delivery_info or {}
        report = {
            "payload": payload,
            "previous": previous,
            "id": current_task.request.id,
            "pid": os.getpid(),
            "redelivered": info.get("redelivered"),
            "retries": current_task.request.retries,
        }
        with Client(payload["hub"], "AF_UNIX") as line:
            line.send(report)
            answer = line.recv() if payload.get("wait") else payload.get("reply")
        return {"status": "succeeded", "result": answer}

    def cancel(self, execution_id: str, *, running: bool) -> None:
        """Nothing that could be stopped."""

    def drop(self, payload: object) -> None:
        """Nothing to record."""

    def hand_back(self) -> None:
        """Nothing that could be handed back."""

    def provision(self, payload: object) -> dict[str, Any]:
        """Reply with the payload."""
        return {"environment_id": "e1", "payload": payload}

    def cleanup(self, payload: object) -> dict[str, Any]:
        """Reply with the payload."""
        return {"payload": payload}


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A job that has started."""

    facts: dict[str, Any]
    line: Connection

    def answer(self, value: object) -> None:
        """Let a waiting job end with this result."""
        with contextlib.suppress(OSError):
            self.line.send(value)


class Hub:
    """Where jobs report; `next` waits for one of them."""

    def __init__(self, address: Path) -> None:
        self.address = str(address)
        self._reports: queue.Queue[Report] = queue.Queue()
        self._listener = Listener(self.address, "AF_UNIX", backlog=256)
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def next(self) -> Report:
        """The next job that started."""
        return self._reports.get(timeout=PATIENCE_S)

    def payload(self, **fields: object) -> dict[str, object]:
        """A payload whose job reports here."""
        return {"hub": self.address} | fields

    def close(self) -> None:
        """Stop to listen."""
        with contextlib.suppress(OSError):
            Client(self.address, "AF_UNIX").close()
        self._thread.join()
        self._listener.close()
        while not self._reports.empty():
            self._reports.get_nowait().line.close()

    def _accept(self) -> None:
        while True:
            line = self._listener.accept()
            try:
                self._reports.put(Report(facts=line.recv(), line=line))
            except EOFError:
                line.close()
                return


@contextlib.contextmanager
def hub(folder: Path) -> Iterator[Hub]:
    """A hub with its socket in a folder."""
    opened = Hub(folder / "hub")
    try:
        yield opened
    finally:
        opened.close()


@dataclass(slots=True, kw_only=True)
class WorkerProcess:
    """A running worker and its start line."""

    process: "subprocess.Popen[str]"
    line: str

    def signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        self.process.send_signal(number)

    def wait(self) -> int:
        """Wait for its end; the exit code."""
        return self.process.wait(PATIENCE_S)


@contextlib.contextmanager
def worker(
    settings: Settings, *, concurrency: int = 4, extra: Mapping[str, str] | None = None
) -> Iterator[WorkerProcess]:
    """A worker that takes messages when the block is entered, stopped at its end."""
    environ = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(TESTS),
        "STEPFLOW_PYTHON_HOME": str(settings.home),
        "STEPFLOW_PYTHON_RESULT_BACKEND": settings.result_backend,
        "STEPFLOW_PYTHON_CONCURRENCY": str(concurrency),
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "support.workers"], env=environ | (extra or {}), stdout=subprocess.PIPE, text=True
    )
    with process:
        try:
            assert process.stdout is not None
            yield WorkerProcess(process=process, line=process.stdout.readline().rstrip("\n"))
        finally:
            if process.poll() is None:
                process.terminate()
                try:
                    process.wait(PATIENCE_S)
                finally:
                    process.kill()


def main() -> int:
    """A worker of reporting jobs."""
    report = IsolationReport(
        tier=IsolationTier.NAMESPACES, memory=MemoryEnforcement.CGROUP_V1, launcher="none: nothing runs here"
    )
    return run_worker(
        Settings.from_environ(os.environ),
        jobs=ReportingJobs(),
        isolation=report,
        announce=lambda line: print(line, flush=True),  # noqa: T201 - the test reads it
        options=WorkerOptions(),
    )


if __name__ == "__main__":
    sys.exit(main())
