"""The `stepflow` command."""

import click


@click.group()
@click.version_option(package_name="stepflow-python")
def main() -> None:
    """Run Python files as typed, isolated, recorded tools."""
