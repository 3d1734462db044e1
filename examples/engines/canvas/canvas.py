"""Celery's chain, group and chord of tools: word counts of three texts, then the most frequent words of all."""

import json
import os
import sys
from pathlib import Path
from typing import Any

from celery import Celery, chain, chord, group

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # where `stepflow_celery.py` is; in your project, a copy
from stepflow_celery import ToolError, make_app, result_of, tool

COUNT = """
from collections import Counter

def count(text: str) -> dict[str, int]:
    return dict(Counter(text.lower().split()))
"""
TOP = """
from collections import Counter

def top(counts: list[dict[str, int]], n: int = 2) -> list[tuple[str, int]]:
    total = sum((Counter(count) for count in counts), Counter())
    return total.most_common(n)
"""
HEADLINE = "def headline(top: list[tuple[str, int]]) -> str:\n    return ' '.join(word for word, _ in top).title()\n"
TEXTS = ("a queue of jobs", "a job of a queue", "jobs and a box")
PATIENCE_S = 60.0


def run(app: Celery, texts: tuple[str, ...] = TEXTS) -> dict[str, Any]:
    """What each kind of canvas gives.

    Raises:
        ToolError: a tool did not succeed. What comes after a step that fails does not run.
    """
    counts = [tool(app, COUNT, "count", text=text) for text in texts]
    replies = group(counts, app=app).apply_async().get(timeout=PATIENCE_S)
    top = tool(app, TOP, "top", counts={"$previous": ""}, n=2)
    counted = chord([step.clone() for step in counts], top, app=app).apply_async().get(timeout=PATIENCE_S)
    steps = [
        tool(app, COUNT, "count", text=" ".join(texts)),
        tool(app, TOP, "top", counts=[{"$previous": ""}], n=2),
        tool(app, HEADLINE, "headline", top={"$previous": ""}),
    ]
    line = chain(*steps, app=app).apply_async().get(timeout=PATIENCE_S)
    return {
        "group": [result_of(reply) for reply in replies],
        "chord": result_of(counted),
        "chain": result_of(line),
    }


def main() -> int:
    """Print what came of it."""
    app = make_app(os.environ["BROKER_URL"], os.environ["RESULT_BACKEND"])
    try:
        print(json.dumps(run(app), indent=2))
    except ToolError as error:
        print(f"a tool failed: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
