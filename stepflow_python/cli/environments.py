"""`stepflow env`: environments that tools run in."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeVar

import click

from stepflow_python.bootstrap.runtime import Runtime, environment_limits, open_runtime
from stepflow_python.cli.columns import Column
from stepflow_python.cli.history import moment
from stepflow_python.cli.progress import watched
from stepflow_python.cli.render import as_json, emit_json, line, mebibytes, note, table, times
from stepflow_python.cli.session import open_session
from stepflow_python.environments.surplus import Limits, Size
from stepflow_python.errors import PythonEnvironmentError
from stepflow_python.model.environment import Environment, EnvironmentId
from stepflow_python.ports import EnvironmentSpec, Steps

T = TypeVar("T")

COLUMNS = (
    Column(title="id"),
    Column(title="python"),
    Column(title="last used"),
    Column(title="packages", flexible=True),
)

json_option = click.option("--json", "json_", is_flag=True, help="Print JSON, nothing else.")


@click.group("env")
def env() -> None:
    """Environments that tools run in. They are made when a tool needs one, and named by what is in them."""


@env.command("list")
@json_option
def list_(*, json_: bool) -> None:
    """List all finished environments, the one used last first."""
    found = _asked(_all)
    if json_:
        emit_json([as_json(environment) for environment, _used in found])
    elif found:
        table(COLUMNS, [_row(environment, used) for environment, used in found])
    else:
        note("there are none yet; they are made when a tool needs one, or by `stepflow env create`")


@env.command("create")
@click.option("--with", "requirements", multiple=True, metavar="REQ", help="A requirement, such as 'requests>=2'.")
@click.option("--python", metavar="V", help="Python version, such as 3.12.")
@click.option("--refresh", is_flag=True, help="Resolve anew, whatever was resolved before.")
@json_option
def create(*, requirements: tuple[str, ...], python: str | None, refresh: bool, json_: bool) -> None:
    """Make the environment of some requirements, or find it; prints its id."""
    spec = EnvironmentSpec(requirements=requirements, python=python)
    with watched() as progress:
        environment = _asked(
            lambda runtime: runtime.environments.ensure(spec, steps=Steps(progress=progress), refresh=refresh)
        )
    if json_:
        emit_json(as_json(environment))
    else:
        line(environment.id)


@env.command("show")
@click.argument("environment_id", metavar="ID")
@json_option
def show(*, environment_id: str, json_: bool) -> None:
    """Show what is in an environment; the start of its ID will do."""
    seen = _asked(lambda runtime: _seen(runtime, environment_id))
    found = seen.environment
    if json_:
        used = seen.used.isoformat()
        emit_json({**as_json(found), "bytes": seen.bytes, "last_used": used, "build_times": {**seen.times}})
        return
    facts = {
        "id": found.id,
        "python": found.python_version,
        "path": found.path,
        "made from": found.base_prefix,
        "size": f"{mebibytes(seen.bytes // 1024)}, shared files included",
        "last used": moment(seen.used),
        "built in": times(seen.times),
    }
    for name, value in facts.items():
        if value:
            line(f"{name + ':':<12} {value}")
    for package in found.packages:
        line(f"package:     {package.name} {package.version} ({package.source})")


@env.command("remove")
@click.argument("environment_ids", metavar="ID...", nargs=-1, required=True)
@json_option
def remove(*, environment_ids: tuple[str, ...], json_: bool) -> None:
    """Remove environments; the next tool that needs one makes it again. The start of an ID will do."""
    _tell_removed(_asked(lambda runtime: _removed(runtime, environment_ids)), json_=json_)


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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    """An environment, its size on the disk in bytes, and how long each step of its build took, in ms."""

    environment: Environment
    used: datetime
    times: Mapping[str, float]
    bytes: int


async def _all(runtime: Runtime) -> list[tuple[Environment, datetime]]:
    found = [(environment, _used(runtime, environment.id)) for environment in await runtime.environments.list()]
    return sorted(found, key=lambda one: one[1], reverse=True)


async def _seen(runtime: Runtime, text: str) -> _Seen:
    found = await runtime.environments.get(_meant(runtime, text))
    return _Seen(
        environment=found,
        used=_used(runtime, found.id),
        times=runtime.environments.build_times(found.id),
        bytes=sum(Size.of(found.path).files.values()),
    )


async def _removed(runtime: Runtime, texts: Sequence[str]) -> list[str]:
    meant = list(dict.fromkeys(_meant(runtime, text) for text in texts))
    for environment_id in meant:
        await runtime.environments.remove(environment_id)
    return [*meant]


def _meant(runtime: Runtime, text: str) -> EnvironmentId:
    """The id that starts so; the text as it is where none does, which is an error that names those there are.

    Raises:
        PythonEnvironmentError: several start so.
    """
    found = sorted(one for one in runtime.environments.ids() if one.startswith(text))
    if len(found) > 1 and text not in found:
        raise PythonEnvironmentError(f"several environments start with {text!r}: {', '.join(found)}; give more of it")
    return found[0] if len(found) == 1 else EnvironmentId(text)


def _used(runtime: Runtime, environment_id: EnvironmentId) -> datetime:
    return datetime.fromtimestamp(runtime.environments.last_used(environment_id), UTC)


def _asked(question: Callable[[Runtime], Awaitable[T]]) -> T:
    session = open_session()

    async def ask() -> T:
        async with open_runtime(session.settings, environ=session.environ) as runtime:
            return await question(runtime)

    return asyncio.run(ask())


def _row(environment: Environment, used: datetime) -> tuple[str, ...]:
    packages = ", ".join(f"{package.name} {package.version}" for package in environment.packages)
    return environment.id, environment.python_version, moment(used), packages or "-"


def _tell_removed(removed: list[str], *, json_: bool) -> None:
    if json_:
        emit_json({"removed": list(removed)})
        return
    for environment_id in removed:
        line(environment_id)
    note(f"{len(removed)} removed")
