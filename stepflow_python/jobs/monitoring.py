"""Counts of what happens: of this process in memory, of all processes from the record."""

from collections import Counter, defaultdict

from stepflow_python.model.environment import EnvironmentId
from stepflow_python.model.history import HistoryFilter, PythonMetrics
from stepflow_python.model.module import Dependency
from stepflow_python.ports import History


class RecordMonitoring:
    """Implements `ports.PythonMonitoring`: totals come from the record, so they outlive every process."""

    def __init__(self, history: History) -> None:
        self._history = history
        self.counts: Counter[str] = Counter()
        self.seconds: defaultdict[str, float] = defaultdict(float)

    async def record_execution(self, execution_id: str, duration: float, success: bool) -> None:  # noqa: FBT001, ARG002 - the public contract
        """Count an execution of this process."""
        self._count("executions_succeeded" if success else "executions_failed", duration)

    async def record_environment_creation(self, environment_id: EnvironmentId, duration: float) -> None:  # noqa: ARG002 - the public contract
        """Count an environment that this process built."""
        self._count("environments_created", duration)

    async def record_dependency_installation(self, environment_id: EnvironmentId, dependency: Dependency) -> None:  # noqa: ARG002 - the public contract
        """Count a package that this process installed."""
        self._count("dependencies_installed", 0.0)

    async def get_metrics(self, filter: HistoryFilter | None = None) -> PythonMetrics:  # noqa: A002 - the public contract
        """Totals over all processes, from the record."""
        return await self._history.metrics(filter or HistoryFilter())

    def _count(self, what: str, duration: float) -> None:
        self.counts[what] += 1
        self.seconds[what] += duration
