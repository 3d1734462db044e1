"""A DAG of two tools, the second of which takes the first one's result; as a program it runs their `execute` once."""

import json
import os
import sys
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

from airflow.sdk import DAG
from stepflow_operator import StepflowOperator

READ = "def read(text: str) -> list[float]:\n    return [float(word) for word in text.split()]\n"
DESCRIBE = """
import statistics

def describe(numbers: list[float]) -> dict[str, float]:
    return {"mean": statistics.mean(numbers), "deviation": statistics.pstdev(numbers)}
"""

with DAG(
    "describe_text",
    schedule=None,
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    params={"text": "1 2 3 4"},
    render_template_as_native_obj=True,
) as dag:
    read = StepflowOperator(task_id="read", code=READ, function="read", parameters={"text": "{{ params.text }}"})
    describe = StepflowOperator(
        task_id="describe", code=DESCRIBE, function="describe", parameters={"numbers": "{{ ti.xcom_pull('read') }}"}
    )
    read >> describe


def main() -> None:
    """Both tasks in order, as a scheduler would run them: templates are filled in, then `execute` is called."""
    results: dict[str, Any] = {}
    for task in (read, describe):
        ti = SimpleNamespace(id=uuid4(), try_number=1, xcom_pull=results.get)
        context = {"ti": ti, "params": {"text": " ".join(sys.argv[1:]) or "1 2 3 4"}}
        task.render_template_fields(context)
        results[task.task_id] = task.execute(context)
    print(json.dumps(results["describe"]))


if __name__ == "__main__":
    os.environ.setdefault("AIRFLOW_CONN_STEPFLOW_BROKER", os.environ["BROKER_URL"])
    main()
