"""Runs that are lent nothing pay nothing for extensions."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from stepflow_python.bootstrap.lending import LentLater
from stepflow_python.config import Settings
from stepflow_python.errors import ConfigurationError
from stepflow_python.store.ledger import SqlLedger

OPEN = """
import asyncio, json, os, sys
from stepflow_python.bootstrap.runtime import open_runtime
from stepflow_python.config import Settings

async def main():
    async with open_runtime(Settings.from_environ({"STEPFLOW_PYTHON_HOME": sys.argv[1]}), environ=os.environ):
        pass

asyncio.run(main())
print(json.dumps([name for name in sys.modules if name.startswith("stepflow_python.extensions")]))
"""


def test_nothing_of_them_is_loaded_at_start(tmp_path: Path) -> None:
    """A runtime opens and closes without any module of theirs, or of what is installed."""
    done = subprocess.run(
        [sys.executable, "-c", OPEN, tmp_path], capture_output=True, text=True, check=True, timeout=60
    )
    assert json.loads(done.stdout) == []


def test_a_mistake_in_the_operator_s_file_shows_at_start(tmp_path: Path) -> None:
    """It is not found out by the first tool that asks."""
    (tmp_path / "extensions.toml").write_text("llm = 5")
    settings = Settings.from_environ({"STEPFLOW_PYTHON_HOME": str(tmp_path)})
    with pytest.raises(ConfigurationError, match=r"extensions\.toml: llm"):
        LentLater(settings, {}, SqlLedger.__new__(SqlLedger))
