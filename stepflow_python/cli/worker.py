"""`stepflow worker`: runs what is submitted."""

import click

from stepflow_python.bootstrap.loop import LoopThread
from stepflow_python.bootstrap.runtime import open_runtime
from stepflow_python.cli.render import write
from stepflow_python.cli.session import open_session
from stepflow_python.worker.main import WorkerOptions, run_worker
from stepflow_python.worker.service import JobService


@click.command("worker")
@click.option("--concurrency", type=click.IntRange(1, 1024), metavar="N", help="Executions at a time.")
@click.option("--queues", metavar="Q", help="Queues to take from, separated by commas.")
def worker(*, concurrency: int | None, queues: str | None) -> None:
    """Run what is submitted, until stopped: at the first SIGTERM or Ctrl-C running tools finish, at the second not."""
    session = open_session()
    loop = LoopThread()
    opened = open_runtime(session.settings, environ=session.environ)
    try:
        runtime = loop.call(opened.__aenter__())
        try:
            code = run_worker(
                session.settings,
                jobs=JobService(runtime, loop),
                isolation=loop.call(runtime.sandbox.isolation()),
                announce=lambda text: write(f"{text}\n"),
                options=WorkerOptions(concurrency=concurrency, queues=queues),
            )
        finally:
            loop.call(opened.__aexit__(None, None, None))
    finally:
        loop.close()
    click.get_current_context().exit(code)
