"""Requirement lines, checked before anything of them reaches the installer.

A line comes from a stranger's source. Only a name with extras, versions and a marker passes: an option
(`--index-url=...`, `-r /etc/passwd`), a path or an address would let the tool choose what the worker reads or fetches.
"""

import re
from collections.abc import Iterable

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from stepflow_python.errors import DependencyError

# What PEP 508 needs without addresses. `$`, `#` and `\` mean something in a requirements file, so none may appear,
# not even in the text of a marker.
_PLAIN = re.compile(r"[A-Za-z0-9 \t._\-\[\],<>=!~;()'\"*+|/:@%?&]+")
_ADDRESS = "{} names an address, which is not supported yet; declare a registry version"
_LONGEST = 1000
_SHOWN = 120


def checked(lines: Iterable[str]) -> tuple[str, ...]:
    """The requirements in one form: normalised names, sorted, each once.

    Raises:
        DependencyError: a line is not a requirement on a registry's distribution; the message shows the line.
    """
    return tuple(sorted({_checked(line) for line in lines}))


def _checked(line: str) -> str:
    text = line.strip(" \t")
    shown = repr(text if len(text) <= _SHOWN else text[:_SHOWN] + "...")
    if text.startswith("-"):
        raise DependencyError(f"{shown} is an installer option, not a requirement; declare names such as 'idna>=3'")
    if "://" in text or text.startswith("git+"):
        raise DependencyError(_ADDRESS.format(shown))
    if not text or len(text) > _LONGEST or not _PLAIN.fullmatch(text):
        raise DependencyError(f"{shown} is not a requirement; declare one name a line, such as 'idna>=3'")
    try:
        requirement = Requirement(text)
    except InvalidRequirement as error:
        reason = str(error).splitlines()[0]
        raise DependencyError(f"{shown} is not a requirement ({reason}); write it such as 'idna>=3'") from error
    if requirement.url is not None:
        raise DependencyError(_ADDRESS.format(shown))
    requirement.name = canonicalize_name(requirement.name)
    return str(requirement)
