"""Two hosts share a broker and a database, and one of them is cut off in the middle and comes back.

`make two-hosts` submits two thousand jobs on each pair that hosts can share and writes its table into docs/scaling.md.
The hosts are network namespaces with addresses of their own (`hosts.py`), each with a worker, a home and environments
of its own, which it builds from the same lock. Exit code 1: a job was lost or ended twice, a host did nothing after it
came back, or the environments differ. Exit code 77: no hosts can be had here.
"""

import argparse
import asyncio
import base64
import contextlib
import dataclasses
import hashlib
import json
import os
import shutil
import sys
import tempfile
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

from hosts import Bridge, Host, NoHostsError, bridge
from marked import put
from soak import prepare, rabbitmq_server, redis_server, scratch_database
from sqlalchemy import Engine, text

from stepflow_python.client.client import open_client
from stepflow_python.config import Settings
from stepflow_python.errors import PythonError
from stepflow_python.model.request import ExecutionRequest
from stepflow_python.store.engines import reading_engine
from stepflow_python.store.urls import place_of

PAIRS = ("redis+postgresql", "rabbitmq+postgresql")
SERVERS = {"redis": redis_server, "rabbitmq": rabbitmq_server}
DOCS = Path(__file__).resolve().parents[1] / "docs" / "scaling.md"
CODE = """
import time
import shared_part

def work(n: int) -> list:
    time.sleep(0.05)
    return [n * n, shared_part.VERSION]
"""
PACKAGE = "shared_part"
CONCURRENCY, MAX_ATTEMPTS = 4, 20
CUT_AT, BACK_AT, HELD_UNTIL_BACK = 0.2, 0.5, 0.35
"""So many of the jobs are for one host or the other. The first is cut off when so many have ended, on both, and comes
back when so many have ended, but not before leases have passed; some are submitted only when it is back, half of those
for this host alone."""
CUT_LEASES = 1.5
PATIENCE_S = 180.0
NO_HOSTS = 77


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """Two hosts at work, and the record as this machine reaches it."""

    hosts: tuple[Host, ...]
    homes: tuple[Path, ...]
    settings: Settings
    engine: Engine
    lock: str
    back: threading.Event = dataclasses.field(default_factory=threading.Event)

    def rows(self, statement: str) -> list[tuple[object, ...]]:
        """What a question to the record finds."""
        with self.engine.connect() as connection:
            return [tuple(row) for row in connection.execute(text(statement))]

    def number(self, statement: str) -> int:
        """The same, of one number."""
        return int(str(self.rows(statement)[0][0]))


def make_package(folder: Path) -> str:
    """Put a package into a folder that serves as a registry; the line of a lock that names it."""
    info, version = f"{PACKAGE}-1.0.dist-info", "VERSION = '1.0'\n"
    content = {
        f"{PACKAGE}.py": version,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {PACKAGE}\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: two-hosts\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = [f"{name},sha256={_digest(body)},{len(body.encode())}" for name, body in content.items()]
    content[f"{info}/RECORD"] = "\n".join([*record, f"{info}/RECORD,,"]) + "\n"
    wheel = folder / f"{PACKAGE}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, body in content.items():
            archive.writestr(name, body)
    return f"{PACKAGE.replace('_', '-')}==1.0 --hash=sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}"


def _digest(body: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(body.encode()).digest()).rstrip(b"=").decode()


def environ_of(**settings: str) -> dict[str, str]:
    """This process's variables without settings, and these."""
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("STEPFLOW_PYTHON_", "UV_", "PIP_"))
    }
    return kept | {f"STEPFLOW_PYTHON_{name}": value for name, value in settings.items()}


@contextlib.contextmanager
def on_bridge(net: Bridge, url: str) -> Iterator[str]:
    """The URL of a server on this machine's loopback, as hosts reach it."""
    port = urlsplit(url).port
    assert port is not None
    with net.offered(port) as there:
        yield url.replace(f"127.0.0.1:{port}", f"{net.address}:{there}")


@contextlib.contextmanager
def site(pair: str, *, lease_s: int, logs: Path | None = None) -> Iterator[Site]:
    """Two hosts with a worker each; what they log is copied into a folder, if one is given."""
    with contextlib.ExitStack() as stack:
        net = stack.enter_context(bridge())
        folder = Path(tempfile.mkdtemp(prefix="stepflow-hosts-"))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        shelf, empty = folder / "shelf", folder / "empty"
        shelf.mkdir()
        empty.mkdir()
        lock = make_package(shelf)
        here, _program = stack.enter_context(SERVERS[pair.partition("+")[0]](folder))
        record = stack.enter_context(scratch_database())
        shared = {"LEASE": str(lease_s), "MAX_QUEUED": "200"}
        own = environ_of(HOME=str(folder / "home"), BROKER_URL=here, DATABASE_URL=record, **shared)
        settings = Settings.from_environ(own)
        asyncio.run(prepare(settings))
        far = {
            "BROKER_URL": stack.enter_context(on_bridge(net, here)),
            "DATABASE_URL": stack.enter_context(on_bridge(net, record)),
        }
        hosts = tuple(stack.enter_context(net.host(number)) for number in (1, 2))
        homes = tuple(folder / host.name for host in hosts)
        for host, home in zip(hosts, homes, strict=True):
            environ = environ_of(HOME=str(home), LOG_LEVEL="INFO", **far, **shared)
            # Only the shelf: the hosts reach nothing but the bridge.
            environ |= {"UV_FIND_LINKS": str(shelf), "UV_DEFAULT_INDEX": empty.as_uri()}
            words = [sys.executable, "-m", "stepflow_python", "worker", "--concurrency", str(CONCURRENCY)]
            words += ["--queues", f"{settings.queue},{host.name}"]
            with (folder / f"{host.name}.log").open("ab") as log:
                worker = host.start(words, environ, log.fileno())
            if logs is not None:
                stack.callback(shutil.copy, folder / f"{host.name}.log", logs)
            stack.callback(worker.wait)
            stack.callback(worker.kill)
        engine = reading_engine(place_of(settings.database))
        stack.callback(engine.dispose)
        yield Site(hosts=hosts, homes=homes, settings=settings, engine=engine, lock=lock)


async def submit_all(place: Site, jobs: int) -> None:
    """Submit jobs, a few at a time, each again under its id until it was taken."""
    async with open_client(place.settings) as client:
        held = int(jobs * (1 - HELD_UNTIL_BACK))

        def queue_of(number: int) -> str | None:
            if number < jobs * CUT_AT:  # both have work before one is cut off, whichever is the first to be ready
                return place.hosts[number % 2].name
            return place.hosts[0].name if number >= held and number % 2 else None

        async def one(number: int) -> None:
            request = ExecutionRequest(
                execution_id=f"job-{number}",
                tool_id="work",
                code=CODE,
                function_name="work",
                parameters={"n": number},
                lock=(place.lock,),
                queue=queue_of(number),
                max_attempts=MAX_ATTEMPTS,
            )
            while True:
                try:
                    await client.submit(request)
                except PythonError:
                    await asyncio.sleep(0.2)
                else:
                    return

        for start in range(0, jobs, 8):
            if start >= held:
                await asyncio.to_thread(place.back.wait)
            await asyncio.gather(*(one(number) for number in range(start, min(start + 8, jobs))))


ENDED = "SELECT count(*) FROM executions WHERE finished_at IS NOT NULL"
BY_HOST = "SELECT split_part(claimed_by, ':', 1), count(*) FROM executions WHERE finished_at IS NOT NULL GROUP BY 1"


def wait_for(reached: Callable[[], bool], ended: Callable[[], int]) -> None:
    """Until something is so; or nothing ends any more."""
    seen, since = -1, time.monotonic()
    while not reached():
        now = ended()
        if now != seen:
            seen, since = now, time.monotonic()
        if time.monotonic() - since > PATIENCE_S:
            raise TimeoutError(f"no job ended for {PATIENCE_S} s; {seen} have")
        time.sleep(0.1)


def by_host(place: Site) -> dict[str, int]:
    """How many jobs ended on each host."""
    counts = {str(name): int(str(count)) for name, count in place.rows(BY_HOST)}
    return {host.name: counts.get(host.name, 0) for host in place.hosts}


def worked(place: Site, jobs: int) -> dict[str, object]:
    """Submit, cut a host off, let it come back, wait for all; what came of it."""

    def ended() -> int:
        return place.number(ENDED)

    producer = threading.Thread(target=lambda: asyncio.run(submit_all(place, jobs)), daemon=True)
    producer.start()
    least_s = place.settings.lease * CUT_LEASES
    far, near = (host.name for host in place.hosts)
    # Both have built the environment before one is cut off.
    wait_for(lambda: ended() >= jobs * CUT_AT and all(by_host(place).values()), ended)
    started = time.monotonic()
    place.hosts[0].pull()
    before = by_host(place)
    wait_for(lambda: ended() >= jobs * BACK_AT and time.monotonic() - started >= least_s, ended)
    during = by_host(place)
    place.hosts[0].plug()
    place.back.set()
    cut_s, back = time.monotonic() - started, time.monotonic()
    returned: list[float] = []

    def all_ended() -> bool:
        if not returned and by_host(place)[far] > during[far]:
            returned.append(time.monotonic() - back)
        return ended() == jobs

    wait_for(all_ended, ended)
    producer.join()
    total = by_host(place)
    return {
        "cut_s": round(cut_s, 1),
        "back_to_work_s": round(returned[0], 1) if returned else None,
        "before": list(before.values()),
        "while_cut": [during[name] - before[name] for name in (far, near)],
        "after": [total[name] - during[name] for name in (far, near)],
    }


def judged(place: Site, jobs: int) -> dict[str, object]:
    """Whether each job ended once, and in the same environment, which each host has built for itself."""
    ends = "SELECT execution_id FROM python_executions WHERE status = 'succeeded' GROUP BY 1 HAVING count(*) > 1"
    wrong = "SELECT count(*) FROM python_executions WHERE status = 'succeeded' AND result IS NULL"
    keys = {
        str(row[0]) for row in place.rows("SELECT environment_key FROM python_executions WHERE status = 'succeeded'")
    }
    built = [sum((home / "environments" / key).is_dir() for home in place.homes) for key in keys]
    return {
        "succeeded": place.number("SELECT count(*) FROM executions WHERE status = 'succeeded'"),
        "lost": jobs - place.number("SELECT count(*) FROM executions WHERE status = 'succeeded'"),
        "twice": len(place.rows(ends)) + place.number(wrong),
        "taken_over": place.number("SELECT count(*) FROM executions WHERE attempts > 1"),
        "environments": len(keys),
        "built_on_hosts": built,
    }


def good(found: dict[str, object]) -> bool:
    """Whether it is as it should be."""
    after = found["after"]
    assert isinstance(after, list)
    return (found["lost"], found["twice"], found["built_on_hosts"]) == (0, 0, [2]) and after[0] > 0


def table(results: list[dict[str, object]]) -> str:
    """The results for the documentation."""
    columns = (
        *("pair", "jobs", "cut off, s", "ended on each host before", "while cut off", "after", "taken over"),
        *("back at work after, s", "lost", "twice"),
    )
    names = ("pair", "jobs", "cut_s", "before", "while_cut", "after", "taken_over", "back_to_work_s", "lost", "twice")
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    for found in results:
        cells = [found[name] for name in names]
        shown = [", ".join(map(str, cell)) if isinstance(cell, list) else str(cell) for cell in cells]
        lines.append(f"| {' | '.join(shown)} |")
    return "\n".join(lines)


def main() -> int:
    """Two hosts on each pair that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=2000)
    parser.add_argument("--pairs", nargs="*", default=list(PAIRS), choices=PAIRS)
    parser.add_argument("--lease", type=int, default=10, help="the setting LEASE of the hosts, in seconds")
    parser.add_argument("--write", action="store_true", help="put the table into docs/scaling.md")
    parser.add_argument("--logs", type=Path, help="keep what the workers log in this folder")
    options = parser.parse_args()
    results = []
    for pair in options.pairs:
        try:
            with site(pair, lease_s=options.lease, logs=options.logs) as place:
                started = time.monotonic()
                found = worked(place, options.jobs) | judged(place, options.jobs)
                seconds = round(time.monotonic() - started, 1)
        except NoHostsError as error:
            print(error, file=sys.stderr)
            return NO_HOSTS
        results.append({"pair": pair, "jobs": options.jobs, **found, "seconds": seconds})
        print(json.dumps(results[-1]), flush=True)
    if options.write:
        put(DOCS, "two hosts", table(results))
    print(table(results), file=sys.stderr)
    return 0 if all(map(good, results)) else 1


if __name__ == "__main__":
    sys.exit(main())
