"""`stepflow logs`: what a tool prints, while it runs and after."""

import asyncio
import sys

import click

from stepflow_python.cli.session import open_session
from stepflow_python.client.client import open_client
from stepflow_python.config import Settings

LOOK_S = 1.0


@click.command("logs")
@click.argument("execution_id", metavar="ID")
@click.option("-f", "--follow", is_flag=True, help="Go on until it has ended; wait for one that is queued.")
def logs(*, execution_id: str, follow: bool) -> None:
    """Print what an execution has printed: its stdout on stdout, its stderr on stderr."""
    asyncio.run(_logs(open_session().settings, execution_id, follow=follow))


async def _logs(settings: Settings, execution_id: str, *, follow: bool) -> None:
    streams = {"stdout": sys.stdout, "stderr": sys.stderr}
    async with open_client(settings) as client:
        async for printed in client.follow(execution_id, for_s=None if follow else LOOK_S):
            streams[printed.stream].write(printed.text)
            streams[printed.stream].flush()
