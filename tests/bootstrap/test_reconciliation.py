"""Folders and record of environments, whichever was lost."""

import asyncio
import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from stepflow_python.bootstrap.runtime import Runtime, open_runtime
from stepflow_python.config import Settings
from stepflow_python.model.environment import Environment
from stepflow_python.ports import EnvironmentSpec


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Of an empty home."""
    return Settings(home=tmp_path / "home")


async def _make(runtime: Runtime) -> Environment:
    return await runtime.environments.ensure(EnvironmentSpec(requirements=("six",)))


def _opened(settings: Settings) -> Environment | None:
    """A process that makes or finds the environment."""

    async def main() -> Environment:
        async with open_runtime(settings, environ=os.environ) as runtime:
            return await _make(runtime)

    return asyncio.run(main())


def _looked(settings: Settings) -> None:
    """A process that does nothing."""

    async def main() -> None:
        async with open_runtime(settings, environ=os.environ):
            pass

    asyncio.run(main())


def _rows(settings: Settings) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """Environments with their states, and packages with their sources."""
    with closing(sqlite3.connect(settings.home / "stepflow.db")) as database:
        environments = database.execute("SELECT id, status FROM python_environments ORDER BY id").fetchall()
        packages = database.execute("SELECT package_name, source FROM python_dependencies").fetchall()
    return environments, packages


def test_a_lost_record_is_written_anew(settings: Settings) -> None:
    """The folders are there: their rows and their packages' come back at the next start."""
    environment = _opened(settings)
    assert environment is not None
    before = _rows(settings)
    assert before == ([(environment.id, "ready")], [("six", "pypi")])
    for file in settings.home.glob("stepflow.db*"):
        file.unlink()
    _looked(settings)
    assert _rows(settings) == before


def test_a_lost_folder_is_retired_and_made_again(settings: Settings) -> None:
    """The record is there: it says that the folder is gone, and `ready` again once it is rebuilt."""
    environment = _opened(settings)
    assert environment is not None
    shutil.rmtree(settings.environments_path)
    _looked(settings)
    assert _rows(settings)[0] == [(environment.id, "removed")]
    assert _opened(settings) == environment
    assert _rows(settings)[0] == [(environment.id, "ready")]
