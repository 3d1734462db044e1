"""`stepflow demo`: the fixtures as a workflow through a worker, then the history of it."""

import asyncio
import base64
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import click

from stepflow_python.cli.history import summaries
from stepflow_python.cli.render import line
from stepflow_python.cli.session import Session, open_session
from stepflow_python.client.client import Client, open_client
from stepflow_python.errors import InternalError
from stepflow_python.model.history import MAX_PAGE, HistoryFilter
from stepflow_python.model.request import ExecutionRequest, new_execution_id
from stepflow_python.model.result import ExecutionResult
from stepflow_python.process.background import Background

PATIENCE_S = 600.0
CONCURRENCY = "4"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A request, and the statuses that are right for it."""

    name: str
    request: ExecutionRequest
    expected: tuple[str, ...]


@click.command("demo")
@click.option("--keep-worker", is_flag=True, help="Use a worker that is running already; start none.")
def demo(*, keep_worker: bool) -> None:
    """Send some forty real tools, and twenty that misbehave, through a worker; then show the history."""
    session = open_session()
    fixtures = _fixtures()
    workflow_id = f"demo-{new_execution_id()[:8]}"
    chain, group = _workflow(fixtures, workflow_id)
    line(
        f"Workflow {workflow_id}: a chain of {len(chain)}, then a group of {len(group)}. Home: {session.settings.home}"
    )
    with _worker(session, started=not keep_worker):
        right = asyncio.run(_run(session, workflow_id, chain, group))
    line()
    total = len(chain) + len(group)
    line(f"{right} of {total} ended as they should. Look at one: stepflow show ID; at all: stepflow history")
    click.get_current_context().exit(0 if right == total else 1)


async def _run(session: Session, workflow_id: str, chain: Sequence[Step], group: Sequence[Step]) -> int:
    """Submit, watch, show the history; how many ended as they should."""
    async with open_client(session.settings) as client:
        line("The chain: each step takes a part of the result before it.")
        await client.submit_chain([step.request for step in chain])
        right = await _watch(client, chain)
        line("The group: all at once; some are meant to fail.")
        for step in group:
            await client.submit(step.request)
        right += await _watch(client, group)
        page = await client.history(HistoryFilter(workflow_id=workflow_id), limit=MAX_PAGE)
        line()
        summaries(page.items)
        return right


async def _watch(client: Client, steps: Sequence[Step]) -> int:
    """Tell each end as it comes; how many were right."""

    async def ended(step: Step) -> tuple[Step, ExecutionResult]:
        return step, await client.wait(step.request.execution_id, timeout_s=PATIENCE_S)

    right = 0
    for number, waiting in enumerate(asyncio.as_completed([ended(step) for step in steps]), start=1):
        step, result = await waiting
        fine = result.status in step.expected
        right += fine
        mark = "ok   " if fine else "WRONG"
        why = f"  {result.error.message}" if result.error is not None else ""
        shown = f"[{number:2}/{len(steps)}] {mark} {step.name:24} {result.status:16} {result.execution_time_ms:8.0f} ms"
        line(f"{shown}{why}"[:160])
    return right


@contextmanager
def _worker(session: Session, *, started: bool) -> Iterator[None]:
    """A worker of our own for as long as the demo lasts, unless there is one."""
    if not started:
        yield
        return
    argv = [sys.executable, "-m", "stepflow_python", "worker", "--concurrency", CONCURRENCY]
    with Background(argv, env=session.environ) as worker:
        ready = worker.first_line(timeout_s=60)
        if ready is None:
            raise InternalError(f"the worker did not start: {worker.complaint()}")
        line(ready)
        yield


def _fixtures() -> Path:
    """Where the fixtures are: in the installed package, or at the top of a checkout."""
    installed = Path(str(files("stepflow_python"))) / "fixtures"
    return installed if installed.is_dir() else installed.parents[1] / "fixtures"


def _workflow(fixtures: Path, workflow_id: str) -> tuple[list[Step], list[Step]]:
    cases = {case["name"]: case for case in json.loads((fixtures / "cases.json").read_text())}
    workflow = json.loads((fixtures / "workflow.json").read_text())

    def step(name: str, **changes: Any) -> Step:  # noqa: ANN401 - fields of a case, whatever they are
        return _step(cases[name] | changes, fixtures, workflow_id)

    chain = [step(**_named(link)) for link in workflow["chain"]]
    return chain, [step(name) for name in workflow["group"]]


def _named(link: Mapping[str, Any]) -> dict[str, Any]:
    """A link of the chain as arguments: its case, and what replaces the case's own."""
    return {"name": link["case"]} | {name: value for name, value in link.items() if name != "case"}


def _step(case: Mapping[str, Any], fixtures: Path, workflow_id: str) -> Step:
    tool = fixtures / case["tool"]

    def sample(path: str) -> str:
        return base64.b64encode((fixtures / path).read_bytes()).decode()

    encoded = {name: sample(path) for name, path in case.get("bytes", {}).items()}
    request = ExecutionRequest(
        tool_id=tool.stem,
        code=tool.read_text(),
        module_name=tool.stem,
        function_name=case.get("function"),
        parameters=case.get("parameters", {}) | encoded,
        stdin=(fixtures / case["stdin"]).read_text() if "stdin" in case else None,
        files={name: (fixtures / path).read_bytes() for name, path in case.get("files", {}).items()},
        security_level=case.get("level", "strict"),
        timeout=case.get("timeout"),
        memory_limit=case.get("memory_limit"),
        workflow_id=workflow_id,
        step_id=case["name"],
    )
    return Step(name=case["name"], request=request, expected=tuple(case["expect"]["status"]))
