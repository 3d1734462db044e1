"""`stepflow history`, `show` and `cancel`: the record."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator, Sequence
from datetime import datetime
from typing import TypeVar

import click

from stepflow_python.cli.columns import Column
from stepflow_python.cli.render import as_json, emit_json, line, mebibytes, milliseconds, note, table, times
from stepflow_python.cli.session import open_session
from stepflow_python.cli.spans import instant
from stepflow_python.client.client import Client, open_client
from stepflow_python.errors import PythonError
from stepflow_python.model.history import MAX_PAGE, ExecutionRecord, ExecutionSummary, HistoryFilter, Page
from stepflow_python.model.result import ExecutionResult, Status
from stepflow_python.model.values import now

T = TypeVar("T")

COLUMNS = (
    Column(title="id", flexible=True),
    Column(title="tool", flexible=True),
    Column(title="status"),
    Column(title="queued"),
    Column(title="ms", justify="right"),
    Column(title="memory", justify="right"),
    Column(title="attempt", justify="right"),
    Column(title="why", flexible=True),
)


def point_in_time(_context: click.Context, _option: click.Parameter, text: str | None) -> datetime | None:
    """The value of an option that takes a time."""
    try:
        return None if text is None else instant(text, now())
    except ValueError as error:
        raise click.BadParameter(f"{error}, or as an ISO time such as 2026-01-31T12:00") from error


@click.command("history")
@click.option("--tool", metavar="T", help="Only this tool.")
@click.option("--status", type=click.Choice([status.value for status in Status]), help="Only this status.")
@click.option("--since", metavar="T", callback=point_in_time, help="Queued since: an ISO time, or 30m, 2h, 3d ago.")
@click.option("--limit", type=click.IntRange(1, MAX_PAGE), default=50, show_default=True, metavar="N", help="At most.")
@click.option("--cursor", metavar="C", help="The next page, as the one before named it.")
@click.option("--json", "json_", is_flag=True, help="Print the page as JSON, nothing else.")
def history(
    *, tool: str | None, status: str | None, since: datetime | None, limit: int, cursor: str | None, json_: bool
) -> None:
    """List executions, newest first."""
    query = HistoryFilter(tool=tool, status=Status(status) if status else None, since=since)
    page = looked(lambda client: client.history(query, limit=limit, cursor=cursor))
    if json_:
        emit_json(as_json(page))
    else:
        _list(page)


@click.command("show")
@click.argument("execution_id", metavar="ID")
@click.option("--json", "json_", is_flag=True, help="Print the record as JSON, nothing else.")
def show(*, execution_id: str, json_: bool) -> None:
    """Show all that is recorded of an execution."""
    record = looked(lambda client: client.show(execution_id))
    if json_:
        emit_json(as_json(record))
        return
    for text in described(record):
        line(text)


@click.command("cancel")
@click.argument("execution_id", metavar="ID")
@click.option("--json", "json_", is_flag=True, help="Print the record as JSON, nothing else.")
def cancel(*, execution_id: str, json_: bool) -> None:
    """Stop an execution: a queued one never starts, a running one is killed with all its processes."""
    record = _asked(lambda client: client.cancel(execution_id))
    if json_:
        emit_json(as_json(record))
    elif record.status is Status.RUNNING:
        line(f"{execution_id} is running and was told to stop")
    elif record.status is Status.CANCELLED:
        line(f"{execution_id} is cancelled")
    else:
        line(f"{execution_id} has ended already: {record.status}")


def looked(question: Callable[[Client], Awaitable[T]]) -> T:
    """What a question finds, after what was killed has been told from what runs."""

    async def look(client: Client) -> T:
        try:
            await client.tie_up()
        except PythonError as error:
            note(f"what was killed may still be shown as running: {error.message}")
        return await question(client)

    return _asked(look)


def _asked(question: Callable[[Client], Awaitable[T]]) -> T:
    settings = open_session().settings

    async def ask() -> T:
        async with open_client(settings) as client:
            return await question(client)

    return asyncio.run(ask())


def _list(page: Page) -> None:
    summaries(page.items)
    if page.next_cursor is not None:
        note(f"there is more: --cursor {page.next_cursor}")


def summaries(items: Sequence[ExecutionSummary]) -> None:
    """Print executions as a table; ids are cut where the terminal is narrow."""
    table(COLUMNS, [_row(item) for item in items])


def _row(item: ExecutionSummary) -> tuple[str, ...]:
    return (
        item.execution_id,
        item.tool or item.tool_id or "",
        item.status,
        moment(item.queued_at),
        milliseconds(item.execution_time_ms),
        mebibytes(item.memory_usage_kb),
        f"{item.attempts}/{item.max_attempts}",
        item.why or "",
    )


def moment(time: datetime | None) -> str:
    """A time for people, in their own zone; empty where there is none."""
    return "" if time is None else time.astimezone().strftime("%Y-%m-%d %H:%M:%S")


def described(record: ExecutionRecord) -> Iterator[str]:
    """All of a record for people, a line each; what is not known is left out."""
    facts = {
        "execution": record.execution_id,
        "tool": record.tool or record.tool_id,
        "status": record.status.value,
        "workflow": record.workflow_id,
        "step": record.step_id,
        "priority": str(record.priority),
        "attempts": f"{record.attempts} of {record.max_attempts}",
        "queued": moment(record.queued_at),
        "started": moment(record.started_at),
        "finished": moment(record.finished_at),
        "time": f"{milliseconds(record.execution_time_ms)} ms" if record.execution_time_ms is not None else "",
        "memory": mebibytes(record.memory_usage_kb),
        "reached in": _dispatch(record.result),
        "isolation": record.isolation,
        "environment": _environment(record.result) if record.result is not None else "",
    }
    yield from (f"{name + ':':<12} {value}" for name, value in facts.items() if value)
    for earlier in record.earlier_attempts:
        yield f"attempt {earlier.attempt}: {earlier.status}, {moment(earlier.finished_at)}: {earlier.why or ''}"
    for name, value in record.request.items():
        if value not in (None, {}, [], ""):
            yield f"request.{name}: {value}"
    yield from _calls(record)
    if record.result is not None:
        yield from _result(record.result)


def _dispatch(result: ExecutionResult | None) -> str:
    """What it took to reach the tool's first line, and whether its process was waiting."""
    if result is None or result.dispatch_time_ms is None:
        return ""
    return f"{milliseconds(result.dispatch_time_ms)} ms, in {'a waiting' if result.warm else 'a new'} process"


def _environment(result: ExecutionResult) -> str:
    """Which one it was, and what it took to have it."""
    return ": ".join(filter(None, (result.environment_id, times(result.environment_times))))


def _calls(record: ExecutionRecord) -> Iterator[str]:
    """What it called of the extensions that it was lent, a line each."""
    for call in record.extension_calls:
        given = f" {json.dumps(call.arguments, ensure_ascii=False)}" if call.arguments else ""
        sizes = f"{call.request_bytes} bytes there, {call.response_bytes} back"
        took = f"{milliseconds(call.duration_ms)} ms"
        yield f"called {call.extension}.{call.function}{given}: {call.outcome}, {took}, {sizes}"
    left = record.extension_calls_total - len(record.extension_calls)
    if left:
        yield f"called extensions {left} times more"


def _result(result: ExecutionResult) -> Iterator[str]:
    told = result.model_dump(mode="json", exclude_defaults=True, exclude={"files", "stdout", "stderr", "exceptions"})
    shown = {"execution_id", "status", "isolation", "attempt", "queued_at", "started_at", "finished_at"}
    shown |= {"environment_id", "environment_times"}
    for name, value in told.items():
        if name not in shown:
            yield f"result.{name}: {value}"
    for name, content in result.files.items():
        yield f"result.files: {name}, {len(content)} bytes"
    for raised in result.exceptions:
        yield f"raised {raised.type}: {raised.message}"
        yield from (f"    {frame.file}:{frame.line} in {frame.function}: {frame.code}" for frame in raised.frames)
    for name, text in (("stdout", result.stdout), ("stderr", result.stderr)):
        if text:
            yield f"{name}:"
            yield from (f"    {printed}" for printed in text.splitlines())
