"""`stepflow metrics`: totals of the record."""

from datetime import datetime

import click

from stepflow_python.cli.history import looked, point_in_time
from stepflow_python.cli.render import as_json, emit_json, line, mebibytes, milliseconds
from stepflow_python.model.history import HistoryFilter, PythonMetrics
from stepflow_python.model.result import Status


@click.command("metrics")
@click.option("--tool", metavar="T", help="Only this tool.")
@click.option("--status", type=click.Choice([status.value for status in Status]), help="Only this status.")
@click.option("--since", metavar="T", callback=point_in_time, help="Queued since: an ISO time, or 30m, 2h, 3d ago.")
@click.option("--until", metavar="T", callback=point_in_time, help="Queued before this.")
@click.option("--json", "json_", is_flag=True, help="Print JSON, nothing else.")
def metrics(
    *, tool: str | None, status: str | None, since: datetime | None, until: datetime | None, json_: bool
) -> None:
    """Count what is on record: executions, their time and memory, environments."""
    query = HistoryFilter(tool=tool, status=Status(status) if status else None, since=since, until=until)
    found = looked(lambda client: client.metrics(query))
    if json_:
        emit_json(as_json(found))
    else:
        _show(found)


def _show(found: PythonMetrics) -> None:
    by_status = ", ".join(f"{count} {status}" for status, count in sorted(found.executions_by_status.items()))
    line(f"executions:   {found.total_executions}" + (f" ({by_status})" if by_status else ""))
    line(f"average time: {milliseconds(found.average_execution_time)} ms")
    line(f"most memory:  {mebibytes(found.memory_usage)}")
    line(f"environments: {found.active_environments} of {found.total_environments} that were made are there")
    line(f"packages:     {found.total_dependencies} in all of them")
