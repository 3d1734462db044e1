"""Settings to wired objects: the one place that names concrete classes."""

import contextlib
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

from stepflow_python.bootstrap.custom import PipelineRunner, chosen_parser, chosen_runner
from stepflow_python.bootstrap.lending import LentLater
from stepflow_python.bootstrap.reconciliation import reconcile, tie_up
from stepflow_python.config import Settings
from stepflow_python.environments.cache import CacheOptions, EnvironmentCache
from stepflow_python.environments.service import VirtualEnvironments
from stepflow_python.environments.surplus import Limits as EnvironmentLimits
from stepflow_python.errors import ExecutionError
from stepflow_python.jobs.authorize import Rules
from stepflow_python.jobs.execution import Executions
from stepflow_python.jobs.job import JobRunner
from stepflow_python.jobs.metering import MeteredLedger, metered
from stepflow_python.jobs.middleware import answering, counted, logged
from stepflow_python.jobs.monitoring import RecordMonitoring
from stepflow_python.jobs.patience import PatientLedger
from stepflow_python.jobs.pipeline import Floor
from stepflow_python.jobs.sources import Sources
from stepflow_python.jobs.tracing import traced, traced_floor
from stepflow_python.messages import Delivered, Loose
from stepflow_python.metrics import Meter
from stepflow_python.model.limits import Limits
from stepflow_python.model.result import ExecutionResult
from stepflow_python.model.security import IsolationTier, SecurityLevel, SecuritySettings
from stepflow_python.parsing.parser import AstParser
from stepflow_python.policy.check import PolicySecurity
from stepflow_python.policy.levels import settings_for
from stepflow_python.ports import (
    History,
    Ledger,
    PythonEnvironment,
    PythonMonitoring,
    PythonParser,
    PythonSecurity,
    Sandbox,
)
from stepflow_python.sandbox.host import SandboxConfig
from stepflow_python.sandbox.service import HostSandbox
from stepflow_python.sandbox.warm.options import WarmOptions
from stepflow_python.store.ledger import Bounds
from stepflow_python.store.maintenance import prune
from stepflow_python.store.opening import open_store
from stepflow_python.tracing import Tracer

if TYPE_CHECKING:
    from stepflow_python.extensions.context import ExtensionContext


@dataclass(frozen=True, slots=True, kw_only=True)
class Runtime:
    """Everything that runs tools in this process, each public interface by its name."""

    settings: Settings
    parser: PythonParser
    security: PythonSecurity
    environment: PythonEnvironment
    executor: Executions
    monitoring: PythonMonitoring
    environments: EnvironmentCache
    sandbox: Sandbox
    ledger: Ledger
    loose: Loose
    history: History

    @property
    def warm_counts(self) -> Mapping[str, int]:
        """What happened among the processes that wait; see `sandbox.warm.pool`."""
        return self.sandbox.counts if isinstance(self.sandbox, HostSandbox) else {}

    async def execute_delivery(
        self, payload: object, previous: object = None, delivery: Delivered | None = None
    ) -> ExecutionResult:
        """Run what a message holds; see `jobs.execution`."""
        return await self.executor.execute_delivery(payload, previous, delivery)

    async def cancel(self, execution_id: str, *, running: bool) -> None:
        """Stop an execution; one that is not on record needs no stopping."""
        with contextlib.suppress(ExecutionError):
            await self.ledger.request_cancel(execution_id, running=running)

    async def drop(self, payload: object) -> None:
        """Record that a message will not be run; see `jobs.execution`."""
        await self.executor.drop(payload)

    async def hand_back(self) -> None:
        """End what runs here and queue it again; see `jobs.execution`."""
        await self.executor.hand_back()

    async def cleanup(self, *, older_than_days: float) -> dict[str, int]:
        """Remove environments last used, and records ended, longer ago; counts by what was removed."""
        age = timedelta(days=older_than_days)
        removed = await self.environments.expire(age.total_seconds())
        return {"environments": len(removed), **asdict(await prune(self.settings.database, older_than=age))}


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """Who is told of what jobs do: what counts it, what makes spans of it."""

    meter: Meter | None = None
    tracer: Tracer | None = None


@asynccontextmanager
async def open_runtime(
    settings: Settings,
    *,
    environ: Mapping[str, str],
    context: "ExtensionContext | None" = None,
    warm: WarmOptions | None = None,
    watched: Watched | None = None,
) -> AsyncIterator[Runtime]:
    """The runtime of this process.

    Args:
        settings: all that the operator chose.
        environ: read for PATH, HOME, the installer's own variables and those that the extensions' file names.
        context: the extensions that may be lent; those that are installed if none.
        warm: how much may wait for tools that are called again; nothing does if none.
        watched: what jobs are counted and traced by, if they are.

    Raises:
        DatabaseError: the record cannot be opened.
        ConfigurationError: the extensions' file cannot be used.
    """
    async with open_store(settings.database, lease_s=settings.lease, bounds=_bounds(settings)) as store:
        ledger = PatientLedger(ledger=_metered(store.ledger, watched), delays=_delay_s)
        lent = LentLater(settings, environ, store.ledger, context)
        sandbox = HostSandbox(replace(sandbox_config(settings, environ), warm=warm), lent)
        cache = _cache(settings, environ, sandbox)
        await reconcile(store, cache)
        floor = Floor(
            sources=await _sources(settings, store.history),
            rules=_rules(settings, lent),
            environments=cache,
            sandbox=sandbox,
            ledger=ledger,
            reusable=store.reusable,
        )
        monitoring, environment = RecordMonitoring(store.history), VirtualEnvironments(cache)
        try:
            yield Runtime(
                settings=settings,
                parser=AstParser(max_code_size=settings.max_code_size),
                security=PolicySecurity(_level_settings(settings, SecurityLevel.STRICT), sandbox.status),
                environment=environment,
                executor=Executions(
                    run_job=_wrapped(floor, monitoring, await chosen_runner(settings), watched),
                    ledger=ledger,
                    history=store.history,
                    environment=environment,
                    sandbox=sandbox,
                    live=store.live,
                    max_code_size=settings.max_code_size,
                ),
                monitoring=monitoring,
                environments=cache,
                sandbox=sandbox,
                ledger=ledger,
                loose=store.loose,
                history=store.history,
            )
        finally:
            await sandbox.close()
            await cache.settle()
            await reconcile(store, cache)
            await tie_up(store)


def _bounds(settings: Settings) -> Bounds:
    return Bounds(queued=settings.max_queued, per_tool=settings.max_per_tool)


def _cache(settings: Settings, environ: Mapping[str, str], sandbox: Sandbox) -> EnvironmentCache:
    return EnvironmentCache(
        settings.environments_path, environ=environ, options=cache_options(settings), sandbox=sandbox
    )


def _wrapped(floor: Floor, monitoring: PythonMonitoring, run: PipelineRunner, watched: Watched | None) -> JobRunner:
    """The life of a job with what wraps it, from the inside out."""
    meter, tracer = (None, None) if watched is None else (watched.meter, watched.tracer)
    steps = partial(run, floor=floor if tracer is None else traced_floor(floor, tracer))
    job = counted(answering(steps, floor.ledger, _delay_s), monitoring)
    job = logged(job if meter is None else metered(job, meter))
    return job if tracer is None else traced(job, tracer)


def _metered(ledger: Ledger, watched: Watched | None) -> Ledger:
    if watched is None or watched.meter is None:
        return ledger
    return MeteredLedger(ledger=ledger, meter=watched.meter)


def _delay_s(attempt: int) -> float:
    from stepflow_python.messaging.dispatch import backoff_s  # noqa: PLC0415 - its library is slow to load, and seldom asked

    return backoff_s(attempt)


def sandbox_config(settings: Settings, environ: Mapping[str, str]) -> SandboxConfig:
    """How runs are isolated, by the settings; public for those who only ask what this host can do."""
    return SandboxConfig(
        folder=settings.home / "sandbox",
        environments=settings.environments_path,
        min_isolation=_min_isolation(settings),
        enabled=settings.enable_sandboxing,
        uid=settings.sandbox_uid,
        cgroup=settings.cgroup,
        search_path=environ.get("PATH"),
        measured=settings.enable_resource_monitoring,
    )


def warm_options(settings: Settings, *, eager: bool = False) -> WarmOptions:
    """What waits for runs, by the settings; `eager`: already for the first call of a tool."""
    return WarmOptions(
        spares=settings.concurrency, memory_mib=settings.warm_memory, idle_s=settings.warm_idle, eager=eager
    )


def _min_isolation(settings: Settings) -> IsolationTier:
    """Who switches the sandbox off means it, unless they also say in so many words how well runs must be isolated."""
    asked = settings.enable_sandboxing or "min_isolation" in settings.model_fields_set
    return settings.min_isolation if asked else IsolationTier.PROCESS


def cache_options(settings: Settings) -> CacheOptions:
    """How environments are found and built, by the settings."""
    return CacheOptions(
        base_packages=settings.base_packages,
        default_python=settings.version,
        interpreter_path=settings.interpreter_path,
        addresses=settings.allow_addresses,
        source_builds=settings.allow_source_builds,
        conda_channels=settings.conda_channels,
        limits=environment_limits(settings) if settings.auto_cleanup else EnvironmentLimits(),
    )


def environment_limits(settings: Settings) -> EnvironmentLimits:
    """How many environments stay, by the settings."""
    return EnvironmentLimits(environments=settings.max_environments, bytes=settings.max_environments_bytes or None)


async def _sources(settings: Settings, history: History) -> Sources:
    return Sources(
        history=history,
        script_roots=settings.script_root,
        parser=await chosen_parser(settings),
        max_code_size=settings.max_code_size,
        parsing=settings.enable_ast_parsing,
        dependency_analysis=settings.enable_dependency_analysis,
    )


def _rules(settings: Settings, lent: LentLater) -> Rules:
    return Rules(
        defaults=Limits(
            timeout_s=settings.default_timeout,
            memory_mib=settings.default_memory_limit,
            processes=settings.max_processes,
            file_bytes=settings.max_work_bytes,
            work_bytes=settings.max_work_bytes,
            output_bytes=settings.max_output_bytes,
            result_bytes=settings.max_result_bytes,
            output_files=settings.max_output_files,
            output_files_bytes=settings.max_output_files_bytes,
        ),
        max_timeout_s=settings.max_execution_time,
        max_memory_mib=settings.max_memory_limit,
        max_level=settings.max_security_level,
        settings_for=partial(_level_settings, settings),
        parsing=settings.enable_ast_parsing,
        infer_dependencies=settings.enable_dependency_analysis,
        unlendable=lent.unlendable,
        extension_names=lent.names,
    )


def _level_settings(settings: Settings, level: SecurityLevel) -> SecuritySettings:
    return settings_for(level, blocked_imports=settings.blocked_imports, allowed_imports=settings.allowed_imports)
