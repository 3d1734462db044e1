"""From a plan to what the sandbox is handed."""

import contextlib
import json
from collections.abc import AsyncIterator

from stepflow_python.jobs.job import Job, Plan
from stepflow_python.model.environment import Environment, EnvironmentId
from stepflow_python.ports import Environments, SandboxRun

# One run does not take every core: numerical libraries start a thread per core of the host, not of the limit.
THREADS = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS", "POLARS_MAX_THREADS"), "1"
)
CLEAN = {
    "PATH": "/usr/local/bin:/usr/bin:/bin",
    "LANG": "C.UTF-8",
    "LC_ALL": "C.UTF-8",
    "TMPDIR": "/tmp",  # noqa: S108 - inside the box, private to the run
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
    named = job.request.environment_id
    if named is not None:
        return await environments.get(EnvironmentId(named))
    return await environments.ensure(plan.environment, progress=job.progress)


def sandbox_run(job: Job, plan: Plan, environment: Environment) -> SandboxRun:
    """All that a run is handed; its variables are an allow-list of ours and the request's own."""
    request, function = job.request, plan.function
    variables = {**CLEAN, **THREADS, "VIRTUAL_ENV": str(environment.path)}
    variables["PATH"] = f"{environment.path / 'bin'}:{variables['PATH']}"
    if function is None and request.parameters:
        variables["STEPFLOW_PARAMETERS"] = json.dumps(request.parameters)
    return SandboxRun(
        execution_id=request.execution_id,
        environment=environment,
        source=plan.module.source_code,
        module_name=plan.module.name,
        function=function.name if function is not None else None,
        parameters=function.parameters if function is not None else (),
        arguments=dict(request.parameters) if function is not None else {},
        input_schema=function.input_schema if function is not None else {},
        stdin=(request.stdin or "").encode("utf-8", "surrogateescape"),
        files=dict(request.files),
        env=variables | dict(request.env),
        limits=plan.limits,
        security=plan.security,
    )
