"""The `stepflow` command: each of its commands is imported when it is called, so that `--help` starts at once."""

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import click
from typing_extensions import override

DEBUG_HELP = "Show where a fault of ours came from."


@dataclass(frozen=True, slots=True)
class Entry:
    """Where a command is defined, below `stepflow_python.cli`, and what the list says of it."""

    module: str
    name: str
    summary: str


COMMANDS: Final[Mapping[str, Entry]] = {
    "run": Entry("run", "run", "Run FILE, or one function of it, here and now."),
    "submit": Entry("submit", "submit", "Send FILE to the workers."),
    "worker": Entry("worker", "worker", "Run what is submitted, until stopped."),
    "history": Entry("history", "history", "List executions, newest first."),
    "show": Entry("history", "show", "Show all that is recorded of an execution."),
    "cancel": Entry("history", "cancel", "Stop an execution."),
    "metrics": Entry("metrics", "metrics", "Count what is on record."),
    "logs": Entry("logs", "logs", "Print what an execution has printed."),
    "replay": Entry(
        "replay", "replay", "Run a recorded execution again, in an environment of exactly its recorded lock."
    ),
    "parse": Entry("source", "parse", "Say what is in tools; nothing runs."),
    "check": Entry("source", "check", "Say whether a tool may run; nothing does."),
    "env": Entry("environments", "env", "Environments that tools run in."),
    "extension": Entry("extensions", "extension", "Modules that the host lends to tools."),
    "db": Entry("database", "db", "The record of executions."),
    "doctor": Entry("doctor", "doctor", "Say what this host can do, and every setting."),
    "demo": Entry("demo", "demo", "Send some forty real tools, and twenty that misbehave, through a worker."),
}


class LazyGroup(click.Group):
    """Commands by their names in `COMMANDS`; their errors end in one place."""

    @override
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    @override
    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        entry = COMMANDS.get(cmd_name)
        if entry is None:
            return None
        command = getattr(importlib.import_module(f"stepflow_python.cli.{entry.module}"), entry.name)
        if not isinstance(command, click.Command):
            raise TypeError(f"{entry.module}.{entry.name} is no command")
        return command

    @override
    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.summary) for name, entry in COMMANDS.items()])

    @override
    def invoke(self, ctx: click.Context) -> object:
        # Click has no other name for what follows the group's own options.
        rest = [*ctx._protected_args, *ctx.args]  # noqa: SLF001 - see above
        from stepflow_python.cli.boundary import Boundary  # noqa: PLC0415 - not needed for `--help`

        with Boundary(rest):
            return super().invoke(ctx)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="stepflow-python")
@click.option("--debug", is_flag=True, help=DEBUG_HELP)
def main(*, debug: bool) -> None:
    """Run Python files as typed, isolated, recorded tools."""
    if debug:
        from stepflow_python.cli.session import show_tracebacks  # noqa: PLC0415 - not needed for `--help`

        show_tracebacks()
