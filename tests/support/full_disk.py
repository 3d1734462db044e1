"""What happens on a disk that is full, told as one line of JSON; started where the home is a small disk of its own."""

import json
import os
import secrets
import time
from pathlib import Path

from stepflow_python.model.request import ExecutionRequest
from stepflow_python.model.security import SecurityLevel
from support.cli import Stepflow
from support.product import send, wait_for_end, wait_for_processes

LARGE = "x" * 500_000
FULL_S = 3.0
"""How long there is no room after the job has ended: its worker finds that out more than once."""


def main() -> None:
    """A job is running when the disk becomes full, and ends before there is room again."""
    settings = {name: os.environ[f"STEPFLOW_PYTHON_{name}"] for name in ("VIRTUAL_ENV_PATH", "LEASE")}
    stepflow = Stepflow(home=Path(os.environ["STEPFLOW_PYTHON_HOME"]), settings=settings)
    tool, filler = stepflow.home / "tool.py", stepflow.home / "filler"
    tool.write_text(f"# {LARGE}\nprint('ran')\n")
    mark = f"4.{secrets.randbelow(10**9):09d}"
    code = f"import subprocess\n\nsubprocess.run(['sleep', '{mark}'])\n"
    found: dict[str, object] = {}
    with stepflow.worker("--concurrency", "2"):
        send(stepflow, ExecutionRequest(execution_id="runs", code=code, security_level=SecurityLevel.STANDARD))
        wait_for_processes(mark, there=True)
        fill(filler)
        done = stepflow.here("submit", str(tool), "--id", "refused", "--json")
        found["refused"] = {"code": done.code, "message": done.json["error"]["message"]}
        wait_for_processes(mark, there=False)
        time.sleep(FULL_S)
        found["while full"] = stepflow.here("show", "runs", "--json").json["status"]
        filler.unlink()
        stepflow.here("submit", str(tool), "--id", "refused", "--json")
        send(stepflow, ExecutionRequest(execution_id="after", code="print('ran')"))
        records = {name: wait_for_end(stepflow, name) for name in ("runs", "refused", "after")}
    found["ends"] = {name: [record["status"], record["attempts"]] for name, record in records.items()}
    print(json.dumps(found))  # noqa: T201 - read by the test


def fill(path: Path) -> None:
    """Take what room there is."""
    with path.open("wb", buffering=0) as file:
        try:
            while file.write(bytes(4096)):
                pass
        except OSError:
            return


if __name__ == "__main__":
    main()
