"""What a source declares about itself: the `# /// script` block of PEP 723."""

import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import canonicalize_name

from stepflow_python.errors import DependencyError, ParseError
from stepflow_python.model.module import Dependency, DependencySource

_START = re.compile(r"# /// (?P<type>[a-zA-Z0-9-]+)\s*")
_END = "# ///"
_CONDA = "conda:"
_TOML_LINE = re.compile(r"at line (\d+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class ScriptBlock:
    """Declared dependencies, and the specifier of Python versions if there is one; `present`: there is a block."""

    present: bool = False
    dependencies: tuple[Dependency, ...] = ()
    requires_python: str | None = None


def read_script_block(lines: Sequence[str], *, name: str = "tool") -> ScriptBlock:
    """The metadata block of a source, empty where there is none.

    Args:
        lines: of the source, without their ends.
        name: of the tool, for messages.

    Raises:
        ParseError: two blocks, one without an end, or one that is not TOML; says at which line.
        DependencyError: a requirement or `requires-python` is malformed; says at which line.
    """
    starts = [index for index, line in enumerate(lines) if line.startswith("# /// script") and _is_start(line)]
    if not starts:
        return ScriptBlock()
    start = starts[0]
    content = _content(lines, start)
    if content is None:
        raise _parse_error(name, start, "the script block has no end; close it with a line `# ///`")
    if len(starts) > 1:
        raise _parse_error(name, starts[1], f"a second script block; the first is at line {start + 1}, merge them")
    try:
        table = tomllib.loads("\n".join(content))
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        place = _TOML_LINE.search(str(error))
        last = start + len(content) if "at end of document" in str(error) else start
        line = start + int(place[1]) if place else last
        raise _parse_error(name, line, f"the script block is not TOML: {error}") from error
    return _Reader(name=name, lines=lines, start=start, end=start + len(content) + 1).block(table)


def dependency_of(line: str) -> Dependency:
    """The distribution that a requirement line (PEP 508) names, or the package of a conda channel (`conda:name>=1`).

    Raises:
        packaging.requirements.InvalidRequirement: it is none.
    """
    text = line.strip()
    if text.startswith(_CONDA):
        package = Requirement(text.removeprefix(_CONDA))
        version = str(package.specifier) or None
        source = DependencySource.CONDA
        return Dependency(name=package.name.lower(), version=version, source=source, requirements=(text,))
    requirement = Requirement(line)
    return Dependency(
        name=canonicalize_name(requirement.name),
        version=str(requirement.specifier) or None,
        source=_source_of(requirement.url),
        requirements=(line.strip(),),
    )


def merged(dependencies: Sequence[Dependency]) -> tuple[Dependency, ...]:
    """One value for each distribution; several lines (one for each marker) stay several requirement lines."""
    by_name: dict[str, Dependency] = {}
    for dependency in dependencies:
        known = by_name.get(dependency.name)
        if known is None:
            by_name[dependency.name] = dependency
        elif dependency.requirements[0] not in known.requirements:
            # Which of two specifiers holds depends on markers: none is *the* version.
            same = known.version == dependency.version
            by_name[dependency.name] = known.model_copy(
                update={
                    "requirements": known.requirements + dependency.requirements,
                    "version": known.version if same else None,
                }
            )
    return tuple(by_name.values())


def _source_of(url: str | None) -> DependencySource:
    if url is None:
        return DependencySource.PYPI
    if url.startswith("git+") or url.partition("#")[0].partition("@")[0].endswith(".git"):
        return DependencySource.GIT
    if url.startswith(("file:", "/", ".")):
        return DependencySource.LOCAL
    # A wheel or archive at an address: the installer takes it as it takes one from the registry.
    return DependencySource.PYPI


def _is_start(line: str) -> bool:
    match = _START.fullmatch(line)
    return match is not None and match["type"] == "script"


def _content(lines: Sequence[str], start: int) -> list[str] | None:
    """The block's TOML lines: up to the last end mark of the run of comment lines, as PEP 723 has it."""
    end = None
    for index in range(start + 1, len(lines)):
        line = lines[index]
        if line != "#" and not line.startswith("# "):
            break
        if _is_start(line):
            break
        if line.rstrip() == _END:
            end = index
    if end is None:
        return None
    return [line[2:] for line in lines[start + 1 : end]]


def _parse_error(name: str, index: int, message: str) -> ParseError:
    return ParseError(f"{name}, line {index + 1}: {message}", line=index + 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Reader:
    name: str
    lines: Sequence[str]
    start: int
    end: int

    def block(self, table: dict[str, object]) -> ScriptBlock:
        declared = table.get("dependencies", [])
        if not isinstance(declared, list):
            raise self._error("dependencies", "`dependencies` must be a list of requirement strings")
        found = merged([self._dependency(entry) for entry in declared])
        python = table.get("requires-python")
        if python is None:
            return ScriptBlock(present=True, dependencies=found)
        if not isinstance(python, str):
            raise self._error("requires-python", '`requires-python` must be a string such as ">=3.11"')
        try:
            SpecifierSet(python)
        except InvalidSpecifier as error:
            message = f'`requires-python = "{python}"` is no version specifier; write one such as ">=3.11"'
            raise self._error("requires-python", message) from error
        return ScriptBlock(present=True, dependencies=found, requires_python=python.strip())

    def _dependency(self, entry: object) -> Dependency:
        if not isinstance(entry, str):
            raise self._error("dependencies", f"{entry!r} in `dependencies` is no requirement string")
        try:
            return dependency_of(entry)
        except InvalidRequirement as error:
            reason = str(error).partition("\n")[0]
            message = f'"{entry}" is no requirement: {reason}; write `name`, `name>=1.2` or `name @ URL`'
            raise self._error(entry, message) from error

    def _error(self, needle: str, message: str) -> DependencyError:
        """Placed at the first line of the block that holds `needle`."""
        block = range(self.start, self.end)
        line = next((index for index in block if needle in self.lines[index]), self.start) + 1
        return DependencyError(f"{self.name}, line {line}: {message}", line=line)
