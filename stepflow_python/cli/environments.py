"""`stepflow env`: environments that tools run in."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import TypeVar

import click

from stepflow_python.bootstrap.runtime import Runtime, environment_limits, open_runtime
from stepflow_python.cli.columns import Column
from stepflow_python.cli.progress import watched
from stepflow_python.cli.render import as_json, emit_json, line, note, table
from stepflow_python.cli.session import open_session
from stepflow_python.environments.surplus import Limits
from stepflow_python.model.environment import Environment, EnvironmentId
from stepflow_python.ports import EnvironmentSpec

T = TypeVar("T")

COLUMNS = (Column(title="id"), Column(title="python"), Column(title="packages", flexible=True), Column(title="path"))

json_option = click.option("--json", "json_", is_flag=True, help="Print JSON, nothing else.")


@click.group("env")
def env() -> None:
    """Environments that tools run in. They are made when a tool needs one, and named by what is in them."""


@env.command("list")
@json_option
def list_(*, json_: bool) -> None:
    """List all finished environments."""
    found = _asked(lambda runtime: runtime.environments.list())
    if json_:
        emit_json([as_json(environment) for environment in found])
    else:
        table(COLUMNS, [_row(environment) for environment in found])


@env.command("create")
@click.option("--with", "requirements", multiple=True, metavar="REQ", help="A requirement, such as 'requests>=2'.")
@click.option("--python", metavar="V", help="Python version, such as 3.12.")
@click.option("--refresh", is_flag=True, help="Resolve anew, whatever was resolved before.")
@json_option
def create(*, requirements: tuple[str, ...], python: str | None, refresh: bool, json_: bool) -> None:
    """Make the environment of some requirements, or find it; prints its id."""
    spec = EnvironmentSpec(requirements=requirements, python=python)
    with watched() as progress:
        environment = _asked(lambda runtime: runtime.environments.ensure(spec, progress=progress, refresh=refresh))
    if json_:
        emit_json(as_json(environment))
    else:
        line(environment.id)


@env.command("show")
@click.argument("environment_id", metavar="ID")
@json_option
def show(*, environment_id: str, json_: bool) -> None:
    """Show what is in an environment."""
    found, times, used = _asked(lambda runtime: _looked_up(runtime, EnvironmentId(environment_id)))
    if json_:
        emit_json(as_json(found))
        return
    facts = {"id": found.id, "python": found.python_version, "path": found.path, "made from": found.base_prefix}
    for name, value in facts.items():
        line(f"{name + ':':<12} {value}")
    line(f"last used:   {used:%Y-%m-%d %H:%M:%S} UTC")
    if times:
        line(f"built in:    {', '.join(f'{step} {took:g} ms' for step, took in times.items())}")
    for package in found.packages:
        line(f"package:     {package.name} {package.version} ({package.source})")


@env.command("remove")
@click.argument("environment_id", metavar="ID")
@json_option
def remove(*, environment_id: str, json_: bool) -> None:
    """Remove an environment; the next tool that needs it makes it again."""
    _asked(lambda runtime: runtime.environments.remove(EnvironmentId(environment_id)))
    _tell_removed([environment_id], json_=json_)


@env.command("gc")
@click.option("--keep", type=click.IntRange(0), metavar="N", help="How many stay (default: MAX_ENVIRONMENTS).")
@click.option("--bytes", "bytes_", type=click.IntRange(0), metavar="N", help="How much disk they may take together.")
@json_option
def gc(*, keep: int | None, bytes_: int | None, json_: bool) -> None:
    """Remove the least recently used environments over the number that is kept, but for those in use."""
    limits = environment_limits(open_session().settings)
    wanted = Limits(
        environments=limits.environments if keep is None else keep, bytes=limits.bytes if bytes_ is None else bytes_
    )
    _tell_removed(list(_asked(lambda runtime: runtime.environments.collect(wanted))), json_=json_)


async def _looked_up(runtime: Runtime, environment_id: EnvironmentId) -> tuple[Environment, dict[str, float], datetime]:
    environments = runtime.environments
    found = await environments.get(environment_id)
    used = datetime.fromtimestamp(environments.last_used(environment_id), UTC)
    return found, environments.build_times(environment_id), used


def _asked(question: Callable[[Runtime], Awaitable[T]]) -> T:
    session = open_session()

    async def ask() -> T:
        async with open_runtime(session.settings, environ=session.environ) as runtime:
            return await question(runtime)

    return asyncio.run(ask())


def _row(environment: Environment) -> tuple[str, ...]:
    packages = ", ".join(f"{package.name} {package.version}" for package in environment.packages)
    return environment.id, environment.python_version, packages or "-", str(environment.path)


def _tell_removed(removed: list[str], *, json_: bool) -> None:
    if json_:
        emit_json({"removed": list(removed)})
        return
    for environment_id in removed:
        line(environment_id)
    note(f"{len(removed)} removed")
