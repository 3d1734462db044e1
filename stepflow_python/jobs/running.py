"""From a plan to what the sandbox is handed."""

import contextlib
import json
import time
from collections.abc import AsyncIterator

from stepflow_python.jobs.job import Job, Plan
from stepflow_python.model.environment import Environment, EnvironmentId
from stepflow_python.model.module import PythonModule
from stepflow_python.ports import Environments, SandboxRun, Steps

# One run does not take every core: numerical libraries start a thread per core of the host, not of the limit.
THREADS = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS", "POLARS_MAX_THREADS"), "1"
)
HASH_IN_NAME = 12
CLEAN = {
    "PATH": "/usr/local/bin:/usr/bin:/bin",
    "LANG": "C.UTF-8",
    "LC_ALL": "C.UTF-8",
    "USER": "tool",
    "LOGNAME": "tool",
}


@contextlib.asynccontextmanager
async def environment_for(job: Job, plan: Plan, environments: Environments) -> AsyncIterator[Environment]:
    """The environment of a plan, in use: the one that the request names, else the one of its requirements.

    Raises:
        DependencyError: a requirement is malformed, unknown or impossible.
        PythonEnvironmentError: no such environment or interpreter, or it could not be built.
    """
    while True:
        environment = await _find(job, plan, environments)
        async with environments.lease(environment) as there:
            # Another process may remove it after it was found and before it is in use; then it is built again.
            if there:
                job.found.environment = environment
                yield environment
                return


async def _find(job: Job, plan: Plan, environments: Environments) -> Environment:
    steps, named = Steps(progress=job.progress, times=job.found.environment_times), job.request.environment_id
    if named is None:
        return await environments.ensure(plan.environment, steps=steps, refresh=job.refresh)
    started = time.monotonic()
    environment = await environments.get(EnvironmentId(named))
    steps.took("found", started)
    return environment


def sandbox_run(job: Job, plan: Plan, environment: Environment) -> SandboxRun:
    """All that a run is handed; its variables are an allow-list of ours and the request's own."""
    request, function = job.request, plan.function
    variables = {**CLEAN, **THREADS, "VIRTUAL_ENV": str(environment.path)}
    variables["PATH"] = f"{environment.path / 'bin'}:{variables['PATH']}"
    given = {"STEPFLOW_PARAMETERS": json.dumps(request.parameters)} if function is None and request.parameters else {}
    return SandboxRun(
        execution_id=request.execution_id,
        environment=environment,
        source=plan.module.source_code,
        module_name=plan.module.name,
        tool=request.tool_id or f"{plan.module.name}-{plan.module.source_hash[:HASH_IN_NAME]}",
        function=function.name if function is not None else None,
        parameters=function.parameters if function is not None else (),
        arguments=dict(request.parameters) if function is not None else {},
        input_schema=function.input_schema if function is not None else {},
        stdin=(request.stdin or "").encode("utf-8", "surrogateescape"),
        files=dict(request.files),
        variables=variables,
        env=given | dict(request.env),
        imports=_imports(plan.module),
        limits=plan.limits,
        security=plan.security,
        extensions=request.extensions,
    )


def _imports(module: PythonModule) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """What running the module imports for certain, by absolute names."""
    return tuple(
        (one.module, tuple(name.name for name in one.names if name.name != "*"))
        for one in module.imports
        if one.level == 0 and not one.optional
    )
