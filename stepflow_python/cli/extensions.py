"""`stepflow extension`: what the host may lend to tools."""

import click
from pydantic import JsonValue

from stepflow_python.bootstrap.extensions import Lendable, lendable, stub_of
from stepflow_python.cli.columns import Column
from stepflow_python.cli.render import emit_json, line, table, write
from stepflow_python.cli.session import open_session

COLUMNS = (
    Column(title="name"),
    Column(title="from", flexible=True),
    Column(title="functions", flexible=True),
    Column(title="why not", flexible=True),
)


@click.group("extension")
def extension() -> None:
    """Modules that the host lends to tools."""


@extension.command("list")
@click.option("--json", "json_", is_flag=True, help="Print a JSON array, nothing else.")
def list_(*, json_: bool) -> None:
    """List what may be lent, and what could not be loaded, with the reason."""
    session = open_session()
    found = lendable(session.settings, session.environ)
    if json_:
        emit_json([_as_json(one) for one in found])
    elif found:
        table(COLUMNS, [(one.name, one.origin, ", ".join(one.functions), one.reason) for one in found])
    else:
        line("no extensions are installed")


@extension.command("stub")
@click.argument("name", metavar="NAME")
def stub(*, name: str) -> None:
    """Print NAME's functions as a stub: saved as NAME.pyi, it tells editors and type checkers what a tool may call."""
    session = open_session()
    write(stub_of(name, session.settings, session.environ))


def _as_json(one: Lendable) -> dict[str, JsonValue]:
    return {
        "name": one.name,
        "origin": one.origin,
        "available": one.available,
        "functions": list(one.functions),
        "reason": one.reason or None,
    }
