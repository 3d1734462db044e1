"""Extensions, wired: which there are, which may be lent, who answers their calls."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from stepflow_python.config import Settings
from stepflow_python.errors import ExecutionError
from stepflow_python.extensions.configuration import read_configs
from stepflow_python.extensions.context import Extension, ExtensionContext, made_by
from stepflow_python.extensions.lending import Lending
from stepflow_python.extensions.quota import CallLimits
from stepflow_python.extensions.service import LentModules
from stepflow_python.extensions.signatures import stub
from stepflow_python.ports import CallLog


def open_context(settings: Settings, environ: Mapping[str, str]) -> ExtensionContext:
    """What is installed, with the operator's configuration.

    Raises:
        ConfigurationError: the extensions' file cannot be used.
    """
    path, named = settings.extension_file, settings.extension_config is not None
    context = ExtensionContext(read_configs(path, environ) if named or path.exists() else {})
    context.discover_later()
    return context


def unlendable(names: Sequence[str], settings: Settings, context: ExtensionContext) -> str | None:
    """What is wrong with a request for these extensions; none if they can be lent."""
    allowed = set(settings.extensions)
    for name in names:
        if allowed and name not in allowed:
            return f"{name!r} is not among those that this worker lends ({', '.join(sorted(allowed))})"
        extension = context.get(name)
        if extension is None:
            there = ", ".join(sorted(context.available & allowed if allowed else context.available)) or "none"
            return f"there is no {name!r}; there are: {there}. Install the package that brings it where the worker runs"
        if not extension.available:
            return f"{name!r} cannot be lent here: {extension.reason}"
    return None


def lent_modules(settings: Settings, context: ExtensionContext, log: CallLog) -> LentModules:
    """Who answers the calls of runs, within the settings' bounds."""
    limits = CallLimits(calls=settings.max_extension_calls, bytes=settings.max_extension_bytes)
    return LentModules(context, log, folder=settings.home / "extensions", limits=limits)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lendable:
    """An extension as a list shows it; `reason` says why it cannot be lent, if it cannot."""

    name: str
    origin: str
    functions: tuple[str, ...] = ()
    reason: str = ""

    @property
    def available(self) -> bool:
        """Whether a request may ask for it."""
        return not self.reason


def lendable(settings: Settings, environ: Mapping[str, str]) -> tuple[Lendable, ...]:
    """All extensions that are installed, whether they can be lent or not."""
    context = open_context(settings, environ)
    return tuple(_lendable(extension, settings, context) for extension in context.all())


def stub_of(name: str, settings: Settings, environ: Mapping[str, str]) -> str:
    """The stub of an extension.

    Raises:
        ExecutionError: it is not there, or cannot be lent.
    """
    context = open_context(settings, environ)
    extension = context.get(name)
    if extension is None or extension.factory is None:
        raise ExecutionError(f"extension: {unlendable([name], Settings(), context)}")
    return stub(made_by(extension.factory, name, Lending(config=context.config(name))))


def _lendable(extension: Extension, settings: Settings, context: ExtensionContext) -> Lendable:
    if extension.factory is None:
        return Lendable(name=extension.name, origin=extension.origin, reason=extension.reason)
    module = made_by(extension.factory, extension.name, Lending(config=context.config(extension.name)))
    reason = unlendable([extension.name], settings, context) or ""
    return Lendable(name=extension.name, origin=extension.origin, functions=tuple(module.by_name), reason=reason)
