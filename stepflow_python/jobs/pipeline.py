"""The life of one job. New readers start here."""

from dataclasses import dataclass

from stepflow_python.jobs.authorize import Rules, authorize
from stepflow_python.jobs.job import Job
from stepflow_python.jobs.results import result_of
from stepflow_python.jobs.reusing import run_or_reuse
from stepflow_python.jobs.running import environment_for, sandbox_run
from stepflow_python.jobs.sources import Sources, parse
from stepflow_python.model.result import ExecutionResult
from stepflow_python.ports import Environments, Ledger, Reusable, Sandbox


@dataclass(frozen=True, slots=True, kw_only=True)
class Floor:
    """What the steps stand on."""

    sources: Sources
    rules: Rules
    environments: Environments
    sandbox: Sandbox
    ledger: Ledger
    reusable: Reusable


async def run_job(job: Job, floor: Floor) -> ExecutionResult:
    """Parse, authorize, ensure the environment, run in the sandbox, record.

    Raises:
        PythonError: the request cannot be used, or a fault of ours; what the tool does is never an exception.
    """
    module = await parse(job, floor.sources)
    plan = await authorize(job, module, floor.rules)
    async with environment_for(job, plan, floor.environments) as environment:
        run = sandbox_run(job, plan, environment)
        outcome = await run_or_reuse(job, run, sandbox=floor.sandbox, reusable=floor.reusable)
    return await floor.ledger.finish(job.ended_with(result_of(job, outcome)))
