"""A package's build is a stranger's program: whatever it tries, it reaches nothing but its own box."""

import json
import socket
import tarfile
from pathlib import Path

import pytest
from support.cli import Stepflow

PROJECT = '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
KNOWN = "what-only-the-worker-knows"
HOSTILE = """
import json, os, socket, time, zipfile

def tried(what):
    try:
        return what()
    except Exception:
        return None

def secret_in(path):
    with open(path, "rb") as file:
        return KNOWN.encode() in file.read() or None

def write(path):
    with open(path, "w") as file:
        file.write("was here")
    return path

def connect():
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(chr(0) + ADDRESS)
    return ADDRESS

def resolve():
    return socket.create_connection(("1.1.1.1", 53), timeout=2).getpeername()

def stay():
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            time.sleep(600)
        os._exit(0)

def build_wheel(folder, config_settings=None, metadata_directory=None):
    found = {
        "ran": True,
        "variables": KNOWN in str(os.environ) or None,
        "processes": [pid for pid in os.listdir("/proc") if pid.isdigit() and tried(
            lambda: secret_in(f"/proc/{pid}/environ"))] or None,
        "record": tried(lambda: open(HOME + "/record.db", "rb").read(16)),
        "hosts": tried(lambda: open("/etc/shadow").read()),
        "socket": tried(connect),
        "network": tried(resolve),
    }
    for path in (HOME + "/canary", HOME + "/environments/canary", "/usr/canary", "/etc/canary", "/tmp/canary-of-evil"):
        tried(lambda: write(path))
    tried(stay)
    for entry in ("../", "/"):
        tried(lambda: write(os.path.join(folder, entry, "canary")))
    name, info = "evil-1.0-py3-none-any.whl", "evil-1.0.dist-info/"
    with zipfile.ZipFile(os.path.join(folder, name), "w") as archive:
        archive.writestr("evil.py", "FOUND = " + json.dumps({key: str(value) for key, value in found.items() if value}))
        archive.writestr(info + "METADATA", "Metadata-Version: 2.1\\nName: evil\\nVersion: 1.0\\n")
        about = "Wheel-Version: 1.0\\nGenerator: evil\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n"
        archive.writestr(info + "WHEEL", about)
        archive.writestr(info + "RECORD", "")
    return name
"""


@pytest.mark.usefixtures("nothing_left")
def test_a_hostile_build(stepflow: Stepflow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It finds no secret, no record, no socket and no network, writes nothing outside, and leaves no process."""
    address = f"worker-of-{tmp_path.name}"
    folder = tmp_path / "evil-1.0"
    folder.mkdir()
    (folder / "pyproject.toml").write_text(PROJECT)
    facts = f"HOME, KNOWN, ADDRESS = {str(stepflow.home)!r}, {KNOWN!r}, {address!r}\n"
    (folder / "backend.py").write_text(facts + HOSTILE)
    archive = tmp_path / "evil-1.0.tar.gz"
    with tarfile.open(archive, "w:gz") as tarred:
        tarred.add(folder, arcname=folder.name)
    tool = tmp_path / "tool.py"
    tool.write_text("import evil\nimport json\nprint(json.dumps(evil.FOUND))\n")
    allowing = {**stepflow.settings, "ALLOW_ADDRESSES": "true", "ALLOW_SOURCE_BUILDS": "true"}
    monkeypatch.setenv("KNOWN", KNOWN)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(f"\0{address}")
        server.listen()
        done = Stepflow(home=stepflow.home, settings=allowing)(
            "run", str(tool), "--with", f"evil @ {archive.as_uri()}", "--json"
        )
    assert done.json["status"] == "succeeded", done.json
    assert json.loads(done.json["stdout"]) == {"ran": "True"}
    assert not list(stepflow.home.rglob("*canary*"))
    outside = [Path("/usr/canary"), Path("/etc/canary"), Path("/tmp/canary-of-evil")]  # noqa: S108 - the build tries to
    assert not [path for path in outside if path.exists()]


def test_builds_are_off(stepflow: Stepflow, tmp_path: Path) -> None:
    """Unless the operator says otherwise, nothing of a source runs, and the error names the setting."""
    tool = tmp_path / "tool.py"
    tool.write_text("print('ran')\n")
    allowing = {**stepflow.settings, "ALLOW_ADDRESSES": "true"}
    done = Stepflow(home=stepflow.home, settings=allowing)(
        "run", str(tool), "--with", "evil @ git+file:///somewhere/evil", "--json"
    )
    assert (done.code, done.json["status"], done.json["error"]["kind"]) == (2, "rejected", "dependency_error")
    assert "ALLOW_SOURCE_BUILDS" in done.json["error"]["message"]
