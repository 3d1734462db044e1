"""The wheel, installed where there is no checkout: it works, and brings its migrations and fixtures."""

import json
import os
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.cases import FIXTURES
from support.cli import Stepflow
from uv import find_uv_bin

CHECKOUT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class Installed:
    """A virtual environment that holds the wheel, and a home for it; commands run in a folder without any sources."""

    venv: Path
    home: Path
    environments: Path

    def __call__(self, *words: str, timeout_s: float = 90) -> "subprocess.CompletedProcess[str]":
        """Run `stepflow WORDS`."""
        variables = {
            "PATH": f"{self.venv / 'bin'}:{os.environ['PATH']}",
            "HOME": str(self.home.parent),
            "STEPFLOW_PYTHON_HOME": str(self.home),
            "STEPFLOW_PYTHON_VIRTUAL_ENV_PATH": str(self.environments),
        }
        command = [str(self.venv / "bin" / "stepflow"), *words]
        return subprocess.run(
            command, cwd=self.venv, env=variables, capture_output=True, text=True, timeout=timeout_s, check=False
        )


def uv(*words: str) -> None:
    """Run the installer; its words if it fails."""
    done = subprocess.run([find_uv_bin(), *words], cwd=CHECKOUT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout."""
    folder = tmp_path_factory.mktemp("dist")
    uv("build", "--wheel", "--no-build-isolation", "--python", sys.executable, "--out-dir", str(folder), str(CHECKOUT))
    [built] = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, stepflow: Stepflow, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """The wheel with its locked dependencies in a fresh environment."""
    folder = tmp_path_factory.mktemp("installed")
    venv = folder / "venv"
    locked = str(CHECKOUT / "requirements" / "runtime.txt")
    uv("venv", "--python", sys.executable, str(venv))
    uv("pip", "install", "--python", str(venv), "--constraints", locked, str(wheel))
    return Installed(venv=venv, home=folder / "home", environments=stepflow.home / "environments")


def test_what_it_holds(wheel: Path) -> None:
    """Migrations, fixtures and the mark of a typed package; no tests, no compiled leftovers."""
    names = set(zipfile.ZipFile(wheel).namelist())
    for folder in (CHECKOUT / "migrations", FIXTURES):
        files = {path.relative_to(CHECKOUT) for path in folder.rglob("*") if path.is_file()}
        wanted = {f"stepflow_python/{path}" for path in files if "__pycache__" not in path.parts}
        assert wanted
        assert wanted <= names
    assert "stepflow_python/py.typed" in names
    strange = [name for name in names if "__pycache__" in name or not name.startswith("stepflow_python")]
    assert strange == []


def test_a_tool_runs(installed: Installed, tmp_path: Path) -> None:
    """From nothing: the record is made by the wheel's own migrations, and the tool runs in its box."""
    path = tmp_path / "tool.py"
    path.write_text("def double(number: int) -> int:\n    return number * 2\n")
    done = installed("run", str(path), "--function", "double", "--arg", "number=21", "--json")
    result = json.loads(done.stdout)
    assert (done.returncode, result["status"], result["result"]) == (0, "succeeded", 42), done.stderr
    assert result["isolation"] == "namespaces"
    listed = json.loads(installed("history", "--json").stdout)["items"]
    assert [item["execution_id"] for item in listed] == [result["execution_id"]]


def test_it_is_the_wheel_that_runs(installed: Installed) -> None:
    """Nothing of the checkout is imported."""
    program = "import stepflow_python; print(stepflow_python.__file__)"
    command = [str(installed.venv / "bin" / "python"), "-I", "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert Path(done.stdout.strip()).is_relative_to(installed.venv)


def test_the_schema_is_the_models(installed: Installed) -> None:
    """`stepflow db upgrade` and `db check` find the migrations."""
    upgraded = installed("db", "upgrade")
    assert upgraded.returncode == 0, upgraded.stderr
    checked = installed("db", "check")
    assert checked.returncode == 0, checked.stderr


def test_doctor(installed: Installed) -> None:
    """It finds a launcher, an installer and an interpreter without a checkout."""
    done = installed("doctor", "--json")
    assert done.returncode == 0, done.stderr
    assert "namespaces" in done.stdout
    assert str(CHECKOUT) not in json.dumps(json.loads(done.stdout)["settings"])


def test_the_demonstration_finds_its_fixtures(installed: Installed) -> None:
    """The folder that `stepflow demo` reads is the wheel's, and whole."""
    program = "from stepflow_python.cli.demo import _fixtures; print(_fixtures())"
    command = [str(installed.venv / "bin" / "python"), "-I", "-c", program]
    folder = Path(subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip())
    assert folder.is_relative_to(installed.venv)
    for name in ("cases.json", "workflow.json"):
        assert (folder / name).read_bytes() == (FIXTURES / name).read_bytes()
