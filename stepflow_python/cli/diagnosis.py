"""What `stepflow doctor` finds out: each question is really asked, and none depends on another's answer."""

import asyncio
import os
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

import uv
from pydantic import JsonValue

from stepflow_python.bootstrap.runtime import cache_options, sandbox_config
from stepflow_python.config import Settings, default_home
from stepflow_python.environments.cache import EnvironmentCache
from stepflow_python.errors import PythonError
from stepflow_python.messaging.app import REDIS_SCHEMES, broker_name, broker_scheme, make_app
from stepflow_python.model.values import Value
from stepflow_python.process.run import run_command
from stepflow_python.sandbox.service import HostSandbox
from stepflow_python.store.migrate import check as check_schema
from stepflow_python.store.urls import place_of

PATIENCE_S = 10.0
CONNECT_S = 3.0
# To the last @ of the word: a password may hold any of the characters that end it in a proper URL.
PASSWORD = re.compile(r"(://[^:/@?#]*:)\S*@")
QUERY_SECRET = re.compile(r"((?:password|passwd|secret|token|key)[^=&;]*=)[^&;]*", re.IGNORECASE)
HIDDEN = "***"


class Finding(Value):
    """An answer about one part of the host; `detail` says more, or what is wrong and what to do."""

    part: str
    fine: bool
    answer: str
    detail: tuple[str, ...] = ()


class SettingLine(Value):
    """One setting as it is now; secrets are hidden."""

    variable: str
    value: str
    default: str
    unit: str
    description: str
    given: bool
    """Whether it comes from the environment."""


class Diagnosis(Value):
    """All findings; `usable` when a tool could run here."""

    usable: bool
    version: str
    findings: tuple[Finding, ...]
    settings: tuple[SettingLine, ...]


NEEDED = ("isolation", "interpreters", "database")
"""Parts without which no tool runs; a broker is needed by `submit` and `worker` only."""


async def diagnose(settings: Settings, environ: Mapping[str, str]) -> Diagnosis:
    """Ask everything at once."""
    cache = EnvironmentCache(settings.environments_path, environ=environ, options=cache_options(settings))
    questions: Sequence[tuple[str, Callable[[], Awaitable[Finding]]]] = (
        ("isolation", lambda: _isolation(settings, environ)),
        ("interpreters", lambda: _interpreters(cache)),
        ("installer", lambda: _installer(environ)),
        ("database", lambda: _database(settings)),
        ("broker", lambda: _broker(settings)),
    )
    findings = await asyncio.gather(*(_asked(part, question) for part, question in questions))
    return Diagnosis(
        usable=all(finding.fine for finding in findings if finding.part in NEEDED),
        version=version("stepflow-python"),
        findings=tuple(findings),
        settings=tuple(setting_lines(settings, environ)),
    )


async def _asked(part: str, question: Callable[[], Awaitable[Finding]]) -> Finding:
    """The answer, or why there is none: a diagnosis tells of every failure and fails of none."""
    try:
        async with asyncio.timeout(PATIENCE_S):
            return await question()
    except TimeoutError:
        return Finding(part=part, fine=False, answer=f"no answer within {PATIENCE_S:g} s")
    except PythonError as error:
        return Finding(part=part, fine=False, answer=masked(error.message))
    except Exception as error:  # noqa: BLE001 - whatever a driver raises is the answer to the question
        return Finding(part=part, fine=False, answer=masked(f"{type(error).__name__}: {error}"))


async def _isolation(settings: Settings, environ: Mapping[str, str]) -> Finding:
    config = sandbox_config(settings, environ)
    sandbox = HostSandbox(config)
    try:
        report = await sandbox.isolation()
    finally:
        await sandbox.close()
    fine = report.tier.rank >= config.min_isolation.rank
    demand = () if fine else (f"MIN_ISOLATION asks for {config.min_isolation}: no tool runs here",)
    return Finding(
        part="isolation",
        fine=fine,
        answer=f"{report.tier}, memory held by {report.memory}",
        detail=(f"launcher: {report.launcher or 'none'}", *demand, *report.reasons),
    )


async def _interpreters(cache: EnvironmentCache) -> Finding:
    found = await cache.interpreters()
    return Finding(
        part="interpreters",
        fine=bool(found),
        answer=", ".join(one.version for one in found) or "none found; install CPython, or set INTERPRETER_PATH",
        detail=tuple(f"{one.version}: {one.executable}" for one in found),
    )


async def _installer(environ: Mapping[str, str]) -> Finding:
    program = uv.find_uv_bin()
    done = await run_command([program, "--version"], env=environ, timeout_s=CONNECT_S)
    said = (done.stdout or done.stderr).decode("utf-8", "replace").strip()
    return Finding(
        part="installer",
        fine=done.returncode == 0,
        answer=f"{said}, virtualenv {version('virtualenv')}",
        detail=(f"uv: {program}",),
    )


async def _database(settings: Settings) -> Finding:
    place = place_of(settings.database)
    state = await asyncio.to_thread(check_schema, settings.database)
    fine = place.file is None or _writable(place.file)
    due = f"schema {state.current or 'none'}; the next use makes it {state.head}"
    schema = due if state.behind else f"schema {state.head}"
    remedy = () if fine else ("its folder or file cannot be written; correct HOME or DATABASE_URL",)
    return Finding(part="database", fine=fine, answer=str(place), detail=(schema, *remedy))


def _writable(file: Path) -> bool:
    """Whether a file, or the nearest folder above where it would be made, can be written."""
    there = next(path for path in (file, *file.parents) if path.exists())
    return os.access(there, os.W_OK)


async def _broker(settings: Settings) -> Finding:
    name = broker_name(settings)
    options = {}
    if broker_scheme(settings) in REDIS_SCHEMES:
        options = {"transport_options": {"socket_connect_timeout": CONNECT_S, "socket_timeout": CONNECT_S}}

    def connect() -> None:
        with make_app(settings).connection_for_write(connect_timeout=CONNECT_S, **options) as connection:
            connection.ensure_connection(max_retries=1, interval_start=0, timeout=CONNECT_S)

    try:
        await asyncio.to_thread(connect)
    except Exception as error:  # noqa: BLE001 - each transport has errors of its own; all mean the same here
        said = masked(f"{type(error).__name__}: {error}")
        remedy = "start it, or correct BROKER_URL; `run` works without"
        return Finding(part="broker", fine=False, answer=f"{name} cannot be reached", detail=(said, remedy))
    return Finding(part="broker", fine=True, answer=f"{name} answers")


def setting_lines(settings: Settings, environ: Mapping[str, str]) -> list[SettingLine]:
    """Every setting, in the order of their declaration."""
    lines = []
    for variable, field in Settings.described().items():
        traits = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
        name = variable.removeprefix("STEPFLOW_PYTHON_").lower()
        value = shown(getattr(settings, name))
        lines.append(
            SettingLine(
                variable=variable,
                value=masked(value) if traits.get("secret") else value,
                default=str(default_home(environ)) if name == "home" else shown(field.default),
                unit=str(traits.get("unit", "")),
                description=field.description or "",
                given=variable in environ,
            )
        )
    return lines


def shown(value: object) -> str:
    """A setting's value as it would be written in its variable."""
    match value:
        case None:
            return ""
        case bool():
            return str(value).lower()
        case float():
            return f"{value:g}"
        case tuple():
            paths = any(isinstance(part, Path) for part in value)
            return (":" if paths else ",").join(map(str, value))
        case dict():
            return ",".join(f"{name}={text}" for name, text in value.items())
        case _:
            return str(value)


def masked(text: str) -> str:
    """Text without the passwords of the URLs in it."""
    return QUERY_SECRET.sub(rf"\1{HIDDEN}", PASSWORD.sub(rf"\1{HIDDEN}@", text))


def as_value(diagnosis: Diagnosis) -> JsonValue:
    """The diagnosis as JSON: each part by its name."""
    return {
        "usable": diagnosis.usable,
        "version": diagnosis.version,
        "findings": {found.part: found.model_dump(mode="json", exclude={"part"}) for found in diagnosis.findings},
        "settings": {line.variable: line.model_dump(mode="json", exclude={"variable"}) for line in diagnosis.settings},
    }
