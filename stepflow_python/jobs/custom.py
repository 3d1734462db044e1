"""Another package's parser or executor in its place in the life of a job."""

import asyncio
from dataclasses import dataclass
from pathlib import Path

from stepflow_python.custom import CustomPythonExecutor, CustomPythonParser
from stepflow_python.errors import ExecutionError, InternalError, ParseError, PythonError
from stepflow_python.jobs.authorize import authorize
from stepflow_python.jobs.job import Job, Plan
from stepflow_python.jobs.pipeline import Floor
from stepflow_python.jobs.results import result_of
from stepflow_python.jobs.sources import parse, unparsed
from stepflow_python.model.module import Dependency, PythonModule
from stepflow_python.model.request import PythonRequest
from stepflow_python.model.result import ErrorInfo, ExecutionResult, SandboxOutcome, Status
from stepflow_python.model.values import now
from stepflow_python.parsing.parser import read_source
from stepflow_python.ports import PythonParser

FEATURES = ("functions", "classes", "imports", "dependencies")


@dataclass(frozen=True, slots=True, kw_only=True)
class OtherParser:
    """Implements `ports.PythonParser` by another one; `own` is ours, which finds what that one does not."""

    custom: CustomPythonParser
    own: PythonParser
    max_code_size: int

    async def parse_code(self, code: str, *, name: str = "tool") -> PythonModule:
        """Parse source text.

        Raises:
            ParseError: the parser fails, or gives something else than a module.
        """
        called, finds = self.custom.get_parser_name(), set(self.custom.get_supported_features())
        try:
            module = await self.custom.parse_code(code)
        except PythonError:
            raise
        except Exception as error:
            raise ParseError(f"the parser {called} fails: {type(error).__name__}: {error}") from error
        # A stranger's word on what it gives is no proof.
        if not isinstance(module, PythonModule):
            raise ParseError(f"the parser {called} gives a {type(module).__name__}, not a PythonModule")
        if finds >= set(FEATURES):
            # Source, name and hash are facts, not findings.
            return unparsed(name, code).model_copy(update=_findings(module, finds))
        return (await self.own.parse_code(code, name=name)).model_copy(update=_findings(module, finds))

    async def parse_file(self, path: Path) -> PythonModule:
        """Parse a file, decoded by its own coding cookie."""
        code = await asyncio.to_thread(read_source, path, max_code_size=self.max_code_size)
        return await self.parse_code(code, name=path.stem)

    async def validate_syntax(self, code: str) -> None:
        """Raise where the source cannot be read."""
        await self.parse_code(code)

    async def analyze_dependencies(self, code: str) -> tuple[Dependency, ...]:
        """What the source says it needs."""
        return (await self.parse_code(code)).dependencies


def _findings(module: PythonModule, finds: set[str]) -> dict[str, object]:
    return {feature: getattr(module, feature) for feature in FEATURES if feature in finds}


async def run_elsewhere(job: Job, floor: Floor, executor: CustomPythonExecutor) -> ExecutionResult:
    """Parse, authorize, hand over to another package's executor, record.

    Raises:
        PythonError: the request cannot be used, or the executor fails.
    """
    module = await parse(job, floor.sources)
    plan = await authorize(job, module, floor.rules)
    return await floor.ledger.finish(job.ended_with(await _executed(job, plan, executor)))


async def _executed(job: Job, plan: Plan, executor: CustomPythonExecutor) -> ExecutionResult:
    """Its result, or how the run was ended: by its deadline, or on request."""
    name, versions = executor.get_executor_name(), executor.get_supported_versions()
    wanted = job.request.python_version
    if wanted is not None and versions and wanted not in versions:
        raise ExecutionError(f"python_version: the executor {name} runs {', '.join(versions)}, not {wanted}")
    whole = {**dict(job.request), "code": plan.module.source_code, "script_path": None}
    running = asyncio.ensure_future(executor.execute_code(PythonRequest.model_validate(whole)))
    cancelled = asyncio.ensure_future(job.cancel.wait())
    await asyncio.wait({running, cancelled}, timeout=plan.limits.timeout_s, return_when=asyncio.FIRST_COMPLETED)
    status = Status.CANCELLED if job.cancel.is_set() else Status.TIMED_OUT
    ended = running.done()
    for waiting in (running, cancelled):
        waiting.cancel()
    await asyncio.gather(running, cancelled, return_exceptions=True)
    if not ended:
        words = "stopped on request" if status is Status.CANCELLED else f"no end within {plan.limits.timeout_s:g} s"
        error = ErrorInfo.of(ExecutionError(words))
        return result_of(job, SandboxOutcome(status=status, error=error))
    return _named(job, _given(running, name))


def _given(running: "asyncio.Future[ExecutionResult]", name: str) -> ExecutionResult:
    try:
        result = running.result()
    except PythonError:
        raise
    except Exception as error:
        raise InternalError(f"the executor {name} fails: {type(error).__name__}: {error}") from error
    # A stranger's word on what it gives is no proof.
    if not isinstance(result, ExecutionResult) or not result.status.ended:  # type: ignore[redundant-expr]
        raise InternalError(f"the executor {name} gives no result of a run that has ended")
    return result


def _named(job: Job, result: ExecutionResult) -> ExecutionResult:
    """Whose result it is, and when it ran, is ours to say."""
    ours = {"execution_id": job.request.execution_id, "attempt": job.attempt}
    times = {"started_at": job.started_at, "finished_at": now()}
    return result.model_copy(update={**ours, **times})
