"""Lines of a lock: a version with its hashes, and where that was built from if no registry has its wheel.

`idna==3.10 --hash=sha256:...`, `name @ https://host/name-1.0-py3-none-any.whl --hash=sha256:...`,
`name==1.0 --hash=sha256:... # built from git+https://host/name@<commit>`, whose hash is that of the wheel, or
`name==1.0 --hash=sha256:... # conda https://host/channel/noarch/name-1.0-0.conda`.
"""

import re
from dataclasses import dataclass
from urllib.parse import unquote

from packaging.utils import InvalidWheelFilename, parse_wheel_filename

from stepflow_python.environments.sources import Source, SourceKind, source_of
from stepflow_python.errors import PythonEnvironmentError
from stepflow_python.model.environment import InstalledPackage
from stepflow_python.model.module import DependencySource

_LOCKED = re.compile(
    r"(?P<name>[a-z0-9_][a-z0-9_.-]*)(?:==(?P<version>[^\s;\\#]+)| @ (?P<url>(?:https?|file)://[^\s;\\#$]+\.whl))"
    r"(?P<hashes>(?: --hash=sha(?:256|384|512):[0-9a-f]+)+)(?: # (?P<how>built from|conda) (?P<origin>\S+))?"
)
_CONDA_FILE = re.compile(
    r"(?P<place>(?:https?|file)://[^\s@?#]+)/(?P<subdir>[a-z0-9_-]+)/"
    r"(?P<file>(?P<name>[a-z0-9_][a-z0-9_.-]*)-(?P<version>[\w.!+]+)-(?P<build>[\w.+]+)\.(?:conda|tar\.bz2))"
)
_SHA256 = re.compile(r" --hash=sha256:([0-9a-f]{64})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """A wheel that is made here: `sha256` is the wheel's own, `source` is pinned."""

    name: str
    version: str
    sha256: str
    source: Source

    @property
    def line(self) -> str:
        """Its line in a lock."""
        return f"{self.name}=={self.version} --hash=sha256:{self.sha256} # built from {self.source}"


@dataclass(frozen=True, slots=True, kw_only=True)
class CondaPackage:
    """A package of a channel; `sha256` is its archive's."""

    name: str
    version: str
    build: str
    subdir: str
    sha256: str
    url: str

    @property
    def file(self) -> str:
        """The name of its archive."""
        return self.url.rpartition("/")[2]


def locked_package(line: str) -> InstalledPackage:
    """The distribution and version of a locked line, and where it is from: `local` where it is by its address.

    Raises:
        PythonEnvironmentError: it is no locked line.
    """
    locked = _match(line)
    built, conda = built_package(line), conda_package(line)
    if built is not None:
        return InstalledPackage(name=built.name, version=built.version, source=built.source.recorded_as)
    if conda is not None:
        return InstalledPackage(name=conda.name, version=conda.version, source=DependencySource.CONDA)
    if locked["url"] is None:
        return InstalledPackage(name=locked["name"], version=locked["version"])
    try:
        _, version, _, _ = parse_wheel_filename(unquote(locked["url"].rpartition("/")[2]))
    except InvalidWheelFilename as error:
        raise PythonEnvironmentError(f"{locked['url'][:120]!r} is not the name of a wheel") from error
    return InstalledPackage(name=locked["name"], version=str(version), source=DependencySource.LOCAL)


def built_package(line: str) -> Built | None:
    """What a line says is built here; none if it is as a registry or an address has it.

    Raises:
        PythonEnvironmentError: it is no locked line.
    """
    locked = _match(line)
    if locked["how"] != "built from":
        return None
    source, sha256 = source_of(locked["origin"]), _SHA256.fullmatch(locked["hashes"])
    if source is None or not source.pinned or sha256 is None or locked["version"] is None:
        raise PythonEnvironmentError(
            f"{line[:200]!r} does not say by commit or hash what {locked['name']} is built from"
        )
    return Built(name=locked["name"], version=locked["version"], sha256=sha256[1], source=source)


def conda_package(line: str) -> CondaPackage | None:
    """The package of a channel that a line names; none if it names none.

    Raises:
        PythonEnvironmentError: it is no locked line.
    """
    locked = _match(line)
    if locked["how"] != "conda":
        return None
    file, sha256 = _CONDA_FILE.fullmatch(locked["origin"]), _SHA256.fullmatch(locked["hashes"])
    same = file is not None and (file["name"], file["version"]) == (locked["name"], locked["version"])
    if file is None or sha256 is None or not same:
        raise PythonEnvironmentError(f"{line[:200]!r} does not name the archive of {locked['name']} in a channel")
    return CondaPackage(
        name=file["name"],
        version=file["version"],
        build=file["build"],
        subdir=file["subdir"],
        sha256=sha256[1],
        url=locked["origin"],
    )


def requirement_of(line: str) -> str:
    """The requirement that a locked line fulfils: the same version from the same place.

    Raises:
        PythonEnvironmentError: it is no locked line.
    """
    built, conda = built_package(line), conda_package(line)
    if conda is not None:
        return f"conda:{conda.name}=={conda.version}"
    if built is None or built.source.kind is SourceKind.SDIST:
        return line.partition(" --hash")[0]
    return f"{built.name} @ {built.source}"


def _match(line: str) -> re.Match[str]:
    locked = _LOCKED.fullmatch(line)
    if locked is None:
        raise PythonEnvironmentError(f"the installer gave {line[:120]!r}, which locks no distribution by its hashes")
    return locked
