"""Runs in boxes of this host, without the job around them."""

import asyncio
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.boxes import STRICT, Boxed, run_boxed

from stepflow_python.environments.cache import EnvironmentCache
from stepflow_python.model.environment import Environment
from stepflow_python.model.limits import Limits
from stepflow_python.model.result import SandboxOutcome
from stepflow_python.model.security import IsolationTier, SecuritySettings
from stepflow_python.ports import EnvironmentSpec, SandboxRun
from stepflow_python.sandbox.host import SandboxConfig


@pytest.fixture(scope="session")
def environments(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the environments that the runs here share."""
    return tmp_path_factory.mktemp("environments")


@pytest.fixture(scope="session")
def environment(environments: Path) -> Environment:
    """An environment without packages."""
    return asyncio.run(EnvironmentCache(environments, environ=os.environ).ensure(EnvironmentSpec()))


@pytest.fixture(scope="session")
def config(tmp_path_factory: pytest.TempPathFactory, environments: Path) -> SandboxConfig:
    """A sandbox of the best tier, for the runs here."""
    return SandboxConfig(
        folder=tmp_path_factory.mktemp("sandbox"),
        environments=environments,
        min_isolation=IsolationTier.NAMESPACES,
        enabled=True,
        uid=65534,
        cgroup="",
        search_path=os.environ.get("PATH"),
    )


@pytest.fixture
def boxed(config: SandboxConfig, environment: Environment) -> Boxed:
    """Runs the function `f` of a source in a box."""

    def run(source: str, security: SecuritySettings = STRICT, **fields: Any) -> SandboxOutcome:
        made = SandboxRun(
            execution_id="test",
            environment=environment,
            source=source,
            module_name="tool",
            function="f",
            limits=fields.pop("limits", Limits(timeout_s=20)),
            security=security,
        )
        return run_boxed(config, replace(made, **fields))

    return run
