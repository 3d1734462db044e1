"""Security levels, what each allows, and verdicts on code."""

from enum import StrEnum

from stepflow_python.model.values import Value


class SecurityLevel(StrEnum):
    """Presets of `SecuritySettings`, from least to most allowed."""

    STRICT = "strict"
    """No network, no subprocess, writes only to its own work folder, policy lists enforced."""
    STANDARD = "standard"
    """As strict, but it may start processes inside the sandbox."""
    PERMISSIVE = "permissive"
    """Network allowed; still a private file system and all limits."""

    @property
    def rank(self) -> int:
        """0 for strict upwards: a worker's ceiling compares by this."""
        return list(SecurityLevel).index(self)


class SecuritySettings(Value):
    """What code may do. An empty `allowed_*` list allows all that is not blocked. Times in seconds, memory in MiB."""

    allowed_modules: tuple[str, ...] = ()
    blocked_modules: tuple[str, ...] = ()
    allowed_functions: tuple[str, ...] = ()
    blocked_functions: tuple[str, ...] = ()
    enable_system_calls: bool = False
    """May start processes."""
    enable_file_access: bool = True
    """May read and write its own work folder."""
    enable_network_access: bool = False
    max_execution_time: float | None = None
    max_memory_usage: int | None = None


class Violation(Value):
    """One reason for a refusal. `rule` is a stable name; line and column are 1-based."""

    rule: str
    subject: str
    message: str
    line: int
    column: int


class Verdict(Value):
    """All violations found, in source order; none means allowed."""

    violations: tuple[Violation, ...] = ()

    @property
    def allowed(self) -> bool:
        """Whether nothing stands against running the code."""
        return not self.violations


class IsolationTier(StrEnum):
    """How a run is held, weakest first."""

    PROCESS = "process"
    LANDLOCK = "landlock"
    NAMESPACES = "namespaces"

    @property
    def rank(self) -> int:
        """0 for the weakest upwards: `MIN_ISOLATION` compares by this."""
        return _RANKS[self]


_RANKS = {tier: rank for rank, tier in enumerate(IsolationTier)}


class SecurityStatus(Value):
    """What is known of a run while it lasts: memory in KiB, CPU time of the tree in ms.

    `processes` counts threads too, and those few of ours that hold the box.
    """

    execution_id: str
    running: bool
    isolation: IsolationTier | None = None
    memory_usage_kb: int | None = None
    cpu_time_ms: float | None = None
    processes: int | None = None
