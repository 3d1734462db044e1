"""What the installer is asked: resolve, and install what was resolved. No code of a package runs in either."""

import hashlib
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from stepflow_python.environments.failures import installer_error
from stepflow_python.environments.files import write_whole
from stepflow_python.environments.interpreters import Interpreter
from stepflow_python.environments.locked import locked_package
from stepflow_python.errors import DependencyError
from stepflow_python.process.run import Completed, run_command

# Wheels only: building from source runs the package's own code.
_COMMON = ("--quiet", "--no-progress", "--color", "never")
_WHEELS = ("--only-binary", ":all:")
# Told what it would have to ask of the source's own code, the installer does not run any.
_KNOWN = '[[dependency-metadata]]\nname = "{name}"\nrequires-dist = []\n'


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceArchive:
    """Where a registry has the source of a version, and its hash."""

    url: str
    sha256: str


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
            DependencyError: they are unknown or contradict each other, in the resolver's own words; a `NoWheelError`
                if there is a solution only with what has no wheels.
            EnvironmentUnavailableError: the registry cannot be reached.
        """
        argv = [
            str(self.program),
            "pip",
            "compile",
            *_COMMON,
            *_WHEELS,
            "--generate-hashes",
            "--no-header",
            "--no-annotate",
        ]
        argv += ["--refresh"] if refresh else []
        argv += ["--python", str(interpreter.executable), "-"]
        done = await self._run(argv, "\n".join(requirements) + "\n")
        if done.returncode != 0:
            raise installer_error(done, doing=f"resolving {', '.join(requirements)}", folder=self.folder.parent)
        return _lines(done.stdout.decode())

    async def source_archive(self, requirement: str, name: str, interpreter: Interpreter) -> SourceArchive:
        """Where the registry has the source of the newest version that fits; nothing is built, no code of it runs.

        Raises:
            DependencyError: it has none.
            EnvironmentUnavailableError: the registry cannot be reached.
        """
        known = _KNOWN.format(name=name)
        config = self.folder / "known" / f"{hashlib.sha256(known.encode()).hexdigest()}.toml"
        write_whole(config, known.encode(), durable=False)
        argv = [str(self.program), "pip", "compile", *_COMMON, "--no-deps", "--no-binary", name, "--no-header"]
        argv += ["--config-file", str(config), "--format", "pylock.toml", "--python", str(interpreter.executable), "-"]
        done = await self._run(argv, requirement + "\n")
        if done.returncode != 0:
            raise installer_error(done, doing=f"looking for the source of {requirement}", folder=self.folder.parent)
        try:
            archive = tomllib.loads(done.stdout.decode())["packages"][0]["sdist"]
            return SourceArchive(url=archive["url"], sha256=archive["hashes"]["sha256"])
        except (KeyError, IndexError, tomllib.TOMLDecodeError) as error:
            raise DependencyError(
                f"{requirement}: the registry has neither a wheel for this machine nor its source"
            ) from error

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
        argv = [str(self.program), "pip", "sync", *_COMMON, *_WHEELS, "--require-hashes", "--link-mode", "hardlink"]
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


def _lines(output: str) -> tuple[str, ...]:
    joined = output.replace("\\\n", " ").splitlines()
    lines = tuple(" ".join(line.split()) for line in joined if line.strip() and not line.lstrip().startswith("#"))
    for line in lines:
        locked_package(line)
    return lines
