"""Names against lists."""

import pytest

from stepflow_python.model.security import SecuritySettings
from stepflow_python.policy.rules import Rules


@pytest.mark.parametrize(
    ("module", "names", "expected"),
    [
        ("os", (), []),
        ("os.path", (), [("blocked_import", "os.path")]),
        ("os.path.x", (), [("blocked_import", "os.path.x")]),
        ("os.pathology", (), []),
        ("os", ("path", "sep"), [("blocked_import", "os.path")]),
        ("os", ("system",), [("blocked_call", "os.system")]),
        ("posix", ("system",), [("blocked_call", "os.system")]),
        ("os", ("execv",), [("blocked_call", "os.execv")]),
        ("os", ("*",), [("blocked_call", "os.*")]),
        ("json", ("*",), []),
        ("__future__", ("annotations",), []),
    ],
)
def test_blocked(module: str, names: tuple[str, ...], expected: list[tuple[str, str]]) -> None:
    """A dotted prefix blocks what is below it, not what only begins alike."""
    rules = Rules(SecuritySettings(blocked_modules=("os.path",), blocked_functions=("os.system", "os.exec*")))
    assert [(finding.rule, finding.subject) for finding in rules.imported(module, names)] == expected


@pytest.mark.parametrize(
    ("module", "names", "allowed"),
    [
        ("json", (), True),
        ("json.decoder", (), True),
        ("jsonx", (), False),
        ("os", (), False),
        ("os.path", (), True),
        ("os", ("path",), True),
        ("os", ("path", "sep"), False),
        ("__future__", ("annotations",), True),
    ],
)
def test_allowed(module: str, names: tuple[str, ...], *, allowed: bool) -> None:
    """With an allow-list only what is on it, or below it, may be imported."""
    rules = Rules(SecuritySettings(allowed_modules=("json", "os.path")))
    found = [finding.rule for finding in rules.imported(module, names)]
    assert found == ([] if allowed else ["not_allowed_import"])


def test_allowed_functions() -> None:
    """With an allow-list of functions only those may be called."""
    rules = Rules(SecuritySettings(allowed_functions=("json.*",)))
    assert rules.called("json.loads") is None
    finding = rules.called("os.getcwd")
    assert finding is not None
    assert "os.getcwd" in finding.at(1, 1).message
