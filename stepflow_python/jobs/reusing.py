"""Results of pure tools, used again instead of run again; only for a request that says so."""

import hashlib
import json

from stepflow_python.jobs.job import Job
from stepflow_python.model.result import SandboxOutcome, Status
from stepflow_python.ports import Reusable, Sandbox, SandboxRun


async def run_or_reuse(job: Job, run: SandboxRun, *, sandbox: Sandbox, reusable: Reusable) -> SandboxOutcome:
    """The outcome of a run, or that of an earlier one with the same key, if the request takes one of that age.

    What lends from the host is never pure, and only what succeeded is used again.

    Raises:
        PythonError: as the sandbox, and where the record cannot be asked.
    """
    age_s = job.request.reuse_for
    if age_s is None or job.request.extensions:
        return await sandbox.run(run, cancel=job.cancel)
    key = key_of(run)
    known = await reusable.find(key, younger_than_s=age_s)
    if known is not None:
        job.found.reused_from = known.reused_from or known.execution_id
        return SandboxOutcome(**{name: getattr(known, name) for name in SandboxOutcome.model_fields})
    outcome = await sandbox.run(run, cancel=job.cancel)
    if outcome.status is Status.SUCCEEDED:
        await reusable.keep(key, job.request.execution_id)
    return outcome


def key_of(run: SandboxRun) -> str:
    """A hash of all that a pure tool's result depends on; the environment's id names its lock and its interpreter."""
    parts = {
        "source": run.source,
        "module": run.module_name,
        "function": run.function,
        "arguments": run.arguments,
        "environment": run.environment.id,
        "stdin": hashlib.sha256(run.stdin).hexdigest(),
        "files": {name: hashlib.sha256(content).hexdigest() for name, content in run.files.items()},
        "env": run.env,
        "security": run.security.model_dump(mode="json"),
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode("utf-8", "surrogatepass")).hexdigest()
