"""What each level allows."""

from stepflow_python.model.security import SecurityLevel
from stepflow_python.policy.levels import settings_for

BLOCKED = ("subprocess", "ctypes")


def test_strict_blocks_the_lists_and_all_that_starts_processes() -> None:
    """The default level has no network, no processes, and the worker's lists."""
    settings = settings_for(SecurityLevel.STRICT, blocked_imports=BLOCKED, allowed_imports=("json",))
    assert settings.blocked_modules == BLOCKED
    assert settings.allowed_modules == ("json",)
    assert {"os.system", "os.fork", "os.exec*"} <= set(settings.blocked_functions)
    assert not settings.enable_network_access
    assert not settings.enable_system_calls
    assert settings.enable_file_access


def test_standard_may_start_processes() -> None:
    """One step up only processes are added: other blocked modules stay, and so does the missing network."""
    settings = settings_for(SecurityLevel.STANDARD, blocked_imports=BLOCKED, allowed_imports=())
    assert settings.blocked_modules == ("ctypes",)
    assert settings.blocked_functions == ()
    assert settings.enable_system_calls
    assert not settings.enable_network_access


def test_permissive_keeps_only_the_workers_allow_list() -> None:
    """The last step adds the network; what the worker does not allow stays out."""
    settings = settings_for(SecurityLevel.PERMISSIVE, blocked_imports=BLOCKED, allowed_imports=("json",))
    assert (settings.blocked_modules, settings.blocked_functions) == ((), ())
    assert settings.allowed_modules == ("json",)
    assert settings.enable_network_access
    assert settings.enable_system_calls
