"""Modules that the host lends to this run, found by a hook on imports. Loaded only when something is lent.

A name is looked up as anywhere in Python, with one step more: what is imported already, the standard library, what is
lent, installed packages. Under `stepflow.NAME` a lent module is there whatever else has its name.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any, Dict, FrozenSet, Optional, Sequence

    from .lent_line import Functions, Line

PACKAGE = "stepflow"
ModuleSpec: Any = type(sys.__spec__)


def lend(descriptor: int, names: Sequence[str]) -> None:
    """Make modules of the host importable.

    Args:
        descriptor: of a stream socket whose other end the host answers.
        names: of the modules that are lent.
    """
    # First: what the tool's environment or work folder has of the same name comes after what was asked for.
    sys.meta_path.insert(0, LentFinder(descriptor, frozenset(names)))


class LentFinder:
    """A finder and loader of `sys.meta_path`."""

    def __init__(self, descriptor: int, names: FrozenSet[str]) -> None:
        self._descriptor = descriptor
        self._line: Optional[Line] = None
        self._names = names
        self._made: Dict[str, ModuleType] = {}

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> Any:  # noqa: ARG002 - the import system's
        """The spec of a lent module; none of any other."""
        if fullname == PACKAGE:
            return ModuleSpec(fullname, self, origin="lent by the host", is_package=True)
        name = _lent_name(fullname)
        if name not in self._names or (name == fullname and _is_standard(name)):
            return None
        return ModuleSpec(fullname, self, origin="lent by the host")

    def create_module(self, spec: Any) -> Optional[ModuleType]:
        """The module itself where it has been imported under its other name."""
        name = _lent_name(spec.name)
        return None if name is None else self._made.get(name) or LentModule(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """Ask the host what is in the module."""
        spec = module.__spec__
        name = None if spec is None else _lent_name(spec.name)
        if name is None:
            module.__doc__ = "What the host lends to this run."
            return
        if name not in self._made:
            if self._line is None:
                from .lent_line import Line  # a run that imports nothing that is lent does not pay for it

                self._line = Line(self._descriptor)
            fill(module, name, self._line)
            self._made[name] = module


class LentModule(type(sys)):  # type: ignore[misc]  # the class of modules, which `types` would name
    """A module whose functions are defined once more, to be awaited, when somebody asks for `aio`."""

    def __getattr__(self, name: str) -> Any:
        define = None if name != "aio" else self.__dict__.get("__lent_aio")
        if define is None:
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        self.aio = define()
        return self.aio


def fill(module: ModuleType, name: str, line: Line) -> None:
    """Constants and functions of a lent module, in the host's own words.

    Raises:
        ImportError: the host cannot make the module now.
    """
    try:
        described = line.ask({"describe": name})
    except Exception as error:  # noqa: BLE001 - whatever the host says becomes the one kind that imports raise
        raise ImportError(f"the host cannot lend {name!r}: {error}", name=name) from None
    namespace = module.__dict__
    functions = line.functions(name)

    def awaited() -> ModuleType:
        aio = type(sys)(f"{name}.aio", f"The functions of `{name}`, to be awaited.")
        _define(aio.__dict__, described["aio_source"], functions, name=name)
        return aio

    module.__doc__ = described["doc"]
    namespace.update(described["constants"])
    _define(namespace, described["source"], functions, name=name)
    namespace["__all__"] = [*described["constants"], *described["functions"]]
    namespace["__lent_aio"] = awaited


def _define(namespace: Dict[str, Any], source: str, functions: Functions, *, name: str) -> None:
    """Define functions by their source, which is the host's: a signature, a docstring and a call."""
    hidden = {"__lent_" + way: getattr(functions, way) for way in ("call", "stream", "call_later", "stream_later")}
    made: Dict[str, Any] = {"__name__": name, **hidden}
    # Named as if it lay beside this file, so that tracebacks tell the tool's frames from ours.
    file = _define.__code__.co_filename.rpartition("/")[0] + f"/{name}.py"
    exec(compile(source, file, "exec", dont_inherit=True), made)  # noqa: S102 - the host's own words
    namespace.update({key: value for key, value in made.items() if not key.startswith("__")})


def _lent_name(fullname: str) -> Optional[str]:
    head, dot, tail = fullname.partition(".")
    if not dot:
        return None if fullname == PACKAGE else fullname
    return tail if head == PACKAGE and "." not in tail else None


def _is_standard(name: str) -> bool:
    standard = getattr(sys, "stdlib_module_names", None)  # since Python 3.10
    if standard is not None:
        return name in standard
    if name in sys.builtin_module_names:
        return True
    from importlib.machinery import PathFinder

    own = [entry for entry in sys.path[1:] if not entry.endswith(("site-packages", "dist-packages"))]
    return PathFinder.find_spec(name, own) is not None
