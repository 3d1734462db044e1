"""What is there for people to use is written down for them."""

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from support.attacks import load_attacks

from stepflow_python.cli.diagnosis import shown
from stepflow_python.cli.exits import BY_CATEGORY, BY_STATUS
from stepflow_python.cli.main import main
from stepflow_python.config import Settings

DOCS = Path(__file__).resolve().parents[1] / "docs"
HOME = "STEPFLOW_PYTHON_HOME"


def commands(command: click.Command = main, path: tuple[str, ...] = ()) -> Iterator[tuple[str, click.Command]]:
    """Every command that does something, by its words."""
    if not isinstance(command, click.Group):
        yield " ".join(path), command
        return
    context = click.Context(command)
    for name in command.list_commands(context):
        found = command.get_command(context, name)
        assert found is not None
        yield from commands(found, (*path, name))


def sections() -> dict[str, str]:
    """The text about each command."""
    parts = re.split(r"^## `stepflow (.+)`$", (DOCS / "cli.md").read_text(), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_every_command_has_its_section() -> None:
    """No command is undocumented, and no section is about one that is gone."""
    assert set(sections()) == {path for path, _command in commands()}


@pytest.mark.parametrize(("path", "command"), list(commands()), ids=[path for path, _command in commands()])
def test_every_option_is_explained(path: str, command: click.Command) -> None:
    """Each option is in the section of its command, and none is there that the command has not."""
    text = sections()[path]
    options = {
        option
        for parameter in command.params
        for option in (*parameter.opts, *parameter.secondary_opts)
        if option.startswith("-")
    }
    assert set(re.findall(r"`(--?[a-z][a-z-]*)", text)) == options
    assert all(choice in text for parameter in command.params for choice in choices(parameter))


def choices(parameter: click.Parameter) -> tuple[str, ...]:
    """What an option may be, where that is a list of words; the levels are explained once."""
    is_list = isinstance(parameter.type, click.Choice) and parameter.name != "level"
    return tuple(map(str, parameter.type.choices)) if is_list else ()


def test_every_exit_code_is_explained() -> None:
    """Each code has its row."""
    codes = {int(code) for code in re.findall(r"^\| (\d+) \|", (DOCS / "cli.md").read_text(), flags=re.MULTILINE)}
    assert codes == {*BY_STATUS.values(), *BY_CATEGORY.values()}


def test_every_setting_has_its_row() -> None:
    """Each variable is there with its default, its unit and what it sets, in order, and no other."""
    lines = (DOCS / "settings.md").read_text().splitlines()
    rows = [tuple(cell.strip() for cell in line.split("|")[1:-1]) for line in lines if line.startswith("| `")]
    expected = []
    for variable, field in Settings.described().items():
        traits = field.json_schema_extra
        assert isinstance(traits, dict)
        default = "" if variable == HOME else shown(field.default)
        expected.append((f"`{variable}`", f"`{default}`" if default else "", traits["unit"], field.description))
    assert rows == expected


def promises() -> dict[str, list[str]]:
    """The rows of the table in `security.md`: a promise, and what tests it."""
    rows = re.findall(r"^\| \*\*(.+?)\*\*.* \| (`.+`) \|$", (DOCS / "security.md").read_text(), flags=re.MULTILINE)
    return {promise: re.findall(r"`([^`]+)`", tested) for promise, tested in rows}


@pytest.mark.parametrize("named", promises().values(), ids=promises())
def test_every_promise_is_tested(named: list[str]) -> None:
    """Whatever a promise of security names is an attack or a test that exists."""
    attacks = {attack.name for attack in load_attacks()}
    for name in named:
        path, _, test = name.partition("::")
        if test:
            assert f"def {test}(" in (DOCS.parent / path).read_text(), name
        else:
            assert name in attacks, name


def test_every_line_of_the_promises_is_read() -> None:
    """No row of the table escapes the check above."""
    rows = [line for line in (DOCS / "security.md").read_text().splitlines() if line.startswith("| **")]
    assert len(rows) == len(promises()) > 10
