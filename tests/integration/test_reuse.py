"""Results of pure tools, used again."""

from pathlib import Path

from support.program import Program

DICE = "import random\n\ndef roll(sides: int) -> list:\n    print('rolled')\n    return [sides, random.random()]\n"


def test_the_same_call_again(here: Program, tmp_path: Path) -> None:
    """Asked to reuse, the second gets the first one's result and says so; other arguments, ages and requests run."""
    tool = tmp_path / "dice.py"
    tool.write_text(DICE)

    def roll(sides: int, *words: str) -> dict[str, object]:
        found: dict[str, object] = here.json("run", tool, "--function", "roll", "--arg", f"sides={sides}", *words)
        return found

    first = roll(6, "--reuse-for", "600", "--id", "reuse-first")
    again = roll(6, "--reuse-for", "600", "--id", "reuse-again")
    third = roll(6, "--reuse-for", "600")
    assert first["reused_from"] is None
    assert (again["reused_from"], third["reused_from"]) == ("reuse-first", "reuse-first")
    assert (again["result"], again["stdout"], third["result"]) == (first["result"], "rolled\n", first["result"])
    assert again["execution_id"] == "reuse-again"
    assert here.json("show", "reuse-again")["result"]["reused_from"] == "reuse-first"
    for other in (roll(7, "--reuse-for", "600"), roll(6), roll(6, "--reuse-for", "0.001")):
        assert other["reused_from"] is None
        assert other["result"] != first["result"]
    tool.write_text(DICE + "# another source\n")
    assert roll(6, "--reuse-for", "600")["reused_from"] is None


def test_a_failure_is_not_used_again(here: Program, tmp_path: Path) -> None:
    """It may pass the next time."""
    tool = tmp_path / "failing.py"
    tool.write_text("raise ValueError('no')\n")
    for _ in range(2):
        result = here.json("run", tool, "--reuse-for", "600", code=1)
        assert (result["status"], result["reused_from"]) == ("failed", None)
