"""Requirement lines, checked before anything of them reaches the installer.

A line comes from a stranger's source. Only a name with extras, versions and a marker passes: an option
(`--index-url=...`, `-r /etc/passwd`), a path or an address would let the tool choose what the worker reads or fetches.
Where the operator allows it, addresses of wheels pass too.
"""

import re
from collections.abc import Iterable
from urllib.parse import urlsplit

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from stepflow_python.errors import DependencyError

# What PEP 508 needs without addresses. `$`, `#` and `\` mean something in a requirements file, so none may appear,
# not even in the text of a marker.
_PLAIN = re.compile(r"[A-Za-z0-9 \t._\-\[\],<>=!~;()'\"*+|/:@%?&]+")
_ADDRESS = "{} names an address; declare a registry version, or have the operator set ALLOW_ADDRESSES"
_NO_WHEEL = (
    "{} is not the address of a wheel (`name @ https://host/name-1.0-py3-none-any.whl`, or `file:///...`); "
    "a repository or a source archive would have to be built, which runs its code: publish a wheel"
)
_SCHEMES = frozenset({"https", "http", "file"})
_LONGEST = 1000
_SHOWN = 120


def checked(lines: Iterable[str], *, addresses: bool = False) -> tuple[str, ...]:
    """The requirements in one form: normalised names, sorted, each once.

    Args:
        lines: one requirement each.
        addresses: whether wheels may be named by their address.

    Raises:
        DependencyError: a line is not a requirement on a registry's distribution; the message shows the line.
    """
    return tuple(sorted({_checked(line, addresses) for line in lines}))


def _checked(line: str, addresses: bool) -> str:  # noqa: FBT001 - private, called in one place
    text = line.strip(" \t")
    shown = repr(text if len(text) <= _SHOWN else text[:_SHOWN] + "...")
    if text.startswith("-"):
        raise DependencyError(f"{shown} is an installer option, not a requirement; declare names such as 'idna>=3'")
    if not addresses and ("://" in text or text.startswith("git+")):
        raise DependencyError(_ADDRESS.format(shown))
    if not text or len(text) > _LONGEST or not _PLAIN.fullmatch(text):
        raise DependencyError(f"{shown} is not a requirement; declare one name a line, such as 'idna>=3'")
    try:
        requirement = Requirement(text)
    except InvalidRequirement as error:
        reason = str(error).splitlines()[0]
        raise DependencyError(f"{shown} is not a requirement ({reason}); write it such as 'idna>=3'") from error
    if requirement.url is not None and not addresses:
        raise DependencyError(_ADDRESS.format(shown))
    if requirement.url is not None and not _is_wheel(requirement.url):
        raise DependencyError(_NO_WHEEL.format(shown))
    requirement.name = canonicalize_name(requirement.name)
    return str(requirement)


def _is_wheel(url: str) -> bool:
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    plain = not (parts.query or parts.fragment or parts.username or parts.password)
    return plain and parts.scheme in _SCHEMES and parts.path.startswith("/") and parts.path.endswith(".whl")
