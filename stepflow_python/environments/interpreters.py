"""The interpreters of this machine, each asked once what it is, and the choice among them."""

import asyncio
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import Version
from pydantic import Field, ValidationError

from stepflow_python.environments.candidates import NEWEST, OLDEST, candidates
from stepflow_python.environments.files import write_whole
from stepflow_python.errors import PythonEnvironmentError
from stepflow_python.model.values import Value
from stepflow_python.process.run import run_command

# Valid from Python 3.8 on. A virtualenv's python answers with the installation that it was made from.
_QUESTION = """
import json, os, sys, sysconfig
v = sys.version_info
free = "t" if sysconfig.get_config_var("Py_GIL_DISABLED") else ""
print(json.dumps({
    "executable": os.path.realpath(getattr(sys, "_base_executable", None) or sys.executable),
    "version": "%d.%d.%d" % v[:3] + {"final": ""}.get(v[3], v[3][0].replace("c", "rc") + str(v[4])),
    "tag": "cp%d%d%s" % (v[0], v[1], free) if sys.implementation.name == "cpython" else "",
    "abi": sysconfig.get_config_var("SOABI") or "",
    "platform": sysconfig.get_platform(),
    "base_prefix": sys.base_prefix,
}))
"""
_ANSWER_TIMEOUT_S = 20.0
_VERSION = re.compile(r"(?:python)?(\d+(?:\.\d+){0,2})")
_FULL = 2


class Interpreter(Value):
    """A CPython installation; `tag` such as `cp311`, `abi` and `platform` as `sysconfig` gives them."""

    executable: Path
    version: str
    tag: str
    abi: str
    platform: str
    base_prefix: Path

    @property
    def supported(self) -> bool:
        """Whether guests can run on it."""
        return bool(self.tag) and OLDEST <= Version(self.version).release[:2] <= NEWEST


class _Answer(Value):
    """What a file said of itself, while it stays the same file; none if it is no interpreter."""

    mtime_ns: int
    size: int
    interpreter: Interpreter | None


class _Answers(Value):
    by_path: dict[str, _Answer] = Field(default_factory=dict)


def running_interpreter() -> Path:
    """The installation that this process runs on, also from within a virtualenv."""
    return Path(getattr(sys, "_base_executable", None) or sys.executable)


class Interpreters:
    """Finds interpreters without being told, and picks one.

    Args:
        record: the file that keeps what they answered.
        environ: variables that say where to look: PATH, HOME, PYENV_ROOT, XDG_DATA_HOME, UV_PYTHON_INSTALL_DIR.
        preferred: taken whenever it fits what is asked for.
        default: the version for a request that names none.
    """

    def __init__(
        self, *, record: Path, environ: Mapping[str, str], preferred: Path | None = None, default: str | None = None
    ) -> None:
        self._record = record
        self._environ = environ
        self._preferred = preferred
        self._default = default
        self._known: tuple[Interpreter, ...] = ()

    async def all(self) -> tuple[Interpreter, ...]:
        """All that are there: the preferred one first, then the running one, then the newest first."""
        first = [path.resolve() for path in (self._preferred, running_interpreter()) if path is not None]
        found = await self._ask(candidates(self._environ, running=running_interpreter()), first)
        rank = {path: place for place, path in enumerate(reversed(first), start=1)}
        newest = sorted(found, key=lambda one: (rank.get(one.executable, 0), Version(one.version)), reverse=True)
        self._known = tuple(newest)
        return self._known

    async def select(self, wanted: str | None) -> Interpreter:
        """The interpreter for a version (`3.12`, `3.12.1`), a specifier (`>=3.9,<3.13`), or the default.

        Raises:
            PythonEnvironmentError: none fits; the message names those there are.
        """
        if wanted is None and self._preferred is None:
            wanted = self._default
        fitting = _specifier(wanted)
        # Looked for again when none of the known ones fits: it may have been installed since.
        chosen = _first_fitting(self._known, fitting) or _first_fitting(await self.all(), fitting)
        if chosen is not None:
            return chosen
        there = ", ".join(f"{one.version} ({one.executable})" for one in self._known) or "none"
        raise PythonEnvironmentError(f"no interpreter for Python {wanted or 'at all'}; there are: {there}")

    async def _ask(self, paths: tuple[Path, ...], first: list[Path]) -> tuple[Interpreter, ...]:
        known = self._read()
        files = tuple(dict.fromkeys((*first, *paths)))
        answers = dict(
            zip(map(str, files), await asyncio.gather(*(_answer(path, known) for path in files)), strict=True)
        )
        kept = {path: answer for path, answer in answers.items() if answer is not None}
        if kept != known:
            write_whole(self._record, _Answers(by_path=kept).model_dump_json().encode())
        if self._preferred is not None:
            self._check_preferred(kept.get(str(self._preferred.resolve())))
        found = [answer.interpreter for answer in kept.values() if answer.interpreter is not None]
        return tuple({one.executable: one for one in found if one.supported}.values())

    def _check_preferred(self, answer: _Answer | None) -> None:
        if answer is None or answer.interpreter is None or not answer.interpreter.supported:
            raise PythonEnvironmentError(
                f"{self._preferred} is not CPython {'.'.join(map(str, OLDEST))} to {'.'.join(map(str, NEWEST))}; "
                "name another interpreter, or none to have one found"
            )

    def _read(self) -> dict[str, _Answer]:
        try:
            return _Answers.model_validate_json(self._record.read_bytes()).by_path
        except (OSError, ValidationError):
            return {}


def _first_fitting(interpreters: tuple[Interpreter, ...], fitting: SpecifierSet) -> Interpreter | None:
    return next((one for one in interpreters if fitting.contains(one.version, prereleases=True)), None)


async def _answer(path: Path, known: Mapping[str, _Answer]) -> _Answer | None:
    """What a file says it is; none if it cannot be asked now."""
    try:
        status = os.stat(path)  # noqa: PTH116 - one look at the disk, cheaper than a thread for it
        answer = known.get(str(path))
        if answer is not None and (answer.mtime_ns, answer.size) == (status.st_mtime_ns, status.st_size):
            return answer
        done = await run_command([str(path), "-I", "-S", "-c", _QUESTION], env={}, timeout_s=_ANSWER_TIMEOUT_S)
    except OSError:
        return None
    try:
        interpreter = Interpreter.model_validate_json(done.stdout) if done.returncode == 0 else None
    except ValidationError:
        interpreter = None
    return _Answer(mtime_ns=status.st_mtime_ns, size=status.st_size, interpreter=interpreter)


def _specifier(wanted: str | None) -> SpecifierSet:
    if wanted is None:
        return SpecifierSet()
    text = wanted.strip()
    version = _VERSION.fullmatch(text)
    if version:
        number = version[1]
        return SpecifierSet(f"=={number}" if number.count(".") == _FULL else f"=={number}.*")
    try:
        if text:
            return SpecifierSet(text)
    except InvalidSpecifier as error:
        raise PythonEnvironmentError(_malformed(wanted)) from error
    raise PythonEnvironmentError(_malformed(wanted))


def _malformed(wanted: str) -> str:
    return f"{wanted[:80]!r} is not a Python version; write it such as 3.12, 3.12.1 or >=3.9,<3.13"
