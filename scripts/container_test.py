"""Build the worker's image and put it to work: `make container-test`, with buildah and podman, as root or not.

Without `--base IMAGE` the base is made of this machine's distribution by debootstrap, as root. Where RabbitMQ and
PostgreSQL answer on the loopback interface, a virtual host and a database of theirs are borrowed, and jobs come from
this machine; they can be named as well (`--broker URL --database URL`). Else the broker and the record are files on a
volume, and jobs come from a second container. Exit code 0: all of it held.
"""

import argparse
import contextlib
import dataclasses
import json
import os
import secrets
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeVar

import psycopg
from celery import Celery
from container_image import ROOT, Registry, base_from_packages, build, size_mb

RIGHTS = tuple(f"--security-opt={name}=unconfined" for name in ("seccomp", "apparmor", "systempaths"))
"""What the tier `namespaces` needs of an engine."""
TIGHT = ("--cap-drop=all", "--security-opt=no-new-privileges", "--read-only", "--tmpfs=/tmp")
"""What no worker needs, and this one does without."""
POSTGRESQL = "postgresql://postgres@127.0.0.1:5432"
PATIENCE_S = 180.0
LIMITS = ("--ulimit=nofile=4096:4096", "--ulimit=nproc=4096:4096")
"""Podman's own are higher than some hosts let it hand on."""
Found = TypeVar("Found")
JOBS, CONCURRENCY = 10, 4
SQUARE = "def square(n: int) -> int:\n    return n * n\n"
SLOW_SQUARE = "import time\n\ndef square(n: int) -> int:\n    time.sleep(8)\n    return n * n\n"
WITH_PACKAGE = "import segno\n\ndef kind() -> str:\n    return segno.make('a').designator\n"


def tell(words: str) -> None:
    """What was found to hold."""
    print(f"ok  {words}", flush=True)


def engine() -> tuple[str, ...]:
    """Podman, with the runtime that there is."""
    runtime = next((name for name in ("crun", "runc") if shutil.which(name)), None)
    return ("podman", *([f"--runtime={runtime}"] if runtime else []))


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """An engine, a volume and servers, if any; `settings` are variables without their prefix."""

    image: str
    settings: dict[str, str]
    engine: tuple[str, ...] = field(default_factory=engine)
    name: str = field(default_factory=lambda: f"stepflow-test-{uuid.uuid4().hex[:8]}")

    @property
    def environ(self) -> dict[str, str]:
        """This process's variables and the settings: passwords are on no command line."""
        return dict(os.environ) | {f"STEPFLOW_PYTHON_{name}": text for name, text in self.settings.items()}

    def run_words(self, *options: str) -> list[str]:
        """`run` and its options, up to the image's own words."""
        words = ["run", "--network=host", f"--volume={self.name}:/var/lib/stepflow", *LIMITS, *options]
        return [*words, *(f"--env=STEPFLOW_PYTHON_{name}" for name in self.settings), self.image]

    def podman(self, *words: str, check: bool = True) -> str:
        """What a command of the engine prints on its standard output."""
        done = subprocess.run(
            [*self.engine, *words], env=self.environ, capture_output=True, text=True, check=False, timeout=PATIENCE_S
        )
        if check and done.returncode:
            raise AssertionError(f"podman {' '.join(words)}: {done.stderr}")
        return done.stdout.strip()

    def stepflow(self, *words: str, stdin: str = "") -> Any:  # noqa: ANN401 - JSON
        """The JSON value of a command outside of the worker: on this machine, or in another container."""
        here = [str(ROOT / ".venv/bin/stepflow")]
        command = here if self.settings else [*self.engine, *self.run_words("--rm", "--interactive")]
        done = subprocess.run(
            [*command, *words, "--json"], env=self.environ, input=stdin, capture_output=True, text=True, check=False
        )
        assert done.stdout, done.stderr
        return json.loads(done.stdout)

    def submit(self, code: str, function: str, *words: str) -> str:
        """Enqueue one call; its id."""
        said = self.stepflow("submit", "-", "--function", function, *words, stdin=code)
        return str(said["execution_id"])

    def result(self, execution_id: str) -> dict[str, Any]:
        """The record of an execution once it has ended."""
        return wait_for(lambda: ended(self.stepflow("show", execution_id)), f"the end of {execution_id}")


def ended(record: dict[str, Any]) -> dict[str, Any] | None:
    """The record, if it is one of an execution that has ended."""
    return None if record.get("status", "queued") in {"queued", "running"} else record


def wait_for(look: Callable[[], Found | None], what: str) -> Found:
    """The first true value that a look finds."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        if found := look():
            return found
        time.sleep(0.3)
    raise AssertionError(f"{what} was waited for in vain")


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker:
    """A container with a worker."""

    site: Site
    name: str
    port: int

    def answer(self, path: str) -> int:
        """The status of its health, 0 while nobody answers."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/{path}", timeout=10) as reply:
                return int(reply.status)
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return 0

    def wait_until_ready(self) -> None:
        """It takes messages."""
        wait_for(lambda: self.answer("ready") == 200 or self._gone(), "readiness")
        assert not self._gone(), self.logs()

    def _gone(self) -> bool:
        return self.state() in {"exited", "stopped"}

    def state(self) -> str:
        """As the engine names it."""
        return self.site.podman("inspect", "--format={{.State.Status}}", self.name)

    def logs(self) -> str:
        """What it has said, on both streams."""
        done = subprocess.run(
            [*self.site.engine, "logs", self.name],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=True,
        )
        return done.stdout

    def start_line(self, tier: str) -> str:
        """The line that names the tier."""
        wanted = f" | isolation {tier}, memory "
        found = wait_for(
            lambda: [line for line in self.logs().splitlines() if wanted in line], f"a line with {wanted!r}"
        )
        return found[0]

    def inside(self, code: str) -> str:
        """What a line of Python prints in there."""
        return self.site.podman("exec", self.name, "python3", "-c", code)


@contextlib.contextmanager
def worker(site: Site, *options: str, **settings: str) -> Iterator[Worker]:
    """A worker in a container, removed at the end."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    name = f"{site.name}-{secrets.token_hex(3)}"
    given = [f"--env=STEPFLOW_PYTHON_{setting}={text}" for setting, text in settings.items()]
    words = site.run_words("--detach", f"--name={name}", *TIGHT, *options, *given, f"--env=HEALTH_PORT={port}")
    try:
        site.podman(*words, "worker", "--health-port", str(port), "--concurrency", str(CONCURRENCY))
        yield Worker(site=site, name=name, port=port)
    finally:
        site.podman("rm", "--force", "--time=5", name, check=False)


def check_first_tier(site: Site, registry: Registry) -> None:
    """All that is promised, where the engine allows namespaces."""
    with worker(site, *RIGHTS, *registry.for_runs()) as running:
        running.wait_until_ready()
        tell(running.start_line("namespaces"))
        check_who_it_is(running)
        check_jobs(site)
        check_kill(site, running)
        check_leftovers(running)
        site.podman("stop", "--time=60", running.name)
        assert site.podman("inspect", "--format={{.State.ExitCode}}", running.name) == "0", running.logs()
        tell("stopped by SIGTERM, exit code 0")


def check_who_it_is(running: Worker) -> None:
    """Nobody special, and alive."""
    assert running.inside("import os; print(os.getuid())") == "10001"
    tell("user 10001, no capabilities, root file system read-only")
    running.site.podman("healthcheck", "run", running.name)
    tell("its health check passes")


def check_jobs(site: Site) -> None:
    """Jobs from outside, with a package, and by a client that knows the message only."""
    record = site.result(site.submit(SQUARE, "square", "--arg", "n=7"))
    assert (record["status"], record["result"]["result"]) == ("succeeded", 49), record
    assert record["result"]["isolation"] == "namespaces", record
    tell("a job from outside: succeeded in namespaces")
    record = site.result(site.submit(WITH_PACKAGE, "kind", "--with", "segno>=1.6,<2"))
    assert record["status"] == "succeeded", record
    tell("a job with a package: its environment was built in the container")
    if "BROKER_URL" in site.settings:
        job = uuid.uuid4().hex
        payload = {"execution_id": job, "code": SQUARE, "function_name": "square", "parameters": {"n": 3}}
        with Celery(broker=site.settings["BROKER_URL"], set_as_current=False) as app:
            app.conf.update(task_create_missing_queue_type="quorum", task_create_missing_queue_exchange_type="topic")
            app.send_task("stepflow.execute", args=[payload], queue="stepflow")
        assert site.result(job)["result"]["result"] == 9
        tell("a job of a Celery client without this package")
    items = site.stepflow("history")["items"]
    assert {item["status"] for item in items} == {"succeeded"}, items
    tell(f"the history has all {len(items)}")


def check_kill(site: Site, running: Worker) -> None:
    """SIGKILL in the middle of jobs, a start, and every job ends once."""
    with ThreadPoolExecutor(3) as pool:  # two cores
        jobs = list(pool.map(lambda n: site.submit(SLOW_SQUARE, "square", "--arg", f"n={n}"), range(JOBS)))
    wait_for(lambda: site.stepflow("history", "--status", "running")["items"], "jobs that run")
    killed = time.monotonic()
    site.podman("kill", "--signal=KILL", running.name)
    site.podman("wait", running.name)
    site.podman("start", running.name)
    records = [site.result(job) for job in jobs]
    assert [record["status"] for record in records] == ["succeeded"] * JOBS, records
    assert [record["result"]["result"] for record in records] == [number**2 for number in range(JOBS)]
    again = sum(record["attempts"] > 1 for record in records)
    assert again, "the kill disturbed nobody"
    tell(
        f"kill -9 and start: {JOBS} of {JOBS} jobs succeeded, {again} of them again, {time.monotonic() - killed:.1f} s"
    )


ZOMBIES = """
import pathlib
states = [path.read_text().rpartition(')')[2].split()[0] for path in pathlib.Path('/proc').glob('[0-9]*/stat')]
print(states.count('Z'))
"""


def check_leftovers(running: Worker) -> None:
    """As the container's first process a worker must take in what others leave behind."""
    wait_for(lambda: running.inside(ZOMBIES) == "0", "no dead process that nobody has taken in")
    tell("no dead processes are left in it")


def check_without_rights(site: Site) -> None:
    """It refuses, and names the options; or takes the second tier, where that is accepted."""
    with worker(site) as refused:
        wait_for(lambda: refused.state() == "exited", "its refusal")
        said = refused.logs()
        assert site.podman("inspect", "--format={{.State.ExitCode}}", refused.name) == "3", said
        missing = [option for option in RIGHTS if option.replace("=", " ", 1) not in said]
        assert not missing, said
        assert "MIN_ISOLATION=landlock accepts the next best" in said, said
    tell("without rights it does not start: exit code 3, the options are named")
    with worker(site, MIN_ISOLATION="landlock") as running:
        running.wait_until_ready()
        running.start_line("landlock")
        record = site.result(site.submit(SQUARE, "square", "--arg", "n=5"))
        assert (record["status"], record["result"]["isolation"]) == ("succeeded", "landlock"), record
    tell("without rights, with MIN_ISOLATION=landlock: a job succeeded at that tier")


def check_early_stop(site: Site) -> None:
    """The first process of a container hears only the signals that it asked for."""
    nowhere = dataclasses.replace(
        site, settings={**site.settings, "DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none"}
    )
    with worker(nowhere, *RIGHTS) as waiting:
        wait_for(lambda: "waiting for the record" in waiting.logs(), "a word about the record that is away")
        wait_for(
            lambda: waiting.answer("live") == 200 and waiting.answer("ready") == 503,
            "a worker that is alive, not ready",
        )
        site.podman("stop", "--time=60", waiting.name)
        assert site.podman("inspect", "--format={{.State.ExitCode}}", waiting.name) == "0", waiting.logs()
    tell("while the record is away: alive, not ready, and stopped by SIGTERM with exit code 0")


def answers(port: int) -> bool:
    """Whether somebody listens on the loopback interface."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=3):
        return True
    return False


@contextlib.contextmanager
def servers(options: argparse.Namespace) -> Iterator[dict[str, str]]:
    """The settings of the broker and the record; none where they are files on the volume."""
    if options.broker and options.database:
        yield {"BROKER_URL": options.broker, "DATABASE_URL": options.database}
        return
    if options.embedded or not (answers(5672) and answers(5432) and shutil.which("rabbitmqctl")):
        yield {}
        return
    name = f"stepflow_test_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(f"{POSTGRESQL}/postgres", autocommit=True) as server:
        server.execute(f"CREATE DATABASE {name}")
        subprocess.run(["rabbitmqctl", "--quiet", "add_vhost", name], check=True)
        try:
            permit = ["rabbitmqctl", "--quiet", "set_permissions", "-p", name, "guest", ".*", ".*", ".*"]
            subprocess.run(permit, check=True)
            broker = f"amqp://guest:guest@127.0.0.1:5672/{name}"
            yield {"BROKER_URL": broker, "DATABASE_URL": f"{POSTGRESQL}/{name}"}
        finally:
            subprocess.run(["rabbitmqctl", "--quiet", "delete_vhost", name], check=False)
            server.execute(f"DROP DATABASE {name} WITH (FORCE)")


def parsed() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--base", help="an image to build on; without, one is made of this machine's distribution")
    parser.add_argument("--image", help="test this one, and build none")
    parser.add_argument("--broker", help="the URL of a broker, as the container and this machine reach it")
    parser.add_argument("--database", help="the URL of a database")
    parser.add_argument("--embedded", action="store_true", help="broker and record on a volume, whatever answers here")
    return parser.parse_args()


def main() -> None:
    """All of it, in order."""
    options = parsed()
    image = options.image
    if image is None:
        base = options.base or base_from_packages()
        image = build(base)
        tell(f"built on {base}: {size_mb(image):.0f} MB, of which the base has {size_mb(base):.0f} MB")
    with servers(options) as settings:
        site = Site(image=image, settings=settings)
        tell(f"broker and record: {'servers' if settings else 'files on a volume'}")
        try:
            check_first_tier(site, Registry.of_this_machine())
            check_without_rights(site)
            check_early_stop(site)
        finally:
            site.podman("volume", "rm", "--force", site.name, check=False)


if __name__ == "__main__":
    main()
