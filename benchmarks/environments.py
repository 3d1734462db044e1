"""What an environment costs: found again, and made new from cached wheels, beside the bare tools."""

import asyncio
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import uv
from figure import Figure

from stepflow_python.environments.cache import EnvironmentCache
from stepflow_python.environments.interpreters import running_interpreter
from stepflow_python.model.environment import Environment
from stepflow_python.ports import EnvironmentSpec

SPEC = EnvironmentSpec(requirements=("requests", "pydantic", "numpy"))
SMALL = ("six", "idna", "certifi", "urllib3", "packaging", "toml", "attrs", "tomli", "sniffio", "h11")
UV = uv.find_uv_bin()


def figures(*, quick: bool) -> list[Figure]:
    """All figures of this part; the first use downloads three packages with what they need."""
    with tempfile.TemporaryDirectory(prefix="environments-") as scratch:
        bench = Bench(Path(scratch))
        try:
            return [
                *bench.found_again(rounds=200 if quick else 2000),
                *bench.made_new(rounds=3 if quick else 9),
                bench.shared(),
            ]
        finally:
            bench.close()


class Bench:
    """One folder with a cache of downloads that all contenders share, pip excepted, which has its own."""

    def __init__(self, scratch: Path) -> None:
        self.scratch = scratch
        self.variables = {**os.environ, "UV_CACHE_DIR": str(scratch / "downloads")}
        self.loop = asyncio.new_event_loop()
        self.cache = self.fresh_cache()
        self.environment = self.ensure(self.cache)
        self.settle(self.cache)
        self.lock = scratch / "lock.txt"
        self.lock.write_text(self.environment.lock)
        self.python = str(running_interpreter())

    def close(self) -> None:
        """Leave a folder that anyone may remove."""
        for environment in self.loop.run_until_complete(self.cache.list()):
            self.loop.run_until_complete(self.cache.remove(environment.id))
        self.loop.close()

    def fresh_cache(self) -> EnvironmentCache:
        """A cache that remembers nothing, as in a worker that has just started."""
        return EnvironmentCache(self.scratch / "environments", environ=self.variables)

    def ensure(self, cache: EnvironmentCache) -> Environment:
        """Find or build the environment of the three packages."""
        return self.loop.run_until_complete(cache.ensure(SPEC))

    def settle(self, cache: EnvironmentCache) -> None:
        """Let the background come to rest, so that what is measured runs alone."""
        self.loop.run_until_complete(cache.settle())

    def found_again(self, *, rounds: int) -> list[Figure]:
        """Beside the way of the bare tool to be sure that nothing is missing: installing again."""
        bare = statistics.median(timed(self.sync_again) for _ in range(5))
        remembered = [timed(lambda: self.ensure(self.cache)) for _ in range(rounds)]
        caches = [self.fresh_cache() for _ in range(rounds // 10)]
        from_disk = []
        for cache in caches:
            from_disk.append(timed(lambda cache=cache: self.ensure(cache)))
            self.settle(cache)
        return [
            milliseconds("environments.found", "environment found again, p95", p95(remembered), bare, "<= 2.0 ms"),
            milliseconds(
                "environments.found_cold",
                "environment found by a new worker, median",
                statistics.median(from_disk),
                bare,
                "<= 2.0 ms",
            ),
        ]

    def made_new(self, *, rounds: int) -> list[Figure]:
        """By turns, so that a noisy minute hits all."""
        contenders: dict[str, Callable[[Path], None]] = {
            "ours": lambda _path: self.rebuild(),
            "bare": self.bare,
            "compiled": lambda path: self.bare(path, "--compile-bytecode"),
        }
        times: dict[str, list[float]] = {name: [] for name in (*contenders, "pip")}
        self.pip(self.scratch / "warm-up")
        for turn in range(rounds):
            for name, make in contenders.items():
                path = self.scratch / f"{name}-{turn}"
                self.loop.run_until_complete(self.cache.remove(self.environment.id)) if name == "ours" else None
                times[name].append(timed(lambda make=make, path=path: make(path)))
                self.settle(self.cache)
                shutil.rmtree(path, ignore_errors=True)
            if turn < 3:
                times["pip"].append(timed(lambda turn=turn: self.pip(self.scratch / f"pip-{turn}")))
        medians = {name: statistics.median(values) for name, values in times.items()}
        what = "new environment of requests, pydantic, numpy, cached wheels"
        beside = {
            "bare": ("uv venv + uv pip sync, without bytecode", "<= 1.5x"),
            "compiled": ("the same with bytecode", "<= 1.0x"),
            "pip": ("virtualenv + pip install", "<= 0.05x"),
        }
        return [
            milliseconds(f"environments.new_{name}", f"{what}, beside {other}", medians["ours"], medians[name], goal)
            for name, (other, goal) in beside.items()
        ]

    def shared(self) -> Figure:
        """Fifty tools that need one of ten sets, all at once."""
        before = set(self.cache.ids())
        specs = [EnvironmentSpec(requirements=(SMALL[tool % 10],)) for tool in range(50)]

        async def all_at_once() -> None:
            await asyncio.gather(*(self.cache.ensure(spec) for spec in specs))

        self.loop.run_until_complete(all_at_once())
        self.settle(self.cache)
        return Figure.of(
            id="environments.shared",
            name="environments of 50 tools with 10 distinct sets, beside one a tool",
            value=len(set(self.cache.ids()) - before),
            unit="environments",
            baseline=len(specs),
            goal="<= 10 environments",
        )

    def rebuild(self) -> None:
        """Ours: whole, with bytecode, sealed."""
        self.ensure(self.cache)

    def bare(self, path: Path, *options: str) -> None:
        """The installer alone, from its cache."""
        self.run([UV, "venv", "--quiet", "--python", self.python, str(path)])
        sync = [UV, "pip", "sync", "--quiet", "--offline", "--require-hashes", *options]
        self.run([*sync, "--python", str(path / "bin" / "python"), str(self.lock)])

    def sync_again(self) -> None:
        """Have the installer compare what is there with the lock."""
        sync = [UV, "pip", "sync", "--quiet", "--offline", "--require-hashes", str(self.lock)]
        self.run([*sync, "--python", str(self.environment.interpreter)])

    def pip(self, path: Path) -> None:
        """What a workflow engine does for each new virtualenv."""
        self.run([sys.executable, "-m", "virtualenv", "--quiet", "--python", self.python, str(path)])
        self.run([str(path / "bin" / "pip"), "install", "--quiet", *SPEC.requirements])

    def run(self, command: list[str], env: Mapping[str, str] | None = None) -> None:
        """Run to the end; a failure ends the benchmark."""
        subprocess.run(command, check=True, env=env or self.variables, capture_output=True)


def timed(work: Callable[[], object]) -> float:
    """Milliseconds."""
    start = time.perf_counter()
    work()
    return (time.perf_counter() - start) * 1000


def p95(values: list[float]) -> float:
    """The value that 95 of 100 stay below."""
    return sorted(values)[int(len(values) * 0.95)]


def milliseconds(identity: str, name: str, value: float, baseline: float, goal: str) -> Figure:
    """A figure in milliseconds."""
    return Figure.of(id=identity, name=name, value=round(value, 3), baseline=round(baseline, 3), unit="ms", goal=goal)
