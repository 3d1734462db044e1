"""Wheels built here from source: in the sandbox, without network, kept by their hash."""

import hashlib
import json
import re
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename
from pydantic import JsonValue, ValidationError

from stepflow_python.environments.exclusive import exclusive
from stepflow_python.environments.failures import NoWheelError
from stepflow_python.environments.fetching import Fetched, Fetcher
from stepflow_python.environments.files import write_whole
from stepflow_python.environments.installer import Installer
from stepflow_python.environments.interpreters import Interpreter
from stepflow_python.environments.locked import Built, built_package
from stepflow_python.environments.requirements import checked
from stepflow_python.environments.sources import Source, SourceKind
from stepflow_python.errors import DependencyError, EnvironmentUnavailableError
from stepflow_python.model.environment import Environment
from stepflow_python.model.limits import Limits
from stepflow_python.model.module import Parameter, ParameterKind
from stepflow_python.model.request import new_execution_id
from stepflow_python.model.result import SandboxOutcome, Status
from stepflow_python.model.security import IsolationTier, SecuritySettings
from stepflow_python.model.values import Value
from stepflow_python.ports import Sandbox, SandboxRun, Steps

T = TypeVar("T", bound=Value)

EnvironmentOf = Callable[[tuple[str, ...], str], AbstractAsyncContextManager[Environment]]
"""An environment of wheels by its requirements and its version of Python, in use."""

_LAYOUT = 1
_TOOL = Path(__file__).parents[1] / "guest" / "source_build.py"
_ARCHIVE = "source.archive"
_MIB = 1024 * 1024
_READS_TOML = ">=3.11"
_SAID = 1500
_FILE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.!+-]*\.whl")
# Archives cannot tell times before 1980; any fixed one makes the same bytes of the same source.
_EPOCH = "1577836800"
_VARIABLES = {"LANG": "C.UTF-8", "LC_ALL": "C.UTF-8", "TMPDIR": "/tmp", "SOURCE_DATE_EPOCH": _EPOCH}  # noqa: S108 - inside the box


class _Recipe(Value):
    """What a project says of its build."""

    requires: tuple[str, ...]
    backend: str
    backend_path: tuple[str, ...] = ()


class _Made(Value):
    """What a build came to."""

    missing: tuple[str, ...] = ()
    wheel: str = ""


class _Note(Value):
    """Which wheel a source was built into."""

    name: str
    version: str
    sha256: str
    file: str
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Wheel:
    """A wheel that is there; `built` is what a lock says of it."""

    built: Built
    path: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Wheels:
    """Builds wheels, each source once for each interpreter; `folder` keeps them.

    `environment_of` makes what a build needs, of wheels only. `timeout_s` bounds each step.
    """

    folder: Path
    sandbox: Sandbox
    environment_of: EnvironmentOf
    timeout_s: float

    async def of(
        self, name: str, source: Source, interpreter: Interpreter, installer: Installer, steps: Steps, *, url: str = ""
    ) -> Wheel:
        """The wheel of a source, built if nobody has; `url` is where a registry's archive lies.

        Raises:
            DependencyError: it cannot be had, is no source of that name, or its build failed, in its own words.
            EnvironmentUnavailableError: it cannot be had now, or no box holds well enough here.
        """
        if source.pinned and (known := self._known(name, source, interpreter)) is not None:
            return known
        fetcher = Fetcher(env=installer.env, timeout_s=self.timeout_s)
        with steps.step(f"fetching {name}"):
            fetched = await fetcher.fetch(source, url=url)
        note = self._note(name, fetched.source, interpreter)
        async with exclusive(note.with_suffix(".lock"), timeout_s=self.timeout_s):
            # Whoever held the lock before us may just have built it.
            known = self._known(name, fetched.source, interpreter)
            if known is not None:
                return known
            with steps.step(f"building {name}"):
                return await self._build(name, fetched, interpreter)

    async def installable(
        self, lock: Sequence[str], interpreter: Interpreter, installer: Installer, steps: Steps
    ) -> tuple[str, ...]:
        """The lines of a lock as the installer takes them: those built here by the file that was built.

        Raises:
            DependencyError: one has to be built again, and came to another wheel than was recorded; or as above.
        """
        lines = []
        for line in lock:
            built = built_package(line)
            if built is None:
                lines.append(line)
                continue
            path = self._kept(built.sha256) or (await self._again(built, interpreter, installer, steps)).path
            lines.append(f"{built.name} @ {path.as_uri()} --hash=sha256:{built.sha256}")
        return tuple(lines)

    async def _again(self, built: Built, interpreter: Interpreter, installer: Installer, steps: Steps) -> Wheel:
        url = ""
        if built.source.kind is SourceKind.SDIST:
            url = (await installer.source_archive(f"{built.name}=={built.version}", built.name, interpreter)).url
        wheel = await self.of(built.name, built.source, interpreter, installer, steps, url=url)
        if wheel.built.sha256 != built.sha256:
            raise DependencyError(
                f"{built.name} {built.version}: {built.source} builds into another wheel here (sha256 "
                f"{wheel.built.sha256}) than the one on record; resolve its dependencies anew"
            )
        return wheel

    async def _build(self, name: str, fetched: Fetched, interpreter: Interpreter) -> Wheel:
        report = await self.sandbox.isolation()
        if report.tier is not IsolationTier.NAMESPACES:
            raise EnvironmentUnavailableError(
                f"{name} has to be built, which runs its code, and this host's isolation `{report.tier}` does not "
                f"hold that: {'; '.join(report.reasons)}"
            )
        what = f"building {name} from {fetched.source}"
        subdirectory: JsonValue = fetched.source.subdirectory
        async with self.environment_of((), _READS_TOML) as environment:
            outcome = await self._run(environment, fetched, "inspect", {"subdirectory": subdirectory})
        recipe = _answer(_Recipe, outcome, what)
        arguments: dict[str, JsonValue] = {
            "subdirectory": subdirectory,
            "backend": recipe.backend,
            "backend_path": list(recipe.backend_path),
        }
        needed, missing = checked(recipe.requires), tuple[str, ...]()
        for _ in range(2):
            needed = checked((*needed, *missing))
            async with self._tools(needed, interpreter, what) as environment:
                outcome = await self._run(environment, fetched, "build", arguments)
            made = _answer(_Made, outcome, what)
            if not made.missing:
                return self._keep(name, fetched.source, interpreter, made.wheel, outcome.files.get(made.wheel))
            missing = made.missing
        raise DependencyError(f"{what}: it goes on asking for {', '.join(missing)}")

    @asynccontextmanager
    async def _tools(self, needed: tuple[str, ...], interpreter: Interpreter, what: str) -> AsyncIterator[Environment]:
        """The environment that a build needs; of wheels only, so that no build can need itself."""
        try:
            async with self.environment_of(needed, f"=={interpreter.version}") as environment:
                yield environment
        except NoWheelError as error:
            raise DependencyError(
                f"{what}: it needs {', '.join(error.names)} for that, which has no wheel itself; publish one"
            ) from error

    async def _run(
        self, environment: Environment, fetched: Fetched, function: str, arguments: dict[str, JsonValue]
    ) -> SandboxOutcome:
        """Call a function of the tool that builds: as an unprivileged user, without network, in a place of its own."""
        path = f"{environment.path / 'bin'}:/usr/local/bin:/usr/bin:/bin"
        run = SandboxRun(
            execution_id=f"build-{new_execution_id()}",
            environment=environment,
            source=_TOOL.read_text(),
            module_name="stepflow_build",
            function=function,
            parameters=tuple(Parameter(name=name, kind=ParameterKind.POSITIONAL_OR_KEYWORD) for name in arguments),
            arguments=arguments,
            files={_ARCHIVE: fetched.archive},
            env=_VARIABLES | {"PATH": path, "VIRTUAL_ENV": str(environment.path)},
            limits=Limits(
                timeout_s=self.timeout_s,
                cpu_s=self.timeout_s,
                memory_mib=2048,
                processes=256,
                open_files=1024,
                file_bytes=512 * _MIB,
                work_bytes=1024 * _MIB,
                output_bytes=16 * _MIB,
                output_files=4,
                output_files_bytes=256 * _MIB,
            ),
            security=SecuritySettings(enable_system_calls=True),
        )
        return await self.sandbox.run(run)

    def _keep(self, name: str, source: Source, interpreter: Interpreter, file: str, content: bytes | None) -> Wheel:
        """Write a wheel that came out of a box to where it is found again; its name is a stranger's."""
        try:
            # The library lets slashes pass.
            found, version, _, _ = parse_wheel_filename(file if _FILE.fullmatch(file) else "")
        except InvalidWheelFilename as error:
            raise DependencyError(f"{name}: its build gave {file[:120]!r}, which is no name of a wheel") from error
        if content is None:
            raise DependencyError(f"{name}: its build left no {file[:120]!r} in the folder it was given")
        if canonicalize_name(found) != canonicalize_name(name):
            raise DependencyError(f"{name}: {source} is the source of {found}; declare it by that name")
        sha256 = hashlib.sha256(content).hexdigest()
        write_whole(self.folder / sha256 / file, content)
        note = _Note(name=name, version=str(version), sha256=sha256, file=file, source=str(source))
        write_whole(self._note(name, source, interpreter), note.model_dump_json().encode())
        return self._wheel(note, source)

    def _known(self, name: str, source: Source, interpreter: Interpreter) -> Wheel | None:
        try:
            note = _Note.model_validate_json(self._note(name, source, interpreter).read_bytes())
        except (OSError, ValidationError):
            return None
        return self._wheel(note, source) if (self.folder / note.sha256 / note.file).is_file() else None

    def _wheel(self, note: _Note, source: Source) -> Wheel:
        built = Built(name=note.name, version=note.version, sha256=note.sha256, source=source)
        return Wheel(built=built, path=self.folder / note.sha256 / note.file)

    def _kept(self, sha256: str) -> Path | None:
        return next((self.folder / sha256).glob("*.whl"), None)

    def _note(self, name: str, source: Source, interpreter: Interpreter) -> Path:
        text = json.dumps([_LAYOUT, name, str(source), interpreter.model_dump(mode="json")], sort_keys=True)
        return self.folder / f"{hashlib.sha256(text.encode()).hexdigest()}.json"


def _answer(kind: type[T], outcome: SandboxOutcome, what: str) -> T:
    """What a step of a build says; its own words if it failed."""
    if outcome.status is not Status.SUCCEEDED:
        said = f"{outcome.stdout.strip()}\n{outcome.stderr.strip()}".strip()
        why = outcome.error.message if outcome.error is not None else str(outcome.status)
        raise DependencyError(f"{what}: {why}. It said: {' '.join(said[-_SAID:].split()) or 'nothing'}")
    try:
        return kind.model_validate(outcome.result)
    except ValidationError as error:
        raise DependencyError(f"{what}: its build answered what no build answers") from error
