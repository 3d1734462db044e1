import asyncio
from collections.abc import Iterator
from typing import cast

import pytest

from stepflow_python.bootstrap.loop import LoopThread
from stepflow_python.errors import ParseError
from stepflow_python.messages import Delivered
from stepflow_python.model.environment import Environment
from stepflow_python.model.result import ExecutionResult, Status
from stepflow_python.ports import Environments, EnvironmentSpec
from stepflow_python.worker.service import JobService


class FakeRuntime:
    """A runtime that records what it is asked."""

    def __init__(self) -> None:
        self.environments = cast("Environments", self)
        self.spec: EnvironmentSpec | None = None

    async def execute_delivery(
        self,
        payload: object,
        previous: object = None,
        delivery: Delivered | None = None,  # noqa: ARG002 - the contract
    ) -> ExecutionResult:
        """Answer with the payload and predecessor."""
        await asyncio.sleep(0)
        return ExecutionResult(execution_id="e", status=Status.SUCCEEDED, result=[str(payload), str(previous)])

    async def cancel(self, execution_id: str, *, running: bool) -> None:
        """Nothing to stop."""

    async def drop(self, payload: object) -> None:
        """Nothing to record."""

    async def hand_back(self) -> None:
        """Nothing to hand back."""

    async def cleanup(self, *, older_than_days: float) -> dict[str, int]:
        """Answer with the days."""
        return {"executions": int(older_than_days)}

    async def ensure(self, spec: EnvironmentSpec) -> Environment:
        """Remember what was asked for."""
        self.spec = spec
        return cast("Environment", type("E", (), {"id": "abc"})())


@pytest.fixture
def loop() -> Iterator[LoopThread]:
    """A running loop."""
    thread = LoopThread()
    yield thread
    thread.close()


def test_a_result_is_json(loop: LoopThread) -> None:
    """The reply is what any program can read."""
    reply = JobService(FakeRuntime(), loop).execute({"code": "1"}, [2])
    assert ExecutionResult.model_validate(reply).result == ["{'code': '1'}", "[2]"]
    assert reply["status"] == "succeeded"


def test_an_environment_is_asked_for(loop: LoopThread) -> None:
    """Dependencies and version reach the environments; the id comes back."""
    runtime = FakeRuntime()
    reply = JobService(runtime, loop).provision({"dependencies": ["six"], "python_version": "3.12"})
    assert reply == {"environment_id": "abc"}
    assert runtime.spec == EnvironmentSpec(requirements=("six",), python="3.12")


def test_cleanup_takes_days(loop: LoopThread) -> None:
    """The counts come back."""
    assert JobService(FakeRuntime(), loop).cleanup({"older_than_days": 3}) == {"executions": 3}


@pytest.mark.parametrize("payload", [None, [], {"older_than_days": -1}, {"older_than_days": "x"}, {"days": 1}])
def test_an_unusable_payload_is_named(loop: LoopThread, payload: object) -> None:
    """The error says which field."""
    with pytest.raises(ParseError, match="payload"):
        JobService(FakeRuntime(), loop).cleanup(payload)
