"""Names against the lists of `SecuritySettings`: what is wrong with a module or function, if anything."""

from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase

from stepflow_python.model.security import SecuritySettings, Violation

BLOCKED_IMPORT = "blocked_import"
NOT_ALLOWED_IMPORT = "not_allowed_import"
BLOCKED_CALL = "blocked_call"
NOT_ALLOWED_CALL = "not_allowed_call"

_ALWAYS_ALLOWED = "__future__"
"""Changes how a file is compiled; imports nothing."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A rule that something breaks; where it does so is known elsewhere."""

    rule: str
    subject: str

    def at(self, line: int, column: int) -> Violation:
        """The violation at a place, both 1-based."""
        return Violation(
            rule=self.rule,
            subject=self.subject,
            message=_MESSAGES[self.rule].format(self.subject),
            line=line,
            column=column,
        )


_MESSAGES = {
    BLOCKED_IMPORT: "import of {} is blocked; use another module, or ask for a security level that allows it",
    NOT_ALLOWED_IMPORT: "{} is not among the modules that this worker allows; remove the import, "
    "or have it added to ALLOWED_IMPORTS",
    BLOCKED_CALL: "{} is blocked; do without it, or ask for a security level that allows it",
    NOT_ALLOWED_CALL: "{} is not among the functions that are allowed; do without it, or have it added",
}


class Rules:
    """The lists of one settings value, ready to ask."""

    def __init__(self, settings: SecuritySettings) -> None:
        self._settings = settings

    def imported(self, module: str, names: Iterable[str] = ()) -> tuple[Finding, ...]:
        """What is wrong with `import module`, or `from module import names`."""
        if module == _ALWAYS_ALLOWED:
            return ()
        members = tuple(names)
        blocked = self._blocked_modules(module, members)
        if blocked:
            return blocked
        found = [finding for name in members for finding in self._member(module, name)]
        if not self._is_allowed(module, members):
            found.insert(0, Finding(NOT_ALLOWED_IMPORT, module))
        return tuple(found)

    def referenced(self, name: str) -> Finding | None:
        """What is wrong with a mention of a function, by its full name."""
        name = _canonical(name)
        return Finding(BLOCKED_CALL, name) if _matches(name, self._settings.blocked_functions) else None

    def called(self, name: str) -> Finding | None:
        """What is wrong with a call of an imported function, beyond mentioning it."""
        allowed = self._settings.allowed_functions
        if not allowed or _matches(_canonical(name), allowed):
            return None
        return Finding(NOT_ALLOWED_CALL, _canonical(name))

    def _blocked_modules(self, module: str, members: tuple[str, ...]) -> tuple[Finding, ...]:
        blocked = self._settings.blocked_modules
        if _is_below(module, blocked):
            return (Finding(BLOCKED_IMPORT, module),)
        # `from os import path` imports `os.path`.
        full = [f"{module}.{name}" for name in members]
        return tuple(Finding(BLOCKED_IMPORT, name) for name in full if name in blocked)

    def _member(self, module: str, name: str) -> tuple[Finding, ...]:
        module = _canonical(module + ".").removesuffix(".")
        if name != "*":
            finding = self.referenced(f"{module}.{name}")
            return (finding,) if finding else ()
        hidden = any(pattern.startswith(module + ".") for pattern in self._settings.blocked_functions)
        return (Finding(BLOCKED_CALL, f"{module}.*"),) if hidden else ()

    def _is_allowed(self, module: str, members: tuple[str, ...]) -> bool:
        allowed = self._settings.allowed_modules
        if not allowed or _is_below(module, allowed):
            return True
        return bool(members) and all(f"{module}.{name}" in allowed for name in members)


def _is_below(module: str, prefixes: Iterable[str]) -> bool:
    return any(module == prefix or module.startswith(prefix + ".") for prefix in prefixes)


def _canonical(name: str) -> str:
    """`posix` is what `os` takes its functions from."""
    return "os." + name.removeprefix("posix.") if name.startswith("posix.") else name


def _matches(name: str, patterns: Iterable[str]) -> bool:
    return any(name == pattern or ("*" in pattern and fnmatchcase(name, pattern)) for pattern in patterns)
