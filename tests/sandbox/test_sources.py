"""A source that is called again is compiled once, by its own interpreter, and runs as it did before."""

import asyncio
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from stepflow_python.model.environment import Environment
from stepflow_python.model.limits import Limits
from stepflow_python.model.result import SandboxOutcome
from stepflow_python.model.security import SecuritySettings
from stepflow_python.ports import SandboxRun
from stepflow_python.sandbox import sources as module
from stepflow_python.sandbox.host import SandboxConfig
from stepflow_python.sandbox.service import HostSandbox
from stepflow_python.sandbox.sources import Source, Sources

SAME = ("status", "result", "stdout", "stderr", "return_code", "exceptions", "error")
FAILING = "import sys\n\n\ndef f():\n    print('said', file=sys.stderr)\n    raise ValueError('no')\n"


class Cold:
    """A sandbox in which nothing waits, and what is known of its sources."""

    def __init__(self, config: SandboxConfig, environment: Environment) -> None:
        self.runner, self.sandbox = asyncio.Runner(), HostSandbox(config)
        self.environment = environment

    def tool(self, source: str) -> SandboxRun:
        """The run of the function `f` of a source."""
        return SandboxRun(
            execution_id="one",
            environment=self.environment,
            source=source,
            module_name="tool",
            function="f",
            limits=Limits(timeout_s=20.0),
            security=SecuritySettings(),
            variables={"PATH": "/usr/bin:/bin"},
        )

    def run(self, run: SandboxRun) -> SandboxOutcome:
        """Run it, and wait for what is done beside it."""

        async def within() -> SandboxOutcome:
            outcome = await self.sandbox.run(run)
            await self.sandbox._aside.settle()
            return outcome

        return self.runner.run(within())

    @property
    def known(self) -> list[Source]:
        """The sources, the last one last."""
        return list(self.sandbox._sources._known.values())

    def close(self) -> None:
        """End it."""
        self.runner.run(self.sandbox.close())
        self.runner.close()


@pytest.fixture
def cold(config: SandboxConfig, environment: Environment) -> Iterator[Cold]:
    """A sandbox in which nothing waits."""
    made = Cold(config, environment)
    yield made
    made.close()


@pytest.mark.parametrize("source", [FAILING, "def f():\n    return __name__, __file__\n"])
def test_a_compiled_source_runs_as_it_did(cold: Cold, source: str) -> None:
    """The same result, streams and line numbers; it is compiled after the second call, for the third."""
    first, second = cold.run(cold.tool(source)), cold.known[0].code
    outcomes = [first, cold.run(cold.tool(source))]
    assert (second, cold.known[0].code is None) == (None, False)
    outcomes.append(cold.run(cold.tool(source)))
    seen = [{name: getattr(outcome, name) for name in SAME} for outcome in outcomes]
    assert seen[1:] == seen[:1] * 2
    assert outcomes[0].isolation is not None


def test_what_runs_is_what_was_compiled(cold: Cold) -> None:
    """Of the source itself nothing is read any more, but for tracebacks."""
    run = cold.tool("def f():\n    return 1\n")
    for _ in range(2):
        cold.run(run)
    other = cold.tool("def f():\n    return 2\n")
    for _ in range(2):
        cold.run(other)
    cold.known[0].code = cold.known[1].code
    assert cold.run(run).result == 2


def test_nothing_of_a_source_runs_when_it_is_compiled(cold: Cold) -> None:
    """What it would print or do is not done a third time."""
    source = "print('ran')\ndef f():\n    return 1\n"
    assert [cold.run(cold.tool(source)).stdout for _ in range(2)] == ["ran\n"] * 2
    assert cold.known[0].code is not None


def test_what_cannot_be_compiled_stays_as_it_is(cold: Cold) -> None:
    """Each call says so; it is tried once."""
    for _ in range(3):
        outcome = cold.run(cold.tool("def f(:\n"))
        assert outcome.error is not None
        assert "invalid syntax" in outcome.error.message
    [source] = cold.known
    assert (source.asked, source.code) == (True, None)


def test_calls_far_apart_are_not_compiled_for(cold: Cold, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor is one that is forgotten meanwhile."""
    known, run = Sources(within_s=0.0), cold.tool("x = 1")
    assert not known.note(run).wanted
    assert not known.note(run).wanted
    known = Sources(within_s=60.0)
    monkeypatch.setattr(module, "MOST_TOOLS", 1)
    known.note(run)
    known.note(replace(run, module_name="other"))
    assert not known.note(run).wanted
    assert known.note(run).wanted


def test_a_loop_may_end_while_it_is_compiled(config: SandboxConfig, cold: Cold) -> None:
    """Whoever closes the sandbox in another one does not wait for it, and nothing of its box is left."""
    run, sandbox = cold.tool("def f():\n    return 1\n"), HostSandbox(config)
    asyncio.run(sandbox.isolation())
    before = _groups(sandbox)
    for _ in range(2):
        assert asyncio.run(sandbox.run(run)).result == 1
    assert _groups(sandbox) <= before
    asyncio.run(asyncio.wait_for(sandbox.close(), 20))


def _groups(sandbox: HostSandbox) -> set[Path]:
    """Control groups of this process."""
    bases = {} if sandbox._host.groups is None else sandbox._host.groups._bases
    return {path for base in bases.values() for path in base.glob(f"*-{os.getpid()}-*")}
