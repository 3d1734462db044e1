"""The attacks of `boxed/attacks`, read from their sources: hostile code is never imported here."""

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stepflow_python.model.limits import Limits
from stepflow_python.model.security import SecuritySettings

FOLDER = Path(__file__).resolve().parents[1] / "boxed" / "attacks"
TRADE = FOLDER / "trade.py"
MARKS = ("refused", "finds_nothing", "harmless", "ends")

SECURITY = {
    "strict": SecuritySettings(),
    "standard": SecuritySettings(enable_system_calls=True),
    "permissive": SecuritySettings(enable_system_calls=True, enable_network_access=True),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Attack:
    """One attack: `mark` says how it is known to be held, by which of `expected`; `settings` are as it wants to run."""

    name: str
    source: Path
    mark: str
    expected: tuple[str, ...]
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def security(self) -> SecuritySettings:
        """What the run may do: without a word of the attack, processes but no network."""
        return SECURITY[self.settings.get("level", "standard")]

    @property
    def limits(self) -> Limits:
        """The limits of the run; what the attack does not set is small."""
        small = {"timeout_s": 10.0, "cpu_s": 10.0, "memory_mib": 128}
        wanted = {name: value for name, value in self.settings.items() if name in Limits.model_fields}
        return Limits.model_validate({**small, **wanted})

    def tried_at(self, tier: str) -> bool:
        """Whether it belongs to what this tier promises."""
        return tier in self.settings.get("tiers", tier).split()


def load_attacks(*names: str) -> list[Attack]:
    """All attacks of these files, or of all of them."""
    paths = [FOLDER / f"{name}.py" for name in names] or sorted(set(FOLDER.glob("*.py")) - {TRADE})
    return [attack for path in paths for attack in _attacks(path)]


def _attacks(path: Path) -> Iterator[Attack]:
    tree = ast.parse(path.read_text())
    words = dict(_constants(tree))
    for node in tree.body:
        marks = [_mark(decorator) for decorator in getattr(node, "decorator_list", [])]
        for call, mark in marks:
            if isinstance(node, ast.FunctionDef) and mark in MARKS:
                yield Attack(
                    name=node.name,
                    source=path,
                    mark=mark,
                    expected=tuple(_words(call, words)),
                    settings={word.arg: ast.literal_eval(word.value) for word in call.keywords if word.arg},
                )


def _constants(tree: ast.Module) -> Iterator[tuple[str, tuple[str, ...]]]:
    for node in tree.body:
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Tuple(elts=words)):
                if all(isinstance(word, ast.Constant) for word in words):
                    yield name, ast.literal_eval(node.value)


def _mark(decorator: ast.expr) -> tuple[ast.Call, str]:
    if not isinstance(decorator, ast.Call) or not isinstance(decorator.func, ast.Name):
        raise TypeError(f"line {decorator.lineno}: a mark is a call")
    return decorator, decorator.func.id


def _words(call: ast.Call, constants: Mapping[str, tuple[str, ...]]) -> Iterator[str]:
    for argument in call.args:
        if isinstance(argument, ast.Starred) and isinstance(argument.value, ast.Name):
            yield from constants[argument.value.id]
        else:
            yield ast.literal_eval(argument)
