"""The second tier, where the host refuses namespaces: what it promises, tried from inside."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.cli import Stepflow
from support.product import wait_for_processes

from stepflow_python.process.landlock import landlock_abi

pytestmark = pytest.mark.skipif(landlock_abi() == 0, reason="this kernel has no Landlock")
WITHOUT_NAMESPACES = Path(__file__).resolve().parents[1] / "support" / "without_namespaces.py"
SETTINGS = {"MIN_ISOLATION": "landlock", "BLOCKED_IMPORTS": "", "ENABLE_AST_PARSING": "false"}
"""Nothing but the kernel refuses anything."""

ATTEMPT = """
import os, socket
def attempt(what, *arguments):
    try:
        return what(*arguments)
    except OSError as error:
        return type(error).__name__
def read(path):
    with open(path, 'rb') as file:
        return len(file.read()) > 0
def write(path):
    with open(path, 'w') as file:
        return file.write('x')
"""

Runner = Callable[..., dict[str, Any]]


@pytest.fixture
def landlocked(stepflow: Stepflow, tmp_path: Path) -> Runner:
    """Runs the function `f` of a source at this tier; gives the result of the run."""

    def run(source: str, *options: str) -> dict[str, Any]:
        tool = tmp_path / "tool.py"
        tool.write_text(ATTEMPT + source)
        command = (sys.executable, WITHOUT_NAMESPACES, sys.executable, "-m", "stepflow_python", "run", tool)
        done = subprocess.run(
            [*command, *options, "--function", "f", "--json"],
            env=stepflow.environ | {f"STEPFLOW_PYTHON_{name}": value for name, value in SETTINGS.items()},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        result: dict[str, Any] = json.loads(done.stdout)
        assert result["isolation"] == "landlock", done.stderr
        return result

    return run


def test_files_of_the_host_cannot_be_read(landlocked: Runner, stepflow: Stepflow) -> None:
    """Of the host there are programs, libraries, certificates and figures of the machine; nothing else can be read."""
    secret = stepflow.home / "secret"
    secret.write_text("secret")
    source = (
        f"OURS = {str(secret)!r}\n"
        "def f():\n"
        "    closed = ['/etc/passwd', '/etc/hosts', '/proc/1/cmdline', f'/proc/{os.getppid()}/status', OURS]\n"
        "    listed = ['/', '/tmp', '/proc', '/home', '/etc', '/dev/shm', os.path.dirname(OURS)]\n"
        "    open_ = ['/etc/ld.so.cache', '/proc/self/status', '/proc/cpuinfo', '/proc/meminfo', os.__file__]\n"
        "    return [{attempt(read, p) for p in closed} | {attempt(os.listdir, p) for p in listed},\n"
        "            {attempt(read, p) for p in open_}]\n"
    )
    assert landlocked(source)["result"] == [["PermissionError"], [True]]


def test_only_its_own_folder_can_be_written(landlocked: Runner, stepflow: Stepflow) -> None:
    """Its work folder takes files, folders, links and moves; nothing else does, nor do modes, owners and times."""
    own = stepflow.home / "own"
    own.write_text("as it was")
    own.chmod(0o640)
    source = (
        f"OURS = {str(own)!r}\n"
        "import shutil, tempfile\n"
        "def f():\n"
        "    places = ('/tmp/left-here', '/dev/shm/left-here', OURS, '../left', '/usr/x')\n"
        "    written = [attempt(write, place) for place in places]\n"
        "    attempt(os.chmod, OURS, 0o777), attempt(os.utime, OURS, (1, 1)), attempt(os.truncate, OURS, 0)\n"
        "    attempt(os.rename, OURS, 'mine'), attempt(os.unlink, OURS), attempt(os.link, OURS, 'linked')\n"
        "    os.makedirs('a/b'), write('a/x'), os.symlink('x', 'a/l'), shutil.copy2('a/x', 'a/b/y')\n"
        "    os.rename('a/b/y', 'z')\n"
        "    with tempfile.NamedTemporaryFile() as file:\n"
        "        inside = file.name.startswith(os.getcwd() + '/tmp/')\n"
        "    return [set(written), sorted(os.listdir('a')), os.path.exists('z'), inside, write('/dev/null')]\n"
    )
    before = own.stat()
    assert landlocked(source)["result"] == [["PermissionError"], ["b", "l", "x"], True, True, 1]
    after = own.stat()
    assert own.read_text() == "as it was"
    assert (after.st_mode, after.st_mtime_ns, after.st_nlink) == (before.st_mode, before.st_mtime_ns, 1)


def test_the_network_is_a_matter_of_the_level(landlocked: Runner) -> None:
    """Below permissive there are socket pairs only; at it there are internet sockets, and none to the host's files."""
    source = (
        "import asyncio\n"
        "async def nothing(): return 'ran'\n"
        "def f():\n"
        "    families = (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX, socket.AF_PACKET)\n"
        "    made = [attempt(lambda: socket.socket(one, socket.SOCK_STREAM).close()) for one in families]\n"
        "    loose = attempt(lambda: socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM))\n"
        "    return [made, loose, asyncio.run(nothing())]\n"
    )
    no = "PermissionError"
    assert landlocked(source)["result"] == [[no] * 4, no, "ran"]
    assert landlocked(source, "--level", "permissive")["result"] == [[None, None, no, no], no, "ran"]


def test_others_of_the_user_are_out_of_reach(landlocked: Runner) -> None:
    """Its supervisor, of the same user, can be neither signalled, traced, read nor limited; its own children can."""
    source = (
        "import ctypes, resource, signal, subprocess, time\n"
        "def f():\n"
        "    boss, libc = os.getppid(), ctypes.CDLL(None)\n"
        "    child = subprocess.Popen(['/bin/sleep', '60'])\n"
        "    child.kill()\n"
        "    return {\n"
        "        'signal': attempt(os.kill, boss, signal.SIGKILL), 'child': child.wait(),\n"
        "        'memory': attempt(read, f'/proc/{boss}/mem'), 'environ': attempt(read, f'/proc/{boss}/environ'),\n"
        "        'limit': attempt(resource.prlimit, boss, 7, (9, 9)), 'ptrace': libc.ptrace(16, boss, 0, 0),\n"
        "        'ipc': libc.shmget(1, 4096, 0o1666),\n"
        "    }\n"
    )
    no = "PermissionError"
    result = landlocked(source, "--level", "standard")
    expected = {"signal": no, "memory": no, "environ": no, "ptrace": -1, "limit": no, "ipc": -1, "child": -9}
    assert result["result"] == expected


@pytest.mark.usefixtures("nothing_left")
def test_nothing_outlives_it(landlocked: Runner) -> None:
    """A daemon in a session of its own ends with the run, whether that comes to its end or is stopped at a limit."""
    source = (
        "import time\n"
        "def f(wait=0):\n"
        "    for _ in range(4):\n"
        "        if os.fork() == 0:\n"
        "            os.setsid()\n"
        "            if os.fork() == 0:\n"
        "                time.sleep(600)\n"
        "            os._exit(0)\n"
        "    time.sleep(wait)\n"
    )
    assert landlocked(source, "--level", "standard")["status"] == "succeeded"
    stopped = landlocked(source.replace("wait=0", "wait=60"), "--level", "standard", "--timeout", "0.5")
    assert stopped["status"] == "timed_out"


def test_a_killed_worker_takes_its_runs_along(stepflow: Stepflow, tmp_path: Path) -> None:
    """Daemons of a tool end when the process that ran it is killed, whatever session they are in."""
    mark = f"{10_000 + os.getpid()}"
    tool = tmp_path / "tool.py"
    tool.write_text(
        "import os, subprocess, time\n"
        f"subprocess.Popen(['/bin/sleep', '{mark}'], start_new_session=True)\n"
        f"if os.fork() == 0:\n    os.setsid()\n    os.execv('/bin/sleep', ['sleep', '{mark}'])\n"
        "time.sleep(60)\n"
    )
    command = (sys.executable, WITHOUT_NAMESPACES, sys.executable, "-m", "stepflow_python", "run", tool)
    environ = stepflow.environ | {f"STEPFLOW_PYTHON_{name}": value for name, value in SETTINGS.items()}
    with subprocess.Popen([*command, "--level", "standard"], env=environ) as process:
        wait_for_processes(mark, there=True)
        process.kill()
    wait_for_processes(mark, there=False)


def test_children_are_held_too(landlocked: Runner) -> None:
    """What holds is the tier of the record, also for a tool that starts processes."""
    source = "import subprocess\ndef f():\n    return subprocess.run(['/bin/cat', '/etc/passwd']).returncode\n"
    assert landlocked(source, "--level", "standard")["result"] == 1
    assert landlocked("def f():\n    return attempt(os.fork)\n")["result"] == "PermissionError"


def test_this_is_not_root() -> None:
    """These runs prove nothing for a user that may do everything."""
    assert os.getuid() != 0
