"""Each flag of the security settings, on and off, as the kernel sees it."""

import os
import socket
from pathlib import Path

import pytest
from support.boxes import PERMISSIVE, STANDARD, STRICT, Boxed

from stepflow_python.errors import SecurityViolationError
from stepflow_python.process.landlock import landlock_abi
from stepflow_python.sandbox.landlock import SCOPE_ABI

HOST_NETWORK = Path("/proc/self/ns/net")

WRITING = """
import os
def attempt(what, *arguments):
    try:
        what(*arguments)
    except OSError as error:
        return error.errno
    return 0
def f():
    places = ["x", os.environ["TMPDIR"] + "/x", "/dev/shm/x", "output/x", "/usr/x", "/etc/x", "/x", "/dev/x"]
    return [attempt(open, place, "w") for place in places]
"""

NETWORK = """
import os, socket
def f():
    with socket.create_server(("127.0.0.1", 0)) as server:
        own = socket.create_connection(server.getsockname(), 5)
        own.close()
    return sorted(name for _, name in socket.if_nameindex())
"""


def test_files_are_its_own(boxed: Boxed) -> None:
    """With file access the work folder and the temporary ones can be written, without it none (EROFS)."""
    without = STANDARD.model_copy(update={"enable_file_access": False})
    assert boxed(WRITING, STRICT).result == [0, 0, 0, 0, 30, 30, 30, 30]
    assert set(boxed(WRITING, without).result or []) == {30, 2}  # its output folder is not there


def test_files_cannot_be_sent_where_they_may_not_be_read(boxed: Boxed) -> None:
    """A request that brings files to such a run is refused with a word on what to do."""
    without = STRICT.model_copy(update={"enable_file_access": False})
    with pytest.raises(SecurityViolationError, match="send what it needs in parameters or stdin"):
        boxed("def f():\n    return 1\n", without, files={"a.txt": b"x"})


def test_the_network_is_loopback_or_the_hosts(boxed: Boxed) -> None:
    """Without network access there is a loopback of its own and no other interface; with it the host's are there."""
    assert boxed(NETWORK, STRICT).result == ["lo"]
    namespace = "import os\ndef f():\n    return os.readlink('/proc/self/ns/net')\n"
    assert boxed(namespace, PERMISSIVE).result == str(HOST_NETWORK.readlink())
    assert boxed(namespace, STANDARD).result != str(HOST_NETWORK.readlink())


def test_two_runs_may_bind_one_port(boxed: Boxed) -> None:
    """Loopback is each run's own: what one binds, the next one finds free, while the host has it too."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        source = (
            f"import socket\ndef f():\n    socket.create_server(('127.0.0.1', {port})).close()\n    return 'bound'\n"
        )
        assert boxed(source, STRICT).result == "bound"


@pytest.mark.skipif(landlock_abi() < SCOPE_ABI, reason="this kernel cannot keep runs from abstract sockets")
def test_services_of_the_host_are_out_of_reach_with_the_network(boxed: Boxed) -> None:
    """An abstract socket of the host cannot be reached at permissive, one of the run's own can."""
    name = f"stepflow-test-{os.getpid()}"
    source = f"""
import socket
def reached(name):
    with socket.socket(socket.AF_UNIX) as client:
        try:
            client.connect(name)
        except OSError as error:
            return type(error).__name__
        return "reached"
def f():
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("\\0{name}-own")
        server.listen()
        return [reached("\\0{name}"), reached("\\0{name}-own")]
"""
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(f"\0{name}")
        server.listen()
        assert boxed(source, PERMISSIVE).result == ["PermissionError", "reached"]
