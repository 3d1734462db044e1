"""A Prefect flow whose tasks are Python tools, each run by a worker in a box of its own."""

import json
import os
import sys
from pathlib import Path
from typing import Any

from prefect import flow, task
from prefect.runtime import task_run

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # where `stepflow_celery.py` is; in your project, a copy
from stepflow_celery import NoAnswerError, call, make_app, tool

READ = "def read(text: str) -> list[float]:\n    return [float(word) for word in text.split()]\n"
DESCRIBE = """
import statistics

def describe(numbers: list[float]) -> dict[str, float]:
    return {"mean": statistics.mean(numbers), "deviation": statistics.pstdev(numbers)}
"""


def no_answer(_task: Any, _run: Any, state: Any) -> bool:  # noqa: ANN401 - Prefect's own types
    """A tool's failure is a result and stays one; only where no result came may another try help."""
    try:
        state.result()
    except NoAnswerError:
        return True
    except Exception:  # noqa: BLE001 - whatever else it was
        return False
    return False


@task(retries=2, retry_delay_seconds=5, retry_condition_fn=no_answer)
def run_tool(code: str, function: str, parameters: dict[str, Any], *, timeout_s: float = 60) -> Any:  # noqa: ANN401 - JSON
    """Call a tool and wait for it; the run of the task and the execution can be found by each other's id.

    Raises:
        ToolError: it did not succeed.
        NoAnswerError: it has not ended in time.
    """
    # One id a try: what was stopped because nobody waited any longer is not to be its retry's result.
    execution_id = f"prefect-{task_run.id}-{task_run.run_count}"
    with make_app(os.environ["BROKER_URL"], os.environ["RESULT_BACKEND"]) as app:
        step = tool(app, code, function, execution_id=execution_id, **parameters)
        return call(app, step, timeout_s=timeout_s)


@flow
def describe_text(text: str) -> dict[str, float]:
    """Two tools, one after the other."""
    numbers = run_tool(READ, "read", {"text": text})
    described: dict[str, float] = run_tool(DESCRIBE, "describe", {"numbers": numbers})
    return described


if __name__ == "__main__":
    print(json.dumps(describe_text(" ".join(sys.argv[1:]) or "1 2 3 4")))
