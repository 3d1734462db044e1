import pytest
from rich.console import Console

from stepflow_python.cli import terminal
from stepflow_python.cli.columns import Column
from stepflow_python.cli.terminal import draw, spinner, widths

COLUMNS = (Column(title="id", flexible=True), Column(title="status"), Column(title="why", flexible=True))
ROWS = [("0123456789" * 3, "succeeded", "because " * 10)]


@pytest.mark.parametrize(
    ("room", "expected"), [(200, [30, 9, 80]), (120, [25, 9, 80]), (80, [8, 9, 57]), (20, [8, 9, 8])]
)
def test_flexible_columns_give_way_from_the_left(room: int, expected: list[int]) -> None:
    """Ids are cut before reasons, a status never is."""
    assert widths(COLUMNS, ROWS, room=room) == expected


def test_a_narrow_table_keeps_what_matters(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A row is one line as wide as the terminal; what looks like markup is shown as it is."""
    monkeypatch.setattr(terminal, "Console", lambda: Console(width=60, color_system=None))
    draw(COLUMNS, [(*ROWS[0][:2], "[red]not markup[/red]")])
    lines = [line for line in capsys.readouterr().out.splitlines() if "succeeded" in line]
    assert len(lines) == 1
    assert "[red]not markup[/red]" in lines[0]
    assert len(lines[0]) <= 60


def test_nothing_stays_of_what_takes_time(capsys: pytest.CaptureFixture[str]) -> None:
    """Progress goes to stderr, and stdout stays clean."""
    with spinner() as tell:
        tell("first")
        tell("then [this]")
    assert capsys.readouterr().out == ""
