"""Whether a request may run here, and within which limits: everything is checked before anything starts."""

import asyncio
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from stepflow_python.errors import (
    ExecutionError,
    MemoryLimitExceededError,
    SecurityViolationError,
    TimeoutExceededError,
)
from stepflow_python.jobs.job import Job, Plan
from stepflow_python.jobs.recent import LARGEST_SOURCE, Recent
from stepflow_python.model.limits import Limits
from stepflow_python.model.module import Parameter, ParameterKind, PythonFunction, PythonModule
from stepflow_python.model.request import ExecutionRequest
from stepflow_python.model.security import SecurityLevel, SecuritySettings, Verdict
from stepflow_python.parsing.arguments import check_arguments, find_function
from stepflow_python.parsing.inference import needed_modules
from stepflow_python.policy.check import check_source
from stepflow_python.ports import EnvironmentSpec

CORES = os.cpu_count() or 1
"""A run may use them all for as long as it may take."""
QUICK_SIZE = 8192
"""Characters of source: some 5 ms of checking."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What the operator allows; times in s, memory in MiB. `defaults` hold for a request that asks for none."""

    defaults: Limits
    max_timeout_s: float
    max_memory_mib: int
    max_level: SecurityLevel
    settings_for: Callable[[SecurityLevel], SecuritySettings]
    parsing: bool
    infer_dependencies: bool = True
    unlendable: Callable[[Sequence[str]], str | None] = lambda names: f"{', '.join(names)} cannot be lent here"
    """Which of these extensions cannot be lent, and why; none if all can. May block, and be called in a thread."""
    extension_names: Callable[[], frozenset[str]] = frozenset
    """Modules that may be lent, whether they can be now or not."""
    verdicts: Recent[tuple[str, SecurityLevel], Verdict] = field(default_factory=Recent)


async def authorize(job: Job, module: PythonModule, rules: Rules) -> Plan:
    """The plan of a request that may run.

    Raises:
        SecurityViolationError: the level is over the ceiling, or the code breaks its policy (every violation is named).
        TimeoutExceededError: more time than the worker gives.
        MemoryLimitExceededError: more memory than the worker gives.
        ExecutionError: unknown function or extension, or arguments that do not fit.
    """
    request = job.request
    _check_level(request, rules)
    await _check_extensions(request, rules)
    security = rules.settings_for(request.security_level)
    if rules.parsing:
        _check_policy(await _verdict(module.source_code, request.security_level, rules), request.security_level)
    return Plan(
        module=module,
        function=_checked_function(request, module, rules),
        limits=_limits(request, rules),
        security=security,
        environment=_environment(request, module, rules),
    )


async def _verdict(code: str, level: SecurityLevel, rules: Rules) -> Verdict:
    """Small sources are checked at once; a large one takes seconds, and other runs' deadlines are kept by this loop."""
    known = rules.verdicts.get((code, level))
    if known is not None:
        return known
    security = rules.settings_for(level)
    if len(code) > QUICK_SIZE:
        verdict = await asyncio.to_thread(check_source, code, security)
    else:
        verdict = check_source(code, security)
    return rules.verdicts.keep((code, level), verdict) if len(code) <= LARGEST_SOURCE else verdict


def _check_level(request: ExecutionRequest, rules: Rules) -> None:
    if request.security_level.rank > rules.max_level.rank:
        raise SecurityViolationError(
            f"security_level: {request.security_level} is over this worker's ceiling, {rules.max_level}; "
            "ask for less, or have the operator raise MAX_SECURITY_LEVEL"
        )


async def _check_extensions(request: ExecutionRequest, rules: Rules) -> None:
    problem = await asyncio.to_thread(rules.unlendable, request.extensions) if request.extensions else None
    if problem is not None:
        raise ExecutionError(f"extensions: {problem}")


def _check_policy(verdict: Verdict, level: SecurityLevel) -> None:
    if verdict.allowed:
        return
    first = verdict.violations[0]
    listed = "; ".join(f"line {found.line}, column {found.column}: {found.message}" for found in verdict.violations)
    raise SecurityViolationError(f"not allowed at level {level}: {listed}", line=first.line, column=first.column)


def _checked_function(request: ExecutionRequest, module: PythonModule, rules: Rules) -> PythonFunction | None:
    if request.function_name is None:
        return None
    if not rules.parsing:
        names = tuple(Parameter(name=name, kind=ParameterKind.KEYWORD_ONLY) for name in request.parameters)
        return PythonFunction(name=request.function_name, parameters=names)
    function = find_function(module, request.function_name)
    check_arguments(function, request.parameters)
    return function


def _limits(request: ExecutionRequest, rules: Rules) -> Limits:
    timeout, memory = request.timeout, request.memory_limit
    if timeout is not None and timeout > rules.max_timeout_s:
        raise TimeoutExceededError(
            f"timeout: {timeout:g} s is over this worker's ceiling of {rules.max_timeout_s:g} s; "
            "ask for less, or have the operator raise MAX_EXECUTION_TIME"
        )
    if memory is not None and memory > rules.max_memory_mib:
        raise MemoryLimitExceededError(
            f"memory_limit: {memory} MiB is over this worker's ceiling of {rules.max_memory_mib} MiB; "
            "ask for less, or have the operator raise MAX_MEMORY_LIMIT"
        )
    limits = rules.defaults
    timeout_s = timeout if timeout is not None else min(limits.timeout_s, rules.max_timeout_s)
    memory_mib = memory if memory is not None else min(limits.memory_mib, rules.max_memory_mib)
    return limits.model_copy(
        update={"timeout_s": timeout_s, "cpu_s": (timeout_s + 1) * CORES, "memory_mib": memory_mib}
    )


def _environment(request: ExecutionRequest, module: PythonModule, rules: Rules) -> EnvironmentSpec:
    """The source's own declaration first, then what the request adds to it; where both are silent, its imports."""
    if request.lock is not None:
        return EnvironmentSpec(lock=request.lock, python=request.python_version or module.requires_python)
    declared = [line for dependency in module.dependencies for line in dependency.requirements]
    silent = rules.infer_dependencies and not module.declared and not request.dependencies
    needed = needed_modules(module.imports, file_names=request.files) if silent else ()
    # Lent or not to this run, what has an extension's name is never guessed to be a distribution.
    lent = rules.extension_names() if needed else frozenset()
    return EnvironmentSpec(
        imports=tuple(one for one in needed if one.module not in lent),
        requirements=tuple(_unique([*declared, *request.dependencies])),
        python=request.python_version or module.requires_python,
    )


def _unique(lines: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(lines))
