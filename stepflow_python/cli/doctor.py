"""`stepflow doctor`: what this host can do."""

import asyncio

import click

from stepflow_python.cli.columns import Column
from stepflow_python.cli.diagnosis import Diagnosis, as_value, diagnose
from stepflow_python.cli.exits import OUR_FAULT, SUCCEEDED
from stepflow_python.cli.render import emit_json, line, table
from stepflow_python.cli.session import open_session

COLUMNS = (
    Column(title="setting"),
    Column(title="value", flexible=True, wraps=True),
    Column(title="default", flexible=True, wraps=True),
    Column(title="unit"),
)


@click.command("doctor")
@click.option("--json", "json_", is_flag=True, help="Print the findings as JSON, nothing else.")
def doctor(*, json_: bool) -> None:
    """Say what this host can do, and every setting.

    What is missing is told with what to do for it. Exits 0 when a tool could run, else 3.
    """
    session = open_session()
    diagnosis = asyncio.run(diagnose(session.settings, session.environ))
    if json_:
        emit_json(as_value(diagnosis))
    else:
        _tell(diagnosis)
    click.get_current_context().exit(SUCCEEDED if diagnosis.usable else OUR_FAULT)


def _tell(diagnosis: Diagnosis) -> None:
    line(f"stepflow-python {diagnosis.version}: {'tools can run here' if diagnosis.usable else 'no tool can run here'}")
    for found in diagnosis.findings:
        line(f"{'ok ' if found.fine else 'BAD'} {found.part + ':':<13} {found.answer}")
        for detail in found.detail:
            line(f"{'':<18}{detail}")
    line()
    table(COLUMNS, [(each.variable, each.value, each.default, each.unit) for each in diagnosis.settings])
