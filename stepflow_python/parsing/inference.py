"""What a source needs, judged by its imports: for tools that declare nothing.

Nothing is guessed: a module that is neither Python's own nor of a well-known distribution is refused by name. Whoever
registers a name that people mistype gets no code run here.
"""

import functools
from collections.abc import Collection, Iterable
from importlib.resources import files
from pathlib import PurePosixPath

from packaging.utils import canonicalize_name
from packaging.version import Version
from stdlib_list import long_versions, short_versions, stdlib_list

from stepflow_python.errors import DependencyError
from stepflow_python.model.module import Import, InferredDependency, NeededModule, PythonModule

RESERVED = frozenset({"kv", "llm", "sqlite", "stepflow"})
"""Modules that the host may lend; `http` is one too, and Python's own. `stepflow` is the door to all of them."""

_ALWAYS = ("__future__", "__main__")


def inferred_dependencies(module: PythonModule, *, python: str) -> tuple[InferredDependency, ...]:
    """What a source that declares nothing needs and could use, in the order of its lines; none if it declares."""
    if module.declared:
        return ()
    needed = _traced(needed_modules(module.imports), python=python)
    names = {one.module for one in needed}
    could_use = _traced(needed_modules(module.imports, optional=True), python=python)
    spare = tuple(one.model_copy(update={"optional": True}) for one in could_use if one.module not in names)
    return tuple(sorted((*needed, *spare), key=lambda one: one.line))


def needed_modules(
    imports: Iterable[Import], *, file_names: Iterable[str] = (), optional: bool = False
) -> tuple[NeededModule, ...]:
    """Top-level modules that have to come from somewhere, each with the first line that imports it.

    Args:
        imports: of a source.
        file_names: files that are there beside it, by their relative names: modules of its own.
        optional: those that it can do without, instead of those that it needs.
    """
    local = {_module_of(name) for name in file_names}
    found: dict[str, int] = {}
    for imported in imports:
        top = imported.module.partition(".")[0]
        if imported.level or imported.optional is not optional or top in local or top in RESERVED:
            continue
        if top and top not in _in_every_python():
            found.setdefault(top, imported.lineno)
    return tuple(NeededModule(module=module, line=line) for module, line in found.items())


def inferred_requirements(
    needed: Iterable[NeededModule], *, python: str, provided: Collection[str] = ()
) -> tuple[str, ...]:
    """The distributions that modules come from.

    Args:
        needed: modules with their lines.
        python: the version that they are for.
        provided: normalised names of distributions that are there in any case.

    Raises:
        DependencyError: a module is unknown; the message names it, its line, and how to declare it.
    """
    found = _traced(needed, python=python)
    unknown = [one for one in found if one.distribution is None and canonicalize_name(one.module) not in provided]
    if unknown:
        listed = ", ".join(f"{one.module!r} (line {one.line})" for one in unknown)
        raise DependencyError(
            f"imported but not declared, and no module of Python {python} or of a well-known distribution: {listed}; "
            "declare the distribution in the source's script block (`# /// script`, "
            '`# dependencies = ["NAME"]`, `# ///`) or in the request\'s `dependencies`',
            line=unknown[0].line,
        )
    return tuple(one.distribution for one in found if one.distribution is not None)


def _traced(needed: Iterable[NeededModule], *, python: str) -> tuple[InferredDependency, ...]:
    """Where modules come from that are not in this version of Python."""
    standard = _standard_library(python)
    return tuple(
        InferredDependency(module=one.module, distribution=_distributions().get(one.module), line=one.line)
        for one in needed
        if one.module not in standard
    )


def _module_of(file_name: str) -> str:
    first = PurePosixPath(file_name).parts[0] if file_name else ""
    return first.removesuffix(".py")


@functools.cache
def _standard_library(python: str) -> frozenset[str]:
    """Top-level names; of the nearest version that is known."""
    wanted = Version(python).release[:2]
    known = sorted({Version(text).release[:2] for text in (*short_versions, *long_versions)})
    nearest = max((version for version in known if version <= wanted), default=known[0])
    modules = stdlib_list(".".join(map(str, nearest)))
    return frozenset((*_ALWAYS, *(module.partition(".")[0] for module in modules)))


@functools.cache
def _in_every_python() -> frozenset[str]:
    """What no supported version has to get from elsewhere: most tools need nothing more, in whatever version."""
    versions = (f"3.{minor}" for minor in range(8, 15))
    return frozenset.intersection(*(_standard_library(version) for version in versions))


@functools.cache
def _distributions() -> dict[str, str]:
    text = files("stepflow_python.parsing").joinpath("import_names.txt").read_text(encoding="utf-8")
    pairs = (line.partition(" ") for line in text.splitlines())
    return {module: distribution for module, _, distribution in pairs}
