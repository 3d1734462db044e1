"""Measures everything, prints one table, writes `benchmarks/results/latest.json`.

Usage: python benchmarks/run.py [--quick] [--write] [PART...]
"""

import argparse
import importlib
import json
import sys
from pathlib import Path

from figure import Figure
from rich.console import Console
from rich.table import Table
from yardstick import slowness

PARTS = ("parsing", "environments", "sandbox", "warm", "extensions", "store", "delivery", "stopping", "jobs")
RESULTS = Path(__file__).parent / "results" / "latest.json"
PAGE = Path(__file__).parents[1] / "docs" / "performance.md"
sys.path.append(str(Path(__file__).parents[1] / "scripts"))


def main() -> int:
    """Exit status 0 if all goals are met, 1 if one is not."""
    parser = argparse.ArgumentParser(description="Figures beside their baselines from the same run.")
    parser.add_argument("--quick", action="store_true", help="fewer rounds; ends within five minutes")
    parser.add_argument("--write", action="store_true", help="put the table into docs/performance.md as well")
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], help=f"of {', '.join(PARTS)}; default: all")
    options = parser.parse_args()
    from marked import put  # noqa: PLC0415 - one of the scripts

    slow = slowness()
    print(f"this machine takes {slow:.2f} times as long as the one the goals were set on", file=sys.stderr)
    figures: list[Figure] = []
    for part in options.parts or PARTS:
        print(f"measuring {part} ...", file=sys.stderr)
        figures.extend(importlib.import_module(part).figures(quick=options.quick))
    show(figures, slow)
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps([figure.as_dict() for figure in figures], indent=2) + "\n", encoding="utf-8")
    if options.write:
        put(PAGE, "figures", markdown(figures, slow))
    return 0 if all(figure.met for figure in figures) else 1


def verdict(figure: Figure, slow: float) -> str:
    """Whether the goal is met; if not, also whether it is at this machine's speed."""
    if figure.met:
        return "yes"
    scaled = figure.goal_at(slow)
    return "no" if scaled is None else f"no ({scaled} at this speed: {'yes' if figure.held_against(scaled) else 'no'})"


def markdown(figures: list[Figure], slow: float) -> str:
    """The table for a page."""
    lines = [
        f"Speed: {slow:.2f} times as long as where the goals were set, by `bwrap ... python -I -c pass`.",
        "",
        "| figure | value | baseline | ratio | goal | met |",
        "|---|---|---|---|---|---|",
    ]
    for figure in figures:
        baseline = "" if figure.baseline is None else f"{figure.baseline:g} {figure.unit}"
        ratio = "" if figure.ratio is None else f"{figure.ratio:.2f}x"
        met = verdict(figure, slow).replace("no", "**no**", 1)
        lines.append(
            f"| {figure.name} | {figure.value:g} {figure.unit} | {baseline} | {ratio} | {figure.goal} | {met} |"
        )
    return "\n".join(lines)


def show(figures: list[Figure], slow: float) -> None:
    """Print the table."""
    table = Table("figure", "value", "baseline", "ratio", "goal", "met")
    for figure in figures:
        table.add_row(
            figure.name,
            f"{figure.value:g} {figure.unit}",
            "" if figure.baseline is None else f"{figure.baseline:g} {figure.unit}",
            "" if figure.ratio is None else f"{figure.ratio:.2f}x",
            figure.goal,
            verdict(figure, slow).replace("no", "NO", 1),
        )
    Console(width=None if sys.stdout.isatty() else 160).print(table)


if __name__ == "__main__":
    sys.exit(main())
