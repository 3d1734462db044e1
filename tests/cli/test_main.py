import subprocess
import sys

import click
import pytest
from click.testing import CliRunner
from support.program import Program

from stepflow_python.cli.main import COMMANDS, main


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_what_the_list_says(name: str) -> None:
    """The short text of a command in the list is the beginning of its own."""
    context = click.Context(main)
    command = main.get_command(context, name)
    assert command is not None
    assert command.name == name
    assert (command.help or "").startswith(COMMANDS[name].summary.rstrip("."))


def test_help_lists_every_command() -> None:
    """`--help` names all commands."""
    done = CliRunner().invoke(main, ["--help"])
    assert done.exit_code == 0
    assert all(f"  {name} " in done.stdout for name in COMMANDS)


def test_an_unknown_command_is_a_usage_error() -> None:
    """A command that is not there ends with 2."""
    done = CliRunner().invoke(main, ["runn"])
    assert done.exit_code == 2
    assert "No such command 'runn'" in done.stderr


def imported_by(*words: str) -> set[str]:
    """What the program imports on its way."""
    code = (
        "import sys\nfrom stepflow_python.cli.main import main\n"
        f"try: main({list(words)!r})\nexcept SystemExit: pass\n"
        "print(*sorted(sys.modules), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stderr.split())


def test_help_imports_nothing_heavy() -> None:
    """The list of commands costs no library but click."""
    assert not imported_by("--help") & {"pydantic", "celery", "kombu", "sqlalchemy", "rich", "jsonschema"}


def test_run_does_not_import_the_broker() -> None:
    """A run here and now needs neither Celery nor what draws tables."""
    assert not imported_by("run", "--help") & {"celery", "kombu", "rich"}


def test_facts_need_neither_broker_nor_record() -> None:
    """`parse` and `check` read source, nothing else."""
    assert not imported_by("check", "--help") & {"celery", "kombu", "sqlalchemy", "rich"}


def test_the_program_is_a_module_too(stepflow: Program) -> None:
    """`python -m stepflow_python` is the command."""
    done = stepflow("--version")
    assert done.returncode == 0
    assert "0.1" in done.stdout
