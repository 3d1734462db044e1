"""`stepflow db`: the store of the record."""

import asyncio
from dataclasses import asdict
from datetime import timedelta

import click

from stepflow_python.cli.columns import Column
from stepflow_python.cli.exits import OUR_FAULT, SUCCEEDED
from stepflow_python.cli.render import emit_json, line, note, table
from stepflow_python.cli.session import open_session
from stepflow_python.cli.spans import ago
from stepflow_python.ports import Progress
from stepflow_python.store.copying import copy as copy_store
from stepflow_python.store.maintenance import prune as prune_store
from stepflow_python.store.migrate import SchemaState
from stepflow_python.store.migrate import check as check_schema
from stepflow_python.store.migrate import upgrade as upgrade_schema
from stepflow_python.store.schema import metadata

COPIED = (Column(title="table"), Column(title="moved", justify="right"), Column(title="already there", justify="right"))

json_option = click.option("--json", "json_", is_flag=True, help="Print JSON, nothing else.")


@click.group("db")
def db() -> None:
    """The record of executions: SQLite below the home folder, or DATABASE_URL."""


def _span(_context: click.Context, _option: click.Parameter, text: str) -> timedelta:
    try:
        return ago(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


@db.command("upgrade")
@json_option
def upgrade(*, json_: bool) -> None:
    """Make the tables, or bring them to this version. Every command does so where it must; this one does only that."""
    _tell(upgrade_schema(open_session().settings.database), json_=json_)


@db.command("check")
@json_option
def check(*, json_: bool) -> None:
    """Compare the tables with this version; nothing is changed. Exits 3 when an upgrade is due."""
    state = check_schema(open_session().settings.database)
    _tell(state, json_=json_)
    click.get_current_context().exit(OUR_FAULT if state.behind else SUCCEEDED)


@db.command("prune")
@click.option("--older-than", required=True, metavar="D", callback=_span, help="A span such as 12h, 30d or 4w.")
@json_option
def prune(*, older_than: timedelta, json_: bool) -> None:
    """Forget executions that ended longer ago than this, with their output, and sources that no other one has."""
    pruned = asdict(asyncio.run(prune_store(open_session().settings.database, older_than=older_than)))
    if json_:
        emit_json(pruned)
    else:
        line("removed: " + ", ".join(f"{count} {name}" for name, count in pruned.items()))


@db.command("copy")
@click.argument("source", metavar="FROM")
@click.argument("target", metavar="TO")
@json_option
def copy(*, source: str, target: str, json_: bool) -> None:
    """Copy the record at the URL FROM into the one at TO, which is made where there is none; safe to do again."""
    open_session()
    copied = asyncio.run(copy_store(source, target, progress=_every_thousandth()))
    if json_:
        emit_json({"moved": dict(copied.moved), "already": dict(copied.already), "running": copied.running})
        return
    names = [table.name for table in metadata.sorted_tables if table.name in {*copied.moved, *copied.already}]
    rows = [(name, str(copied.moved.get(name, 0)), str(copied.already.get(name, 0))) for name in names]
    table(COPIED, rows)
    if copied.running:
        note(f"{copied.running} executions are running and were left: copy again when their workers have stopped")


def _every_thousandth() -> Progress:
    """Tells of every thousandth execution, and of nothing that is done before anybody wonders."""
    told = 0

    def progress(message: str) -> None:
        nonlocal told
        told += 1
        if told % 10 == 0:
            note(message)

    return progress


def _tell(state: SchemaState, *, json_: bool) -> None:
    if json_:
        emit_json({"current": state.current, "head": state.head, "behind": state.behind})
    elif state.behind:
        line(f"schema {state.current or 'none'}, this version wants {state.head}: run `stepflow db upgrade`")
    else:
        line(f"schema {state.head}, as this version wants it")
