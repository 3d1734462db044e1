"""Runs in processes that waited for them: as cold ones in all that can be seen, and nothing of one is in another."""

import asyncio
import contextlib
import os
import shutil
import signal
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import pytest

from stepflow_python.errors import InternalError
from stepflow_python.model.environment import Environment
from stepflow_python.model.limits import Limits
from stepflow_python.model.module import Parameter, ParameterKind
from stepflow_python.model.result import SandboxOutcome, Status
from stepflow_python.model.security import SecuritySettings
from stepflow_python.ports import SandboxRun
from stepflow_python.process.spawn import children_of
from stepflow_python.sandbox.host import SandboxConfig
from stepflow_python.sandbox.service import HostSandbox
from stepflow_python.sandbox.warm import zygote
from stepflow_python.sandbox.warm.demand import Demand
from stepflow_python.sandbox.warm.options import WarmOptions
from stepflow_python.sandbox.warm.spare import SpareFailedError, Tool
from stepflow_python.sandbox.warm.stock import Stock

T = TypeVar("T")
STANDARD = SecuritySettings(enable_system_calls=True)
DEADLINE_S = 20.0
REPLACING_CALLS = 40
REPLACED_AT_LEAST = 5


class Sandbox:
    """A sandbox for tests that are not async."""

    def __init__(self, config: SandboxConfig, environment: Environment, **options: Any) -> None:
        self.runner = asyncio.Runner()
        self.environment = environment
        self.sandbox = HostSandbox(replace(config, warm=WarmOptions(**options)) if options else config)

    def tool(self, source: str, **fields: Any) -> SandboxRun:
        """The run of the function `f` of a source."""
        run = SandboxRun(
            execution_id=os.urandom(8).hex(),
            environment=self.environment,
            source=source,
            module_name="tool",
            function="f",
            limits=Limits(timeout_s=DEADLINE_S),
            security=STANDARD,
            variables={"PATH": "/usr/bin:/bin"},
        )
        return replace(run, **fields)

    def run(self, source: str, **fields: Any) -> SandboxOutcome:
        """Run it, and clear away."""
        return self.call(self.ran(self.tool(source, **fields)))

    async def ran(self, run: SandboxRun) -> SandboxOutcome:
        """Run it, and clear away."""
        try:
            return await self.sandbox.run(run)
        finally:
            await self.sandbox._aside.settle()

    def call(self, work: Awaitable[T]) -> T:
        """Wait for it."""

        async def wait() -> T:
            return await work

        return self.runner.run(wait())

    @property
    def zygotes(self) -> list[int]:
        """The launchers of the zygotes that are alive."""
        return [stock.zygote.child.pid for stock in self.stocks if stock.zygote is not None and stock.zygote.alive]

    @property
    def stocks(self) -> list[Stock]:
        """What waits, by environment."""
        return [] if self.sandbox._pool is None else list(self.sandbox._pool._stocks.values())

    def close(self) -> None:
        """End it."""
        self.call(self.sandbox.close())
        self.runner.close()


Make = Callable[..., Sandbox]


@pytest.fixture
def make(config: SandboxConfig, environment: Environment) -> Iterator[Make]:
    """Makes sandboxes, by the options of their warm pool."""
    made: list[Sandbox] = []

    def one(**options: Any) -> Sandbox:
        made.append(Sandbox(config, environment, **options))
        return made[-1]

    yield one
    for sandbox in made:
        sandbox.close()


@pytest.fixture(scope="module")
def both(config: SandboxConfig, environment: Environment) -> Iterator[tuple[Sandbox, Sandbox]]:
    """A sandbox that runs cold, and one that runs warm."""
    pair = Sandbox(config, environment), Sandbox(config, environment, eager=True, spares=2)
    yield pair
    for sandbox in pair:
        sandbox.close()


SEEN = ("status", "result", "stdout", "stderr", "return_code", "signal", "exceptions", "error", "truncated", "files")
SOURCES = {
    "value": "def f():\n    print('out')\n    return {'a': [1, 2.5, None]}\n",
    "exception": "import sys\n\ndef g():\n    raise ValueError('no')\n\n"
    "def f():\n    print('x', file=sys.stderr)\n    g()\n",
    "cause": "def f():\n    try:\n        {}['a']\n    except KeyError as e:\n        raise RuntimeError('b') from e\n",
    "syntax": "def f():\n    return 1\n\ndef g(:\n",
    "import": "import nothing_like_this\ndef f():\n    return 1\n",
    "exit code": "import sys\ndef f():\n    print('bye')\n    sys.exit(3)\n",
    "os exit": "import os\ndef f():\n    os._exit(7)\n",
    "signal": "import os\ndef f():\n    os.kill(os.getpid(), 11)\n",
    "no json": "def f():\n    return {'a': [object]}\n",
    "nan": "def f():\n    return float('nan')\n",
    "too large": "def f():\n    return 'x' * 5_000_000\n",
    "file": "def f():\n    open('output/a.txt', 'w').write('left')\n",
    "thread": "import threading, time\n"
    "def f():\n    threading.Thread(target=lambda: (time.sleep(0.1), print('late'))).start()\n",
    "exit handler": "import atexit\ndef f():\n    atexit.register(print, 'last')\n    return 1\n",
    "finalizer": "class A:\n    def __del__(self):\n        print('gone')\nkeep = A()\ndef f():\n    return 1\n",
    "bytes": "import sys\ndef f():\n    sys.stdout.buffer.write(b'\\xff\\x00')\n",
    "process": "import subprocess\n"
    "def f():\n    return subprocess.run(['echo', 'hi'], capture_output=True, text=True).stdout\n",
    "left behind": "import subprocess\ndef f():\n    subprocess.Popen(['sleep', '60'])\n    return 1\n",
    "async": "import asyncio\nasync def f():\n    await asyncio.sleep(0)\n    return 1\n",
    "generator": "def f():\n    yield 1\n    yield 2\n",
    "reads": "import sys\n"
    "def f():\n    return [sys.stdin.read(), open('given.txt').read(), __file__, __name__, sys.argv, sys.path[0]]\n",
    "prints at import": "import this\ndef f():\n    return 1\n",
    "variables": "import os\ndef f():\n    return dict(os.environ)\n",
}


@pytest.mark.parametrize("name", SOURCES)
@pytest.mark.parametrize("turn", ["first", "second", "third"])
def test_all_that_can_be_seen_is_the_same(both: tuple[Sandbox, Sandbox], name: str, turn: str) -> None:
    """A warm run gives what a cold one gives, also when its source was compiled before."""
    cold, warm = both
    imports = tuple((module, ()) for module in ("sys", "os", "this") if f"import {module}" in SOURCES[name])
    fields = {"stdin": b"said", "files": {"given.txt": b"given"}, "env": {"OWN": turn}, "imports": imports}
    expected, given = cold.run(SOURCES[name], **fields), warm.run(SOURCES[name], **fields)
    assert (expected.warm, given.warm) == (False, True)
    assert {field: getattr(given, field) for field in SEEN} == {field: getattr(expected, field) for field in SEEN}


def test_random_numbers_of_openssl_are_each_run_s_own(make: Make) -> None:
    """It was set up before the fork, and remembers a process by a number that all of them have."""
    sandbox = make(eager=True, spares=2)
    source = "import os, ssl\ndef f():\n    return [os.getpid(), ssl.RAND_bytes(16).hex()]\n"
    results: list[Any] = [sandbox.run(source, imports=(("ssl", ()),)).result for _ in range(4)]
    assert len({pid for pid, _ in results}) == 1
    assert len({drawn for _, drawn in results}) == 4


def test_a_tool_that_rings_for_nothing_is_heard_in_the_end(make: Make) -> None:
    """Whatever it does to its descriptors' times: its result counts, and arrives."""
    source = (
        "import os\n"
        "def f(times):\n"
        "    for _ in range(times):\n"
        "        for descriptor in range(256):\n"
        "            try:\n                os.utime(descriptor)\n"
        "            except OSError:\n                pass\n"
        "    return 7\n"
    )
    sandbox = make(eager=True, spares=2)
    for times in (0, 1, 200):
        parameters = (Parameter(name="times", kind=ParameterKind.POSITIONAL_OR_KEYWORD),)
        outcome = sandbox.run(source, arguments={"times": times}, parameters=parameters)
        assert (outcome.result, outcome.warm, outcome.error) == (7, True, None)
        assert outcome.execution_time_ms is not None
        assert outcome.execution_time_ms < DEADLINE_S * 500


def test_what_waits_is_confined_and_a_level_has_its_own(make: Make) -> None:
    """Who may start processes and who may not wait under different filters, which are there before a request is."""
    sandbox = make(eager=True, spares=1)
    source = "import os\ndef f():\n    return os.waitpid(os.posix_spawn('/bin/true', ['true'], {}), 0)[1]\n"
    levels = {SecuritySettings(): Status.FAILED, STANDARD: Status.SUCCEEDED}
    for _ in range(3):
        for security, status in levels.items():
            outcome = sandbox.run(source, security=security)
            assert (outcome.warm, outcome.status) == (True, status)
    strict, standard = (_filters_of(spare.tool.pid) for stock in sandbox.stocks for spare in stock._spares)
    assert strict == standard + 1
    assert standard > 0


def test_nothing_of_a_run_is_in_the_next(make: Make) -> None:
    """Neither globals, files, variables nor modules; random numbers are new."""
    sandbox = make(eager=True)
    source = (
        "import os, random, sys, tempfile, uuid\n"
        "def f():\n"
        "    left = [p for d in ('/tmp', '/dev/shm', '/work/output') for p in os.listdir(d) if p == 'left']\n"
        "    left += [name for name in ('LEFT',) if name in os.environ] + [m for m in sys.modules if m == 'left']\n"
        "    left += [] if not hasattr(random, 'left') else ['attribute']\n"
        "    for d in ('/tmp', '/dev/shm', '/work/output'):\n"
        "        open(d + '/left', 'w').write('x')\n"
        "    os.environ['LEFT'] = 'x'; sys.modules['left'] = sys; random.left = 1\n"
        "    return [left, random.random(), str(uuid.uuid1()), str(uuid.uuid4()), os.getpid()]\n"
    )
    imports = (("random", ()), ("uuid", ()))
    results: list[Any] = [sandbox.run(source, imports=imports).result for _ in range(4)]
    assert [result[0] for result in results] == [[]] * 4
    for column in (1, 2, 3):
        assert len({result[column] for result in results}) == 4
    assert {result[4] for result in results} == {2}


def test_a_forked_process_is_known_by_its_own_numbers(both: tuple[Sandbox, Sandbox]) -> None:
    """To Python's threads, to the C library, which signals by them, and to the kernel."""
    source = (
        "import os, threading\n"
        "def f():\n"
        "    mine = threading.get_native_id()\n"
        "    return [mine == os.getpid(), mine == threading.main_thread().native_id]\n"
    )
    assert both[1].run(source, imports=(("threading", ()),)).result == [True, True]
    ended = both[1].run("import os\ndef f():\n    os.abort()\n")
    assert (ended.signal, ended.warm) == (signal.SIGABRT, True)


@contextlib.contextmanager
def having(sandbox: Sandbox, name: str, source: str) -> Iterator[None]:
    """Its environment has one more module."""
    usual = sandbox.environment
    path = usual.path.with_name(f"{usual.path.name}-{name}")
    shutil.copytree(usual.path, path, symlinks=True)
    packages = path / usual.site_packages.relative_to(usual.path)
    for folder in (path, packages):
        folder.chmod(0o755)
    (packages / f"{name}.py").write_text(source)
    interpreter = path / usual.interpreter.relative_to(usual.path)
    sandbox.environment = usual.model_copy(
        update={"id": name, "path": path, "site_packages": packages, "interpreter": interpreter}
    )
    try:
        yield
    finally:
        sandbox.environment = usual
        shutil.rmtree(path)


def test_groups_are_not_named_to_a_run(both: tuple[Sandbox, Sandbox]) -> None:
    """Its own is the root of what it sees; where it lies, and that there are others, is the host's."""
    source = "def f():\n    return sorted({line.rstrip().split(':', 2)[2] for line in open('/proc/self/cgroup')})\n"
    seen: list[Any] = [sandbox.run(source).result for sandbox in both]
    assert seen[0] == seen[1]
    assert "stepflow" not in str(seen)


def test_functions_that_a_package_wants_called_at_a_fork_are(make: Make) -> None:
    """It may have to make something of its own anew: in each process, and before the tool runs."""
    sandbox = make(eager=True, spares=1)
    hooked = "import os\ncalls = []\nos.register_at_fork(after_in_child=lambda: calls.append(os.getpid()))\n"
    source = "import hooked\ndef f():\n    return hooked.calls\n"
    with having(sandbox, "hooked", hooked):
        outcomes = [sandbox.run(source, imports=(("hooked", ()),)) for _ in range(3)]
    assert [(outcome.result, outcome.warm) for outcome in outcomes] == [([2], True)] * 3


def test_what_waits_has_the_pages_that_a_run_writes_to(make: Make) -> None:
    """Where the made-up run could be looked at: many more are its own than where a package has ended that."""
    own_kb = {}
    for name, ending in (("looked_at", "pass"), ("ended", "os._exit(0)")):
        sandbox = make(eager=True, spares=1)
        with having(sandbox, name, f"import atexit, os\natexit.register(lambda: exec({ending!r}))\n"):
            assert sandbox.run(f"import os\ndef f():\n    return {name!r}\n", imports=((name, ()),)).warm
            [stock] = sandbox.stocks
            [waits] = stock._spares
            rollup = Path(f"/proc/{waits.tool.pid}/smaps_rollup").read_text().splitlines()
            own_kb[name] = next(int(line.split()[1]) for line in rollup if line.startswith("Private_Dirty:"))
    assert own_kb["looked_at"] > 1.5 * own_kb["ended"]


@pytest.mark.parametrize(
    "ending",
    [
        "print('again')",
        "1 / 0",
        "os._exit(0)",
        "os.kill(os.getpid(), 9)",
        "os.kill(-1, 9)",
        "time.sleep(3600)",
        "signal.alarm(0), signal.signal(14, signal.SIG_IGN), time.sleep(3600)",
        "os.fork() or time.sleep(3600)",
        "[os.write(file, b'x' * 99) for file in range(3, 20) if os.path.exists(f'/proc/self/fd/{file}')]",
        "open('/work/left', 'w').write('x')",
    ],
)
def test_what_a_package_does_at_the_end_of_a_process_is_of_that_run_alone(make: Make, ending: str) -> None:
    """Also of the one that is made up, to see what runs write to, whatever comes of it."""
    sandbox = make(eager=True, spares=1)
    # In a run of a tool there is its source.
    ends = (
        "import atexit, os, signal, time\n"
        f"def end():\n    if not os.path.exists('/work/tool.py'):\n        {ending}\n"
        "atexit.register(end)\n"
    )
    source = "import ends, os\ndef f():\n    return sorted(os.listdir('/work'))\n"
    with having(sandbox, "ends", ends):
        outcomes = [sandbox.run(source, imports=(("ends", ()),)) for _ in range(3)]
        [zygote] = sandbox.zygotes
        inside = [pid for pid in children_of(zygote) for pid in children_of(pid)]
        waits = sum(stock.waiting for stock in sandbox.stocks)
    assert [(one.result, one.stdout, one.warm) for one in outcomes] == [(["output", "tool.py"], "", True)] * 3
    assert len(inside) == waits


@pytest.mark.parametrize(
    ("source", "limits", "status"),
    [
        ("def f():\n    while True: pass\n", {"timeout_s": 0.3}, "timed_out"),
        ("def f():\n    return len(bytearray(100 << 20))\n", {"memory_mib": 64}, "memory_exceeded"),
        ("def f():\n    return len(bytearray(100 << 20))\n", {"memory_mib": 256}, "succeeded"),
        ("def f():\n    print('x' * 100_000)\n", {"output_bytes": 1000}, "output_exceeded"),
    ],
)
def test_limits_travel_with_the_run(both: tuple[Sandbox, Sandbox], source: str, limits: Any, status: str) -> None:
    """One zygote serves runs of different limits, each of which holds."""
    outcome = both[1].run(source, limits=Limits(**{"timeout_s": DEADLINE_S, **limits}))
    assert (outcome.status, outcome.warm) == (status, True)


def test_the_second_call_starts_what_the_third_finds(make: Make) -> None:
    """A tool that is called once costs nothing more; one that is called again soon has a process waiting."""
    sandbox = make(window_s=60.0)
    assert (sandbox.run("def f():\n    return 1\n").warm, sandbox.zygotes) == (False, [])
    assert sandbox.run("def f():\n    return 1\n").warm is False
    sandbox.call(_until(lambda: sandbox.zygotes != []))
    assert sandbox.run("def f():\n    return 1\n").warm is True


def test_a_dead_zygote_costs_no_run(make: Make) -> None:
    """The next run goes cold, a new zygote is started, and both are counted."""
    sandbox = make(eager=True)
    assert sandbox.run("def f():\n    return 1\n").warm is True
    os.kill(sandbox.zygotes[0], signal.SIGKILL)
    sandbox.call(_until(lambda: sandbox.zygotes == []))
    outcomes = [sandbox.run("def f():\n    return 1\n") for _ in range(2)]
    assert [outcome.result for outcome in outcomes] == [1, 1]
    assert sandbox.sandbox.counts["zygotes_died"] >= 1
    sandbox.call(_until(lambda: sandbox.zygotes != []))
    assert sandbox.run("def f():\n    return 1\n").warm is True


def test_a_run_whose_zygote_dies_is_a_fault_of_ours(make: Make) -> None:
    """It had begun, so it is not silently run again."""
    sandbox = make(eager=True)
    sandbox.run("def f():\n    return 1\n")

    async def killed() -> None:
        run = sandbox.tool("import time\ndef f():\n    print('begun', flush=True)\n    time.sleep(60)\n")
        task = asyncio.create_task(sandbox.ran(run))
        await _until(lambda: sandbox.sandbox.printed(run.execution_id)[0] == b"begun\n")
        os.kill(sandbox.zygotes[0], signal.SIGKILL)
        await task

    with pytest.raises(InternalError, match="forked from has ended"):
        sandbox.call(killed())


@pytest.mark.parametrize(
    "fields",
    [
        {"env": {"PATH": "/elsewhere"}},
        {"env": {"PYTHONHASHSEED": "1"}},
        {"files": {"json.py": b"dumps = 'own'"}, "imports": (("json", ()),)},
        {"security": SecuritySettings(enable_file_access=False)},
    ],
    ids=["variable", "interpreter's", "shadowed module", "no files"],
)
def test_what_an_import_ahead_could_change_runs_cold(make: Make, fields: Any) -> None:
    """A run that what was imported before it could tell from a new process gets a new process."""
    sandbox = make(eager=True)
    assert sandbox.run("import json\ndef f():\n    return 1\n", imports=(("json", ()),)).warm is True
    source = "import json\ndef f():\n    return getattr(json, 'dumps') == 'own'\n"
    outcome = sandbox.run(source, **fields)
    assert (outcome.warm, outcome.result) == (False, "files" in fields)


ORPHANED = """
import os, time
def f(seconds):
    if os.fork() == 0:
        if os.fork() == 0:
            until = time.process_time() + seconds
            while time.process_time() < until:
                pass
        os._exit(0)
    os.wait()
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            os.kill(-1, 0)
        except ProcessLookupError:
            return "alone"
        time.sleep(0.01)
"""


def test_orphans_are_reaped_and_counted(make: Make) -> None:
    """One that ends before the tool does neither keeps its run from ending nor runs for nothing."""
    sandbox = make(eager=True)
    outcome = sandbox.run(ORPHANED, arguments={"seconds": 0.2}, limits=Limits(timeout_s=60))
    assert (outcome.warm, outcome.result) == (True, "alone")
    assert outcome.cpu_time_ms is not None
    assert outcome.cpu_time_ms >= 150


def test_what_is_left_behind_ends_with_its_run(make: Make) -> None:
    """A process that goes on is counted too, and is gone."""
    sandbox = make(eager=True)
    source = "import os, time\ndef f():\n    if os.fork() == 0:\n        time.sleep(600)\n    return 1\n"
    outcome = sandbox.run(source)
    assert (outcome.warm, outcome.result, outcome.return_code) == (True, 1, 0)


def test_many_at_a_time(make: Make) -> None:
    """More callers than waiting processes each get their own answer."""
    sandbox = make(eager=True, spares=3)
    sandbox.run("def f():\n    return 1\n")

    async def all_of_them() -> list[SandboxOutcome]:
        source = "import os, time\ndef f(n):\n    time.sleep(0.05)\n    return n\n"
        runs = [sandbox.tool(source, arguments={"n": n}) for n in range(12)]
        return await asyncio.gather(*(sandbox.ran(run) for run in runs))

    outcomes = sandbox.call(all_of_them())
    assert [outcome.result for outcome in outcomes] == list(range(12))
    assert all(outcome.warm for outcome in outcomes)


def test_under_load_all_are_taken_by_who_waits_for_them(make: Make) -> None:
    """Whatever comes first of what a process says and what it rings: no run falls back to a cold start."""
    sandbox = make(eager=True, spares=3)
    source = "def f():\n    return 1\n"

    async def one_after_the_other() -> list[SandboxOutcome]:
        return [await sandbox.ran(sandbox.tool(source)) for _ in range(15)]

    async def all_of_them() -> list[list[SandboxOutcome]]:
        return await asyncio.gather(*(one_after_the_other() for _ in range(8)))

    outcomes = [outcome for some in sandbox.call(all_of_them()) for outcome in some]
    assert all((outcome.warm, outcome.result) == (True, 1) for outcome in outcomes)
    assert sandbox.sandbox.counts["fell_back"] == 0


def test_nothing_is_left(make: Make) -> None:
    """A closed sandbox leaves no process, no descriptor and no control group."""
    sandbox = make(eager=True, spares=2)
    sandbox.call(sandbox.sandbox.isolation())
    before = _left(sandbox)
    for _ in range(20):
        assert sandbox.run("def f():\n    return 1\n").warm is True
    sandbox.call(sandbox.sandbox.close())
    assert _left(sandbox) == before


def test_a_used_process_is_cleared_away_a_little_later(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever ran something records its end first; should the loop end before, it is cleared away all the same."""
    sandbox = make(eager=True, spares=1)
    run = sandbox.tool("def f():\n    return 1\n")
    for _ in range(3):  # by the third, its source was compiled
        sandbox.call(sandbox.ran(run))
    [stock] = sandbox.stocks
    [spare] = stock._spares
    assert spare.group is not None
    folders = list(spare.group.folders.values())
    monkeypatch.setattr("stepflow_python.sandbox.warm.stock.GRACE_S", DEADLINE_S)

    async def scenario() -> None:
        assert (await sandbox.sandbox.run(run)).warm
        await asyncio.sleep(0)
        assert (spare.discarded, all(folder.is_dir() for folder in folders)) == (False, True)
        clearing = set(sandbox.sandbox._aside._tasks)
        for task in clearing:
            task.cancel()
        await asyncio.wait(clearing)

    sandbox.call(scenario())
    assert (spare.discarded, any(folder.exists() for folder in folders)) == (True, False)


def test_nothing_is_left_of_one_that_could_not_be_made(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its processes are there and in their group by then; they end, and the group goes."""
    sandbox = make(eager=True, spares=1)
    source = "def f():\n    return 1\n"
    sandbox.call(sandbox.sandbox.isolation())
    of_others = _left(sandbox)[0]
    assert sandbox.run(source).warm

    async def never(_tool: object) -> Tool:
        raise SpareFailedError("not today")

    with monkeypatch.context() as broken:
        broken.setattr(zygote, "prepared", never)
        assert sandbox.run(source).warm
    [stock] = sandbox.stocks
    assert (stock.waiting, stock.problem) == (0, "a waiting process could not be made: not today")
    assert stock.zygote is not None
    assert stock.zygote.box.group is not None
    assert _left(sandbox)[0] - of_others == set(stock.zygote.box.group.folders.values())
    assert sandbox.run(source).warm


def test_idle_ones_are_ended(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """What nobody calls for its time is ended, and started again when it is called again."""
    monkeypatch.setattr("stepflow_python.sandbox.warm.pool.UPKEEP_S", 0.02)
    sandbox = make(eager=True, idle_s=0.2)
    assert sandbox.run("def f():\n    return 1\n").warm is True
    sandbox.call(_until(lambda: sandbox.zygotes == []))
    assert sandbox.run("def f():\n    return 1\n").warm is True


def test_a_worn_zygote_is_replaced(make: Make) -> None:
    """After its number of forks another one takes its place."""
    sandbox = make(eager=True, forks=5, spares=1)
    sandbox.run("def f():\n    return 1\n")
    first = sandbox.zygotes
    for _ in range(8):
        assert sandbox.run("def f():\n    return 1\n").result == 1
    sandbox.call(_until(lambda: sandbox.zygotes not in ([], first)))


def test_a_zygote_is_replaced_under_load_and_nothing_falls_back(make: Make) -> None:
    """One that just forks for a run is not ended under it."""
    sandbox = make(eager=True, forks=3, spares=1)
    sandbox.run("def f():\n    return 1\n")

    async def load() -> list[SandboxOutcome]:
        run = sandbox.tool("def f():\n    return 1\n")

        async def caller(number: int) -> list[SandboxOutcome]:
            return [
                await sandbox.sandbox.run(replace(run, execution_id=f"{number}-{index}"))
                for index in range(REPLACING_CALLS)
            ]

        return [outcome for one in await asyncio.gather(*map(caller, range(4))) for outcome in one]

    outcomes = sandbox.call(load())
    assert {(outcome.result, outcome.warm) for outcome in outcomes} == {(1, True)}
    counts = sandbox.sandbox.counts
    assert (counts["fell_back"], counts["zygotes_died"]) == (0, 0)
    assert counts["zygotes_started"] > REPLACED_AT_LEAST


def test_demand_remembers_the_last_period(monkeypatch: pytest.MonkeyPatch) -> None:
    """The most callers at a time count for this period and the next."""
    now = [100.0]
    monkeypatch.setattr("stepflow_python.sandbox.warm.demand.time.monotonic", lambda: now[0])
    demand = Demand(_since=now[0])
    with demand, demand:
        assert demand.peak == 2
    now[0] += 6
    assert demand.peak == 2
    now[0] += 6
    assert demand.peak == 0


def _filters_of(pid: int) -> int:
    """How many filters of system calls hold a process."""
    lines = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    if "Seccomp_filters" not in lines:
        pytest.skip("Linux before 5.9 does not count filters")
    return int(lines["Seccomp_filters"])


async def _until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not holds():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.01)


def _left(sandbox: Sandbox) -> tuple[set[Path], list[str], int]:
    """Control groups, child processes and open descriptors."""
    groups = sandbox.sandbox._host.groups
    folders = (
        {path for base in groups._bases.values() for path in base.glob(f"*-{os.getpid()}-*")}
        if groups is not None
        else set()
    )
    children: list[str] = []
    for task in Path("/proc/self/task").iterdir():
        with contextlib.suppress(FileNotFoundError):  # a thread that was joined may be on its way out still
            children += (task / "children").read_text().split()
    return folders, sorted(children), len(list(Path("/proc/self/fd").iterdir()))
