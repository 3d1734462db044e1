"""What reading a tool's source costs, beside bare `ast.parse` of the same files."""

import ast
import statistics
import sysconfig
import time
import tokenize
import warnings
from collections.abc import Callable
from pathlib import Path

from figure import Figure

from stepflow_python.errors import PythonSyntaxError
from stepflow_python.parsing.arguments import check_arguments
from stepflow_python.parsing.parser import parse_module

ROUNDS = 3
LARGEST = 10_000_000


def figures(*, quick: bool) -> list[Figure]:
    """All figures of this part; quick: every fourth file, one round."""
    sources = standard_library()[:: 4 if quick else 1]
    bare, full = [], []
    for _ in range(1 if quick else ROUNDS):
        # By turns, so that a noisy minute hits both.
        bare.append(elapsed(ast.parse, sources))
        full.append(elapsed(parse, sources))
    return [
        Figure.of(
            id="parsing.stdlib",
            name=f"parse {len(sources)} files of the standard library, beside ast.parse",
            value=round(statistics.median(full), 3),
            baseline=round(statistics.median(bare), 3),
            unit="s",
            goal="<= 3.0x",
        ),
        *small_tool(rounds=200 if quick else 2000),
    ]


def small_tool(*, rounds: int) -> list[Figure]:
    """A tool of a few lines, as each job brings one: parsed, and its arguments checked."""
    code = (
        "import json\n\ndef greet(name: str, times: int = 1) -> str:\n"
        '    """Greet.\n\n    Args:\n        name: whom.\n    """\n    return name * times\n'
    )
    function = parse_module(code).functions[0]
    return [
        Figure.of(
            id="parsing.small_tool",
            name="parse a small tool (median)",
            value=median_us(lambda: parse_module(code), rounds),
            unit="us",
            goal="<= 2000 us",
        ),
        Figure.of(
            id="parsing.arguments",
            name="check two arguments (median)",
            value=median_us(lambda: check_arguments(function, {"name": "x", "times": 2}), rounds),
            unit="us",
            goal="<= 1000 us",
        ),
    ]


def standard_library() -> list[str]:
    """The sources of this interpreter's standard library that it takes itself."""
    sources = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for path in sorted(Path(sysconfig.get_path("stdlib")).rglob("*.py")):
            if "site-packages" in path.parts:
                continue
            try:
                with tokenize.open(path) as file:
                    source = file.read()
                parse(source)
            except (SyntaxError, UnicodeDecodeError, PythonSyntaxError):
                continue
            sources.append(source)
    return sources


def parse(source: str) -> object:
    """The whole way, without the limit on size."""
    return parse_module(source, max_code_size=LARGEST)


def elapsed(read: Callable[[str], object], sources: list[str]) -> float:
    """Seconds to read all sources."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        start = time.perf_counter()
        for source in sources:
            read(source)
        return time.perf_counter() - start


def median_us(call: Callable[[], object], rounds: int) -> float:
    """Median time of a call, in microseconds."""
    times = []
    for _ in range(rounds):
        start = time.perf_counter_ns()
        call()
        times.append(time.perf_counter_ns() - start)
    return round(statistics.median(times) / 1000, 1)
