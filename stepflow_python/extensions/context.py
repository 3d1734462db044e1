"""Where extensions are registered: an instance of its own for whoever runs tools, so that two never mix."""

import inspect
import keyword
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points

from pydantic import JsonValue

from stepflow_python.extensions.arguments import check_hints
from stepflow_python.extensions.description import Module, UnusableExtensionError
from stepflow_python.extensions.lending import Lending

GROUP = "stepflow_python.extensions"
"""The entry-point group: the name is the module's, the object its factory."""
OWN = "stepflow-python"
PACKAGE = "stepflow"
"""Under which tools find every module that they were lent, also one named like one of Python's own."""

_POSITIONAL = {inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD}

Factory = Callable[..., Module]
"""Makes the module of one run from a `Lending`; it may also take nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Extension:
    """A registered one: lent by its `factory`, or, without one, not available for this `reason`.

    `origin` is the distribution that brings it, with its version, or `registered`.
    """

    name: str
    origin: str
    factory: Factory | None = None
    reason: str = ""

    @property
    def available(self) -> bool:
        """Whether it can be lent."""
        return self.factory is not None


class ExtensionContext:
    """The extensions of one runtime; none of another's."""

    def __init__(self, configs: Mapping[str, Mapping[str, JsonValue]] | None = None) -> None:
        self._configs = configs or {}
        self._extensions: dict[str, Extension] = {}
        self._undiscovered = False
        self._offered: frozenset[str] | None = None
        self._discovering = threading.RLock()

    def register_extension(self, name: str, factory: Factory, *, origin: str = "registered") -> None:
        """Register a module under a name; its factory is called once to see what it describes.

        Args:
            name: by which tools import it.
            factory: takes a `Lending`, or nothing, and gives a `Module`; called once more for each run that imports it.
            origin: where it comes from, for the list.

        Raises:
            ValueError: the name is none, or is taken.
            UnusableExtensionError: the factory fails, or what it gives cannot be lent.
        """
        _check_name(name)
        taken = self._extensions.get(name)
        if taken is not None:
            raise ValueError(f"the name {name!r} is taken by {taken.origin}; register this one under another")
        module = made_by(factory, name, Lending(config=self.config(name)))
        for function in module.by_name.values():
            check_hints(function)
        self._extensions[name] = Extension(name=name, origin=origin, factory=factory)

    def discover(self, found: Iterable[EntryPoint] | None = None) -> None:
        """Register what installed distributions offer; what cannot be had stays in the list, with its reason.

        Of two of one name the one registered first stays: what the program registered itself, then ours, then by the
        distribution's name; the other is listed as not available.
        """
        points = entry_points(group=GROUP) if found is None else found
        for point in sorted(points, key=_rank):
            origin = _origin(point)
            try:
                self.register_extension(point.name, point.load(), origin=origin)
            except Exception as error:  # noqa: BLE001 - a stranger's module: whatever it raises disables it alone
                self._refuse(point.name, origin, error)

    def discover_later(self) -> None:
        """The same once somebody asks: most runs are lent nothing, and need not wait for strangers' imports."""
        self._undiscovered = True

    def config(self, name: str) -> Mapping[str, JsonValue]:
        """What the operator configured for an extension."""
        return self._configs.get(name, {})

    def get(self, name: str) -> Extension | None:
        """The one that is lent under a name."""
        return self._known().get(name)

    def all(self) -> tuple[Extension, ...]:
        """All, those that cannot be lent included, by name."""
        known = self._known()
        return tuple(known[key] for key in sorted(known))

    def names(self) -> frozenset[str]:
        """Names of all, by what is registered and by entry points; nothing is imported for it."""
        with self._discovering:
            if self._undiscovered and self._offered is None:
                self._offered = frozenset(point.name for point in entry_points(group=GROUP))
            return frozenset(self._extensions) | (self._offered or frozenset())

    @property
    def available(self) -> frozenset[str]:
        """Names that can be lent."""
        return frozenset(one.name for one in self._known().values() if one.available)

    def _known(self) -> dict[str, Extension]:
        with self._discovering:
            if self._undiscovered:
                self._undiscovered = False
                self.discover()
        return self._extensions

    def _refuse(self, name: str, origin: str, error: Exception) -> None:
        taken = name in self._extensions
        reason = str(error) if isinstance(error, (ValueError, UnusableExtensionError)) else told(error)
        # A second one of a name is listed beside the first, under a key that nobody can ask for.
        key = f"{name} ({origin})" if taken else name
        self._extensions[key] = Extension(name=name, origin=origin, reason=" ".join(reason.split()))


def made_by(factory: Factory, name: str, lending: Lending) -> Module:
    """The module that a factory makes.

    Raises:
        UnusableExtensionError: it fails, or gives something else.
    """
    try:
        module = factory(lending) if _takes_lending(factory) else factory()
    except UnusableExtensionError:
        raise
    except Exception as error:
        raise UnusableExtensionError(f"its factory fails: {told(error)}") from error
    if not isinstance(module, Module):
        raise UnusableExtensionError(f"the factory of {name!r} gives a {type(module).__name__}, not a Module")
    return module


def _takes_lending(factory: Factory) -> bool:
    parameters = inspect.signature(factory).parameters.values()
    return any(one.default is one.empty and one.kind in _POSITIONAL for one in parameters)


def told(error: BaseException) -> str:
    """An error by its type and message."""
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def _check_name(name: str) -> None:
    if not name.isidentifier() or keyword.iskeyword(name) or name.startswith("_") or name == PACKAGE:
        raise ValueError(f"{name!r} is no name for an extension; take a Python identifier other than {PACKAGE!r}")


def _rank(point: EntryPoint) -> tuple[bool, str, str]:
    distribution = point.dist.name if point.dist is not None else ""
    return distribution != OWN, distribution, point.value


def _origin(point: EntryPoint) -> str:
    return f"{point.dist.name} {point.dist.version}" if point.dist is not None else point.value
