"""What the installer is asked: resolve, and install what was resolved. No code of a package runs in either."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from packaging.utils import InvalidWheelFilename, parse_wheel_filename

from stepflow_python.environments.failures import installer_error
from stepflow_python.environments.interpreters import Interpreter
from stepflow_python.errors import PythonEnvironmentError
from stepflow_python.model.environment import InstalledPackage
from stepflow_python.model.module import DependencySource
from stepflow_python.process.run import Completed, run_command

# Wheels only: building from source runs the package's own code.
_COMMON = ("--quiet", "--no-progress", "--color", "never", "--only-binary", ":all:")
_LOCKED = re.compile(
    r"(?P<name>[a-z0-9][a-z0-9-]*)(?:==(?P<version>[^\s;\\]+)| @ (?P<url>(?:https?|file)://[^\s;\\#$]+\.whl))"
    r"(?: --hash=sha(?:256|384|512):[0-9a-f]+)+"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Installer:
    """The program `uv`, with all that it is told by its environment.

    `folder` is where it starts. It holds an empty configuration file of the installer's, so that none is taken from
    a project whose folder happens to lie above.
    """

    program: Path
    version: str
    env: Mapping[str, str]
    folder: Path
    timeout_s: float

    async def resolve(
        self, requirements: Sequence[str], interpreter: Interpreter, *, refresh: bool = False
    ) -> tuple[str, ...]:
        """One line `name==version --hash=...` for each distribution that the requirements need.

        Raises:
            DependencyError: they are unknown or contradict each other, in the resolver's own words.
            EnvironmentUnavailableError: the registry cannot be reached.
        """
        argv = [str(self.program), "pip", "compile", *_COMMON, "--generate-hashes", "--no-header", "--no-annotate"]
        argv += ["--refresh"] if refresh else []
        argv += ["--python", str(interpreter.executable), "-"]
        done = await self._run(argv, "\n".join(requirements) + "\n")
        if done.returncode != 0:
            raise installer_error(done, doing=f"resolving {', '.join(requirements)}", folder=self.folder.parent)
        return _lines(done.stdout.decode())

    async def install_cached(self, lock: Sequence[str], python: Path, *, hold: int) -> bool:
        """Install exactly the lock into a virtualenv if all of it is cached; whether it was.

        Asking the registry whether the cache is right costs more than installing from it; hashes prove it anyway.

        Args:
            lock: lines as `resolve` gives them.
            python: the virtualenv's own interpreter.
            hold: descriptor of the lock that the installer must keep while it lives.
        """
        return (await self._sync(lock, python, "--offline", hold=hold)).returncode == 0

    async def install(self, lock: Sequence[str], python: Path, *, hold: int) -> None:
        """Install exactly the lock, fetching what is not cached; arguments as above.

        Raises:
            EnvironmentUnavailableError: the registry cannot be reached, or the disk is full.
            DependencyError: a file is not the one that was locked.
        """
        done = await self._sync(lock, python, hold=hold)
        if done.returncode != 0:
            raise installer_error(done, doing=f"installing {len(lock)} packages", folder=self.folder.parent)

    async def _sync(self, lock: Sequence[str], python: Path, *options: str, hold: int) -> Completed:
        argv = [str(self.program), "pip", "sync", *_COMMON, "--require-hashes", "--link-mode", "hardlink"]
        return await self._run([*argv, "--python", str(python), *options, "-"], "\n".join(lock) + "\n", hold)

    async def forget(self, names: Sequence[str]) -> None:
        """Remove all versions of some distributions from the cache of downloads; they are fetched when needed again."""
        await self._run([str(self.program), "cache", "clean", "--quiet", *names], "")

    async def _run(self, argv: Sequence[str], text: str, *hold: int) -> Completed:
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "uv.toml").touch()
        return await run_command(
            argv, env=self.env, cwd=self.folder, timeout_s=self.timeout_s, input=text.encode(), pass_fds=hold
        )


def locked_package(line: str) -> InstalledPackage:
    """The distribution and version of a locked line; `local` where it is a wheel by its address.

    Raises:
        PythonEnvironmentError: it is no locked line.
    """
    locked = _LOCKED.fullmatch(line)
    if locked is None:
        raise PythonEnvironmentError(f"the installer gave {line[:120]!r}, which locks no distribution by its hashes")
    if locked["url"] is None:
        return InstalledPackage(name=locked["name"], version=locked["version"])
    try:
        _, version, _, _ = parse_wheel_filename(unquote(locked["url"].rpartition("/")[2]))
    except InvalidWheelFilename as error:
        raise PythonEnvironmentError(f"{locked['url'][:120]!r} is not the name of a wheel") from error
    return InstalledPackage(name=locked["name"], version=str(version), source=DependencySource.LOCAL)


def _lines(output: str) -> tuple[str, ...]:
    joined = output.replace("\\\n", " ").splitlines()
    lines = tuple(" ".join(line.split()) for line in joined if line.strip() and not line.lstrip().startswith("#"))
    for line in lines:
        locked_package(line)
    return lines
