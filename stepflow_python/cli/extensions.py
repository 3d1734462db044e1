"""`stepflow extension`: what the host may lend to tools."""

import click

from stepflow_python.cli.render import emit_json, line


@click.group("extension")
def extension() -> None:
    """Modules that the host lends to tools."""


@extension.command("list")
@click.option("--json", "json_", is_flag=True, help="Print a JSON array, nothing else.")
def list_(*, json_: bool) -> None:
    """List what may be lent."""
    if json_:
        emit_json([])
    else:
        line("no extensions are installed")
