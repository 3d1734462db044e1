"""Packages of conda channels, linked into a virtualenv beside what the registry gave.

A virtualenv's folder is laid out as a conda prefix is, so it serves as one. The interpreter stays the virtualenv's own:
to the solver it is a package that is already there. None of a package's scripts run.
"""

import asyncio
import hashlib
import shutil
import tempfile
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from packaging.requirements import Requirement

from stepflow_python.environments.fetching import Fetcher
from stepflow_python.environments.files import write_whole
from stepflow_python.environments.interpreters import Interpreter
from stepflow_python.environments.locked import CondaPackage, conda_package
from stepflow_python.environments.requirements import CONDA
from stepflow_python.environments.sources import Source, SourceKind
from stepflow_python.environments.threads import in_thread
from stepflow_python.errors import DependencyError, EnvironmentUnavailableError, PythonEnvironmentError

if TYPE_CHECKING:
    from rattler import RepoDataRecord

_OURS = frozenset({"python", "python_abi"})
_NOT_HERE = (
    "packages from conda need py-rattler; have the operator install it with `pip install 'stepflow-python[conda]'`"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Conda:
    """Solves against channels and links what was solved; `folder` keeps archives and what channels have.

    `env` is the installer's: proxies and certificates. `timeout_s` bounds each step.
    """

    channels: tuple[str, ...]
    folder: Path
    env: Mapping[str, str]
    timeout_s: float

    async def lock(
        self, requirements: Sequence[str], interpreter: Interpreter, *, refresh: bool = False
    ) -> tuple[str, ...]:
        """The lines of all packages that checked requirements (`conda:name>=1`) need.

        `refresh` asks the channels what they have, whatever they said before.

        Raises:
            DependencyError: no solution, in the solver's own words.
            EnvironmentUnavailableError: a channel cannot be reached, or py-rattler is not installed.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=self.folder, prefix=".asked-") as anew:
                said = Path(anew) if refresh else self.folder / "channels"
                return await in_thread(self._solved, requirements, interpreter, said)
        except ImportError as error:
            raise EnvironmentUnavailableError(_NOT_HERE) from error

    async def install(self, lines: Sequence[str], prefix: Path, interpreter: Interpreter) -> None:
        """Link exactly the packages of a lock into an environment that nobody uses yet.

        Raises:
            DependencyError: an archive is gone, or not the one that was locked.
            EnvironmentUnavailableError: a channel cannot be reached, or py-rattler is not installed.
        """
        fetcher = Fetcher(env=self.env, timeout_s=self.timeout_s)
        packages = [package for line in lines if (package := conda_package(line)) is not None]
        archives = [await self._archive(package, fetcher) for package in packages]
        try:
            await in_thread(self._link, list(zip(packages, archives, strict=True)), prefix, interpreter)
        except ImportError as error:
            raise EnvironmentUnavailableError(_NOT_HERE) from error

    def check(self, lock: Sequence[str]) -> None:
        """Raise a `DependencyError` where a lock that came from outside names another place than the channels."""
        for package in filter(None, map(conda_package, lock)):
            if not package.url.startswith(self._bases()):
                raise DependencyError(f"{package.url} is in none of the channels {', '.join(self.channels)}")

    def _bases(self) -> tuple[str, ...]:
        try:
            from rattler import Channel  # noqa: PLC0415 - 80 MB, which only whoever uses conda should load
        except ImportError as error:
            raise EnvironmentUnavailableError(_NOT_HERE) from error
        return tuple(Channel(channel).base_url for channel in self.channels)

    def _solved(self, requirements: Sequence[str], interpreter: Interpreter, said: Path) -> tuple[str, ...]:
        from rattler import Gateway, Subdir, VirtualPackage, solve  # noqa: PLC0415 - see above
        from rattler.exceptions import GatewayError, SolverError  # noqa: PLC0415 - see above

        asked = (Requirement(line.removeprefix(CONDA)) for line in requirements)
        specs = [f"{one.name} {one.specifier}" for one in asked]

        async def ask() -> "list[RepoDataRecord]":
            return await solve(
                list(self.channels),
                [*specs, f"python =={interpreter.version}"],
                gateway=Gateway(cache_dir=said),
                platforms=[Subdir.current(), "noarch"],
                pinned_packages=_host(interpreter),
                virtual_packages=VirtualPackage.detect(),
                timeout=timedelta(seconds=self.timeout_s),
            )

        doing = f"resolving {', '.join(requirements)} for Python {interpreter.version}"
        try:
            records = asyncio.run(ask())
        except SolverError as error:
            raise DependencyError(f"{doing}: {' '.join(str(error).split())}") from error
        except GatewayError as error:
            words = " ".join(str(error).split())
            raise EnvironmentUnavailableError(f"{doing}: a channel cannot be read now: {words}") from error
        return tuple(sorted(_line(record) for record in records if record.name.source not in _OURS))

    async def _archive(self, package: CondaPackage, fetcher: Fetcher) -> Path:
        """The file of a package, kept by its hash."""
        path = self.folder / "archives" / package.sha256 / package.file
        if not path.is_file() or hashlib.sha256(await in_thread(path.read_bytes)).hexdigest() != package.sha256:
            source = Source(kind=SourceKind.ARCHIVE, url=package.url, sha256=package.sha256)
            fetched = await fetcher.fetch(source)
            await in_thread(write_whole, path, fetched.archive)
        return path

    def _link(self, packages: Sequence[tuple[CondaPackage, Path]], prefix: Path, interpreter: Interpreter) -> None:
        from rattler import install  # noqa: PLC0415 - see above
        from rattler.exceptions import InstallerError, LinkError, TransactionError  # noqa: PLC0415 - see above

        records = [*_host(interpreter), *(_record(package, path) for package, path in packages)]
        # A place of its own: packages of two channels may have the same name, version and build, and other bytes.
        with tempfile.TemporaryDirectory(dir=self.folder, prefix=".unpacked-") as unpacked:
            linking = install(
                records,
                prefix,
                cache_dir=Path(unpacked),
                installed_packages=[],
                ignored_packages=set(_OURS),
                execute_link_scripts=False,
                show_progress=False,
            )
            try:
                asyncio.run(_awaited(linking))
            except (InstallerError, LinkError, TransactionError) as error:
                raise PythonEnvironmentError(f"linking packages from conda: {' '.join(str(error).split())}") from error
        # It names places that are gone now.
        shutil.rmtree(prefix / "conda-meta", ignore_errors=True)


def _host(interpreter: Interpreter) -> "list[RepoDataRecord]":
    """The interpreter that is there, as the packages that others ask for."""
    minor = ".".join(interpreter.version.split(".")[:2])
    versions = {"python": (interpreter.version, "0_cpython"), "python_abi": (minor, f"0_{interpreter.tag}")}
    return [
        _record(
            CondaPackage(name=name, version=version, build=build, subdir="", sha256="", url=""),
            Path(f"/host/{name}-{version}-{build}.conda"),
        )
        for name, (version, build) in versions.items()
    ]


def _record(package: CondaPackage, path: Path) -> "RepoDataRecord":
    from rattler import BuildString, PackageRecord, RepoDataRecord, Subdir  # noqa: PLC0415 - see above

    record = PackageRecord(
        package.name,
        package.version,
        BuildString(package.build),
        0,
        package.subdir or Subdir.current(),
        sha256=bytes.fromhex(package.sha256) or None,
    )
    return RepoDataRecord(record, path.name, path.as_uri(), path.parent.as_uri())


def _line(record: "RepoDataRecord") -> str:
    """Its line in a lock."""
    if record.sha256 is None:
        raise DependencyError(f"{record.url}: the channel has no hash of it; choose another channel")
    line = f"{record.name.source}=={record.version} --hash=sha256:{record.sha256.hex()} # conda {record.url}"
    conda_package(line)
    return line


async def _awaited(work: Awaitable[None]) -> None:
    await work
