"""Which parser and which executor: ours, or those of another package that the settings name."""

from functools import partial
from typing import Protocol

from stepflow_python.config import Settings
from stepflow_python.jobs.job import Job
from stepflow_python.jobs.pipeline import Floor, run_job
from stepflow_python.model.result import ExecutionResult
from stepflow_python.parsing.parser import AstParser
from stepflow_python.ports import PythonParser


class PipelineRunner(Protocol):
    """The life of a job, as `jobs.pipeline.run_job` is one."""

    async def __call__(self, job: Job, floor: Floor) -> ExecutionResult:
        """From a request to its recorded result."""


async def chosen_parser(settings: Settings) -> PythonParser:
    """What reads sources.

    Raises:
        ConfigurationError: the parser that the settings name cannot be had.
    """
    own = AstParser(max_code_size=settings.max_code_size)
    if not settings.custom_parser:
        return own
    # Only who chooses one waits for looking through what is installed.
    from stepflow_python.extensions.plugins import load_parser  # noqa: PLC0415 - see above
    from stepflow_python.jobs.custom import OtherParser  # noqa: PLC0415 - see above

    custom = await load_parser(settings.custom_parser)
    return OtherParser(custom=custom, own=own, max_code_size=settings.max_code_size)


async def chosen_runner(settings: Settings) -> PipelineRunner:
    """The life of a job: in the sandbox, or with another package's executor in its place.

    Raises:
        ConfigurationError: the executor that the settings name cannot be had.
    """
    if not settings.custom_executor:
        return run_job
    from stepflow_python.extensions.plugins import load_executor  # noqa: PLC0415 - see above
    from stepflow_python.jobs.custom import run_elsewhere  # noqa: PLC0415 - see above

    return partial(run_elsewhere, executor=await load_executor(settings.custom_executor))
