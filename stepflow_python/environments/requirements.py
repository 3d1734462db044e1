"""Requirement lines, checked before anything of them reaches the installer.

A line comes from a stranger's source. Only a name with extras, versions and a marker passes: an option
(`--index-url=...`, `-r /etc/passwd`), a path or an address would let the tool choose what the worker reads or fetches.
Where the operator allows it, addresses of wheels pass too, and of what wheels are built from.
"""

import re
from collections.abc import Iterable
from urllib.parse import urlsplit

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from stepflow_python.environments.sources import source_of
from stepflow_python.errors import DependencyError

# What PEP 508 needs without addresses. `$`, `#` and `\` mean something in a requirements file, so none may appear,
# not even in the text of a marker.
_PLAIN = re.compile(r"[A-Za-z0-9 \t._\-\[\],<>=!~;()'\"*+|/:@%?&]+")
# What an address may hold after its path: which folder of a repository, which hash an archive has.
_FRAGMENT = re.compile(r"#[A-Za-z0-9=&._/-]+(?=\s|$)")
_ADDRESS = "{} names an address; declare a registry version, or have the operator set ALLOW_ADDRESSES"
_NO_WHEEL = (
    "{} is not an address of the known forms: `name @ https://host/name-1.0-py3-none-any.whl`, an archive such as "
    "`https://host/name-1.0.tar.gz`, a repository such as `git+https://host/name@v1.0`, each also as `file:///...`, "
    "without credentials and queries"
)
_NO_BUILDS = (
    "{} would have to be built from source, which runs its code; publish a wheel, or have the operator set "
    "ALLOW_SOURCE_BUILDS: it is built in the sandbox then"
)
_SCHEMES = frozenset({"https", "http", "file"})
CONDA = "conda:"
"""What a requirement begins with that means a package of a conda channel."""
_NO_CHANNEL = (
    "{} is a package from conda, of which this worker has no channel; declare a registry version, or have the operator "
    "set CONDA_CHANNELS"
)
_NOT_CONDA = "{} is not a package from conda; write it such as 'conda:gdal>=3.8', with a name and versions only"
_LONGEST = 1000
_SHOWN = 120


def checked(
    lines: Iterable[str], *, addresses: bool = False, builds: bool = False, conda: bool = False
) -> tuple[str, ...]:
    """The requirements in one form: normalised names, sorted, each once.

    Args:
        lines: one requirement each.
        addresses: whether wheels may be named by their address.
        builds: whether that may be an address of sources.
        conda: whether there are channels to take `conda:name` from.

    Raises:
        DependencyError: a line is not a requirement on a registry's distribution; the message shows the line.
    """

    def one(line: str) -> str:
        if line.strip().startswith(CONDA):
            return _channel(line.strip(), conda=conda)
        return _checked(line, addresses=addresses, builds=builds)

    return tuple(sorted({one(line) for line in lines}))


def name_of(line: str) -> str:
    """The name in a checked requirement."""
    return Requirement(line.removeprefix(CONDA)).name


def _channel(line: str, *, conda: bool) -> str:
    shown = repr(line if len(line) <= _SHOWN else line[:_SHOWN] + "...")
    if not conda:
        raise DependencyError(_NO_CHANNEL.format(shown))
    text = line.removeprefix(CONDA).strip()
    try:
        requirement = Requirement(text if len(text) <= _LONGEST and _PLAIN.fullmatch(text) else "")
    except InvalidRequirement as error:
        raise DependencyError(_NOT_CONDA.format(shown)) from error
    if requirement.url is not None or requirement.marker is not None or requirement.extras:
        raise DependencyError(_NOT_CONDA.format(shown))
    return f"{CONDA}{requirement.name.lower()}{requirement.specifier}"


def _checked(line: str, *, addresses: bool, builds: bool) -> str:
    text = line.strip(" \t")
    shown = repr(text if len(text) <= _SHOWN else text[:_SHOWN] + "...")
    if text.startswith("-"):
        raise DependencyError(f"{shown} is an installer option, not a requirement; declare names such as 'idna>=3'")
    if not addresses and ("://" in text or text.startswith("git+")):
        raise DependencyError(_ADDRESS.format(shown))
    plain = _FRAGMENT.sub("", text, count=1) if addresses else text
    if not plain or len(text) > _LONGEST or not _PLAIN.fullmatch(plain):
        raise DependencyError(f"{shown} is not a requirement; declare one name a line, such as 'idna>=3'")
    try:
        requirement = Requirement(text)
    except InvalidRequirement as error:
        reason = str(error).splitlines()[0]
        raise DependencyError(f"{shown} is not a requirement ({reason}); write it such as 'idna>=3'") from error
    if requirement.url is not None and not addresses:
        raise DependencyError(_ADDRESS.format(shown))
    if requirement.url is not None and not _is_wheel(requirement.url):
        source = source_of(requirement.url)
        if source is None:
            raise DependencyError(_NO_WHEEL.format(shown))
        if not builds:
            raise DependencyError(_NO_BUILDS.format(shown))
    elif "#" in text:
        raise DependencyError(f"{shown} is not a requirement; declare one name a line, such as 'idna>=3'")
    requirement.name = canonicalize_name(requirement.name)
    return str(requirement)


def _is_wheel(url: str) -> bool:
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    plain = not (parts.query or parts.fragment or parts.username or parts.password)
    return plain and parts.scheme in _SCHEMES and parts.path.startswith("/") and parts.path.endswith(".whl")
