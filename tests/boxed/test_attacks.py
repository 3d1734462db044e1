"""Whatever a stranger's code tries, nothing outside its box is read, reached or changed.

Each attack of `attacks/` is a test. It passes if the attack was held in the way that its mark says, which it cannot be
by a mistake of its own, and if the canaries outside tell the same.
"""

import pytest
from support.attacks import Attack, load_attacks
from support.outside import Outside
from support.ways import Way

from stepflow_python.model.result import SandboxOutcome

ATTACKS = load_attacks()
MISTAKES = {"ImportError", "ModuleNotFoundError", "NameError", "AttributeError", "KeyError", "IndexError"}


def test_there_are_enough() -> None:
    """The suite has not shrunk, and no name stands for two attacks."""
    assert len({attack.name for attack in ATTACKS}) == len(ATTACKS) >= 80


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
def test_attack(attack: Attack, way: Way, world: Outside) -> None:
    """The attack is held, and what lies outside is as it was."""
    if not attack.tried_at(way.tier):
        pytest.skip(f"{way.tier} does not promise this")
    before = world.state(waiting=way.waiting())
    outcome = way.attacked_by(attack, world.described())
    assert outcome.warm == way.warm
    assert held(attack, outcome) == ""
    assert world.spilled(outcome) == []
    assert world.settled(before, waiting=way.waiting()) == before


def held(attack: Attack, outcome: SandboxOutcome) -> str:
    """Why an attack is not held; empty if it is."""
    mistakes = MISTAKES - set(attack.settings.get("raises", "").split())
    if any(raised.type in mistakes for raised in outcome.exceptions):
        return f"not an attack but a mistake: {outcome.stderr[-2000:]}"
    if attack.mark == "ends":
        return "" if outcome.status in attack.expected else f"{outcome.status}: {outcome.error} {outcome.result}"
    if outcome.status != "succeeded":
        return f"{outcome.status}: {outcome.error} {outcome.stderr[-2000:]}"
    if attack.mark == "harmless":
        return "its result is a forged one" if outcome.result == "forged" else ""
    assert isinstance(outcome.result, dict)
    if attack.mark == "finds_nothing":
        return "" if outcome.result == {"found": []} else str(outcome.result)
    return "" if outcome.result.get("refused") in attack.expected or _by_name(attack, outcome) else str(outcome.result)


def _by_name(attack: Attack, outcome: SandboxOutcome) -> bool:
    """The resolver's errors have names of their own."""
    assert isinstance(outcome.result, dict)
    return "EAI" in attack.expected and str(outcome.result.get("refused")).startswith("EAI")
