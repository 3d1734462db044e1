"""Run a command beside a worker of this checkout: `with_worker.py [--replies URL] [--deserted] COMMAND...`.

The broker is RabbitMQ: the one that BROKER_URL names, else a node of its own where the program is installed. Worker,
record and the node's data live in a temporary folder. The command finds BROKER_URL and RESULT_BACKEND in its
environment. The exit code is the command's.
"""

import argparse
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# Below the wrapper on the path, which changes to a user of its own and its data.
RABBITMQ = "/usr/lib/rabbitmq/bin/rabbitmq-server"
PATIENCE_S = 90.0


def main() -> int:
    """Start what is needed, run the command, end all."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition(":")[0])
    parser.add_argument("--replies", default="rpc://", help="the result backend; {folder} stands for the temporary one")
    parser.add_argument("--deserted", action="store_true", help="start no worker, to see what is said then")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="stepflow-engine-") as folder, broker(Path(folder)) as url:
        replies = options.replies.format(folder=folder)
        with contextlib.nullcontext() if options.deserted else worker(Path(folder), url, replies):
            variables = os.environ | {"BROKER_URL": url, "RESULT_BACKEND": replies}
            return subprocess.run(options.command, env=variables, check=False).returncode


@contextlib.contextmanager
def broker(folder: Path) -> Iterator[str]:
    """The URL of a RabbitMQ."""
    if os.environ.get("BROKER_URL"):
        yield os.environ["BROKER_URL"]
        return
    program = RABBITMQ if Path(RABBITMQ).exists() else shutil.which("rabbitmq-server")
    if program is None:
        sys.exit(
            "no RabbitMQ: install rabbitmq-server, or name one that runs: BROKER_URL=amqp://user:password@host/%2F"
        )
    port = free_port()
    settings = {
        "NODENAME": f"example{port}@localhost",
        "NODE_PORT": str(port),
        "DIST_PORT": str(free_port()),
        "MNESIA_BASE": str(folder / "data"),
        "LOG_BASE": str(folder / "log"),
        "ENABLED_PLUGINS_FILE": str(folder / "plugins"),
        "CONFIG_FILE": str(folder / "none"),
    }
    environ = os.environ | {f"RABBITMQ_{name}": text for name, text in settings.items()} | {"HOME": str(folder)}
    with (folder / "broker.log").open("wb") as log:
        # A session of its own, so that all of it can be ended: the script starts the node as a child.
        node = subprocess.Popen([program], env=environ, stdout=log, stderr=log, start_new_session=True)
    try:
        wait_for_port(port)
        yield f"amqp://guest:guest@127.0.0.1:{port}/%2F"
    finally:
        os.killpg(node.pid, signal.SIGKILL)
        node.wait()


@contextlib.contextmanager
def worker(folder: Path, url: str, replies: str) -> Iterator[None]:
    """A worker that takes messages when the block is entered."""
    inherited = {name: text for name, text in os.environ.items() if not name.startswith("STEPFLOW_PYTHON_")}
    settings = {"HOME": str(folder / "home"), "BROKER_URL": url, "RESULT_BACKEND": replies}
    environ = inherited | {f"STEPFLOW_PYTHON_{name}": text for name, text in settings.items()}
    words = [ROOT / ".venv" / "bin" / "stepflow", "worker", "--concurrency", "4", "--cold"]
    with subprocess.Popen(words, env=environ, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            if not line:
                sys.exit("the worker did not start")
            print(line, end="", file=sys.stderr)
            yield
        finally:
            process.terminate()


def free_port() -> int:
    """A port of the loopback interface that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def wait_for_port(port: int) -> None:
    """Until somebody listens."""
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.2)
    sys.exit(f"RabbitMQ did not start within {PATIENCE_S:g} s")


if __name__ == "__main__":
    sys.exit(main())
