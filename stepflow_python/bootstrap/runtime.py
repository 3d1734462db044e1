"""Settings to wired objects: the one place that names concrete classes."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from datetime import timedelta
from functools import partial

from stepflow_python.bootstrap.reconciliation import reconcile
from stepflow_python.config import Settings
from stepflow_python.environments.cache import CacheOptions, EnvironmentCache
from stepflow_python.environments.service import VirtualEnvironments
from stepflow_python.environments.surplus import Limits as EnvironmentLimits
from stepflow_python.jobs.authorize import Rules
from stepflow_python.jobs.execution import Executions
from stepflow_python.jobs.job import JobRunner
from stepflow_python.jobs.middleware import answering, counted, logged
from stepflow_python.jobs.monitoring import RecordMonitoring
from stepflow_python.jobs.pipeline import Floor, run_job
from stepflow_python.jobs.sources import Sources
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
from stepflow_python.store.maintenance import prune
from stepflow_python.store.opening import open_store


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
    history: History

    async def execute_payload(self, payload: object, previous: object = None) -> ExecutionResult:
        """Run what a message holds; see `jobs.execution`."""
        return await self.executor.execute_payload(payload, previous)

    async def cleanup(self, *, older_than_days: float) -> dict[str, int]:
        """Remove records that ended longer ago; counts by what was removed."""
        pruned = await prune(self.settings.database, older_than=timedelta(days=older_than_days))
        return asdict(pruned)


@asynccontextmanager
async def open_runtime(settings: Settings, *, environ: Mapping[str, str]) -> AsyncIterator[Runtime]:
    """The runtime of this process; `environ` is read for PATH, HOME and the installer's own variables only.

    Raises:
        DatabaseError: the record cannot be opened.
    """
    async with open_store(settings.database, lease_s=settings.lease) as store:
        sandbox = HostSandbox(sandbox_config(settings, environ))
        cache = EnvironmentCache(settings.environments_path, environ=environ, options=cache_options(settings))
        await reconcile(store, cache)
        floor = Floor(
            sources=_sources(settings, store.history),
            rules=_rules(settings),
            environments=cache,
            sandbox=sandbox,
            ledger=store.ledger,
        )
        monitoring = RecordMonitoring(store.history)
        try:
            yield Runtime(
                settings=settings,
                parser=AstParser(max_code_size=settings.max_code_size),
                security=PolicySecurity(_level_settings(settings, SecurityLevel.STRICT), sandbox.status),
                environment=VirtualEnvironments(cache),
                executor=Executions(
                    run_job=_wrapped(floor, monitoring),
                    ledger=store.ledger,
                    history=store.history,
                    environments=cache,
                    max_code_size=settings.max_code_size,
                ),
                monitoring=monitoring,
                environments=cache,
                sandbox=sandbox,
                ledger=store.ledger,
                history=store.history,
            )
        finally:
            await sandbox.close()
            await cache.settle()
            await reconcile(store, cache)


def _wrapped(floor: Floor, monitoring: PythonMonitoring) -> JobRunner:
    """The life of a job with what wraps it, from the inside out."""
    return logged(counted(answering(partial(run_job, floor=floor), floor.ledger), monitoring))


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
        limits=environment_limits(settings) if settings.auto_cleanup else EnvironmentLimits(),
    )


def environment_limits(settings: Settings) -> EnvironmentLimits:
    """How many environments stay, by the settings."""
    return EnvironmentLimits(environments=settings.max_environments, bytes=settings.max_environments_bytes or None)


def _sources(settings: Settings, history: History) -> Sources:
    return Sources(
        history=history,
        script_roots=settings.script_root,
        parser=AstParser(max_code_size=settings.max_code_size),
        max_code_size=settings.max_code_size,
        parsing=settings.enable_ast_parsing,
        dependency_analysis=settings.enable_dependency_analysis,
    )


def _rules(settings: Settings) -> Rules:
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
    )


def _level_settings(settings: Settings, level: SecurityLevel) -> SecuritySettings:
    return settings_for(level, blocked_imports=settings.blocked_imports, allowed_imports=settings.allowed_imports)
