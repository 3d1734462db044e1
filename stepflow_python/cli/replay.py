"""`stepflow replay`: a recorded execution once more, in the same bytes."""

import asyncio
from dataclasses import dataclass, replace
from pathlib import Path

import click

from stepflow_python.bootstrap.runtime import open_runtime
from stepflow_python.cli.progress import watched
from stepflow_python.cli.requests import env_option, environment_of, file_option, files_of
from stepflow_python.cli.results import Manner, prepare_output, refusal, tell
from stepflow_python.cli.run import execute_until_stopped
from stepflow_python.cli.session import Session, open_session, trace
from stepflow_python.errors import PythonError
from stepflow_python.jobs.replay import replay_request
from stepflow_python.model.request import new_execution_id
from stepflow_python.model.result import ExecutionResult
from stepflow_python.ports import Progress


@dataclass(frozen=True, slots=True, kw_only=True)
class _Given:
    """What the record has the names of, given again."""

    files: dict[str, bytes]
    env: dict[str, str]


@click.command("replay")
@click.argument("replayed", metavar="ID")
@file_option
@env_option
@click.option("--id", "execution_id", metavar="ID", help="The new execution's id.")
@click.option(
    "--output", type=click.Path(path_type=Path), metavar="DIR", help="Keep the files that the tool leaves, in DIR."
)
@click.option("-v", "--verbose", is_flag=True, help="Tell what takes time, and how it ended.")
@click.option("--json", "json_", is_flag=True, help="Print one ExecutionResult as JSON, nothing else.")
def replay(  # noqa: PLR0913 - click hands over each option by its name
    replayed: str,
    *,
    file: tuple[tuple[str, str], ...],
    env: tuple[tuple[str, str | None], ...],
    execution_id: str | None,
    output: Path | None,
    verbose: bool,
    json_: bool,
) -> None:
    """Run a recorded execution again, in an environment of exactly its recorded lock."""
    new_id = execution_id or new_execution_id()
    manner = Manner(json=json_, verbose=verbose, called=False, output=output)
    try:
        session = open_session()
        prepare_output(output)
        given = _Given(
            files=files_of(file, limit=session.settings.max_work_bytes), env=environment_of(env, session.environ)
        )
        with watched(verbose=verbose) as progress:
            result, called = asyncio.run(_replay(session, replayed, new_id, given, progress))
        manner = replace(manner, called=called)
    except PythonError as error:
        trace()
        result = refusal(error, new_id)
    click.get_current_context().exit(tell(result, manner))


async def _replay(
    session: Session, replayed: str, new_id: str, given: _Given, progress: Progress
) -> tuple[ExecutionResult, bool]:
    """The new execution's result, and whether it called a function."""
    async with open_runtime(session.settings, environ=session.environ) as runtime:
        recipe = await runtime.history.recipe(replayed)
        request = replay_request(recipe, replayed=replayed, execution_id=new_id, files=given.files, env=given.env)
        result = await execute_until_stopped(runtime, request, progress=progress)
        return result, request.function_name is not None
