"""The example project, installed beside us as a stranger's package is."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.cli import Stepflow

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples" / "extension"


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the example's distribution, to be put on the path."""
    folder = tmp_path_factory.mktemp("installed")
    uv = Path(sys.executable).with_name("uv")
    argv = [uv, "pip", "install", "--quiet", "--python", sys.executable, "--target", folder]
    subprocess.run([*argv, "--no-deps", "--no-build-isolation", EXAMPLE], check=True, timeout=60)
    return folder


@pytest.fixture
def beside(installed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stepflow:
    """The command where the example is installed."""
    monkeypatch.setenv("PYTHONPATH", str(installed))
    return Stepflow(home=tmp_path / "home")


def test_it_is_discovered(beside: Stepflow) -> None:
    """What a package's entry point names is listed with its functions, among ours."""
    listed = {one["name"]: one for one in beside("extension", "list", "--json").json}
    assert listed.keys() == {"http", "kv", "llm", "words"}
    assert listed["words"] == {
        "name": "words",
        "origin": "stepflow-words 1.0.0",
        "available": True,
        "functions": ["count", "most_common"],
        "reason": None,
    }
    assert "stepflow-words 1.0.0" in beside("extension", "list").stdout


def test_a_stub_is_printed(beside: Stepflow) -> None:
    """Editors get the functions; a name that nobody brings is refused."""
    done = beside("extension", "stub", "words")
    assert "def most_common(text: str, n: int = 3) -> list[tuple[str, int]]:" in done.stdout
    assert "SHORTEST: int" in done.stdout
    missing = beside("extension", "stub", "telepathy")
    assert (missing.code, missing.stdout) == (2, "")
    assert "there is no 'telepathy'; there are: http, kv, llm, words" in missing.stderr


def test_a_package_that_fails_is_listed_with_its_reason(
    beside: Stepflow, tmp_path: Path, installed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that cannot be imported, and one that takes a name of ours, are disabled, and nothing else is."""
    metadata = tmp_path / "more" / "acme-1.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: acme\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(
        "[stepflow_python.extensions]\nbroken = no_such_module:module\nkv = stepflow_words:module\n"
    )
    monkeypatch.setenv("PYTHONPATH", f"{metadata.parent}:{installed}")
    listed = [
        (one["name"], one["origin"], one["available"], one["reason"])
        for one in beside("extension", "list", "--json").json
    ]
    assert ("broken", "acme 1.0", False, "ModuleNotFoundError: No module named 'no_such_module'") in listed
    assert ("words", "stepflow-words 1.0.0", True, None) in listed
    [ours, theirs] = [one for one in listed if one[0] == "kv"]
    assert ours[2]
    assert theirs[1:3] == ("acme 1.0", False)
    assert "the name 'kv' is taken by stepflow-python" in theirs[3]


def test_an_extension_s_name_is_no_distribution_s(beside: Stepflow, tmp_path: Path) -> None:
    """Installed but not granted, its import fails inside, in Python's own words; nothing is looked for to install."""
    tool = tmp_path / "tool.py"
    tool.write_text("import words\n")
    result = beside("run", str(tool), "--json").json
    assert result["status"] == "failed"
    assert result["exceptions"][0]["message"] == "No module named 'words'"


def test_the_settings_bound_the_list(beside: Stepflow) -> None:
    """What the worker does not lend is listed as such."""
    bounded = Stepflow(home=beside.home, settings={"EXTENSIONS": "words"})
    listed = {one["name"]: one["reason"] for one in bounded("extension", "list", "--json").json}
    assert listed["words"] is None
    assert listed["kv"] == "'kv' is not among those that this worker lends (words)"


def test_an_unusable_file_is_named(beside: Stepflow, tmp_path: Path) -> None:
    """The operator's mistake is an error with the file's name, where extensions are used."""
    path = tmp_path / "extensions.toml"
    path.write_text("[llm")
    done = Stepflow(home=beside.home, settings={"EXTENSION_CONFIG": str(path)})("extension", "list")
    assert done.code == 2
    assert f"{path} is no TOML file" in done.stderr


def test_the_demonstration(beside: Stepflow) -> None:
    """A conversation of two rounds through `llm`, judged by `words`, without the key anywhere."""
    done = subprocess.run(
        [sys.executable, EXAMPLE / "demo.py"],
        env={**os.environ, "STEPFLOW_PYTHON_VIRTUAL_ENV_PATH": str(beside.home / "environments")},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    [answer] = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert len(answer["answers"]) == 2
    assert answer["words"] > 0
    assert done.stdout.count("called llm.chat") == 2
    assert 'called words.most_common {"n": 2}: ok' in done.stdout
    assert "sk-only-the-worker-knows" not in done.stdout + done.stderr
