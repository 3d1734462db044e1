"""Measures everything, prints one table, writes `benchmarks/results/latest.json`.

Usage: python benchmarks/run.py [--quick] [--write] [--rest SECONDS] [PART...]
"""

import argparse
import importlib
import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from figure import Figure
from rich.console import Console
from rich.table import Table
from yardstick import processor_time, slowness

PARTS = ("parsing", "environments", "sandbox", "warm", "extensions", "store", "delivery", "stopping", "jobs")
RESULTS = Path(__file__).parent / "results" / "latest.json"
PAGE = Path(__file__).parents[1] / "docs" / "performance.md"
sys.path.append(str(Path(__file__).parents[1] / "scripts"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One part: how slow the machine was right before it, and what share of the processors it was not given."""

    name: str
    figures: list[Figure]
    slow: float
    stolen: float


def main() -> int:
    """Exit status 0 if all goals are met, 1 if one is not."""
    parser = argparse.ArgumentParser(description="Figures beside their baselines from the same run.")
    parser.add_argument("--quick", action="store_true", help="fewer rounds; ends within five minutes")
    parser.add_argument("--write", action="store_true", help="put the table into docs/performance.md as well")
    parser.add_argument("--rest", type=float, default=0.0, help="seconds before each part: some hosts bound bursts")
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], help=f"of {', '.join(PARTS)}; default: all")
    options = parser.parse_args()
    from marked import put  # noqa: PLC0415 - one of the scripts

    measured = [_measured(part, quick=options.quick, rest_s=options.rest) for part in options.parts or PARTS]
    show(measured)
    figures = [figure for part in measured for figure in part.figures]
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps([figure.as_dict() for figure in figures], indent=2) + "\n", encoding="utf-8")
    if options.write:
        put(PAGE, "figures", markdown(measured))
    return 0 if all(figure.met for figure in figures) else 1


def _measured(part: str, *, quick: bool, rest_s: float) -> Measured:
    time.sleep(rest_s)
    slow = slowness()
    print(f"measuring {part}; {slow:.2f} times as slow as where the goals were set ...", file=sys.stderr)
    before = processor_time()
    figures = importlib.import_module(part).figures(quick=quick)
    stolen, used = (now - then for now, then in zip(processor_time(), before, strict=True))
    return Measured(name=part, figures=figures, slow=slow, stolen=stolen / max(stolen + used, 1))


def verdict(figure: Figure, slow: float) -> str:
    """Whether the goal is met; if not, also whether it is at this machine's speed."""
    if figure.met:
        return "yes"
    scaled = figure.goal_at(slow)
    return "no" if scaled is None else f"no ({scaled} at this speed: {'yes' if figure.held_against(scaled) else 'no'})"


def speeds(measured: list[Measured]) -> str:
    """How slow the machine was, part by part."""
    parts = ", ".join(f"{part.name} {part.slow:.2f} ({part.stolen:.0%})" for part in measured)
    return (
        "How many times as long as where the goals were set `bwrap ... python -I -c pass` took right before each part,"
        f" and what share of the processor time that it wanted this virtual machine was not given: {parts}."
    )


def markdown(measured: list[Measured]) -> str:
    """The table for a page."""
    head = ["| figure | value | baseline | ratio | goal | met |", "|---|---|---|---|---|---|"]
    rows = [f"| {' | '.join(_cells(figure, part.slow, no='**no**'))} |" for part in measured for figure in part.figures]
    return "\n".join([speeds(measured), "", *head, *rows])


def show(measured: list[Measured]) -> None:
    """Print the table."""
    table = Table("figure", "value", "baseline", "ratio", "goal", "met")
    for part in measured:
        for figure in part.figures:
            table.add_row(*_cells(figure, part.slow, no="NO"))
    console = Console(width=None if sys.stdout.isatty() else 160)
    console.print(speeds(measured))
    console.print(table)


def _cells(figure: Figure, slow: float, *, no: str) -> tuple[str, ...]:
    return (
        figure.name,
        f"{figure.value:g} {figure.unit}",
        "" if figure.baseline is None else f"{figure.baseline:g} {figure.unit}",
        "" if figure.ratio is None else f"{figure.ratio:.2f}x",
        figure.goal,
        verdict(figure, slow).replace("no", no, 1),
    )


if __name__ == "__main__":
    sys.exit(main())
