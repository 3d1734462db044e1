"""From a request to its parsed source."""

import asyncio
import hashlib
from dataclasses import dataclass, field
from pathlib import Path

from stepflow_python.errors import ExecutionError, SecurityViolationError
from stepflow_python.jobs.job import Job
from stepflow_python.jobs.recent import LARGEST_SOURCE, Recent
from stepflow_python.model.module import PythonModule
from stepflow_python.model.request import ExecutionRequest
from stepflow_python.parsing.parser import read_source
from stepflow_python.ports import History, PythonParser

DEFAULT_NAME = "tool"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """Where sources come from, and what may be read of them."""

    history: History
    parser: PythonParser
    script_roots: tuple[Path, ...]
    max_code_size: int
    parsing: bool
    dependency_analysis: bool
    parsed: Recent[tuple[str, str], PythonModule] = field(default_factory=Recent)


async def parse(job: Job, sources: Sources) -> PythonModule:
    """The module of a request; also of one that turns out to be no Python, the record keeps the source.

    Raises:
        ParseError: too large, undecodable, nested too deep, with NUL bytes.
        PythonSyntaxError: no Python.
        DependencyError: its dependency block is malformed.
    """
    name, code = await _source(job.request, sources)
    known = sources.parsed.get((name, code))
    if known is not None:
        job.found.module = known
        return known
    if len(code) <= sources.max_code_size:
        job.found.module = unparsed(name, code)
    if not sources.parsing:
        return unparsed(name, code)
    module = await sources.parser.parse_code(code, name=name)
    if not sources.dependency_analysis:
        module = module.model_copy(update={"dependencies": (), "requires_python": None})
    job.found.module = module
    return sources.parsed.keep((name, code), module) if len(code) <= LARGEST_SOURCE else module


def unparsed(name: str, code: str) -> PythonModule:
    """A module of which only the source is known."""
    digest = hashlib.sha256(code.encode("utf-8", "surrogatepass")).hexdigest()
    return PythonModule(name=name, source_code=code, source_hash=digest)


async def _source(request: ExecutionRequest, sources: Sources) -> tuple[str, str]:
    if request.code is not None:
        return request.module_name or DEFAULT_NAME, request.code
    if request.script_path is not None:
        path = _allowed(Path(request.script_path), sources.script_roots)
        return request.module_name or module_name_of(path), await asyncio.to_thread(
            read_source, path, max_code_size=sources.max_code_size
        )
    recorded = await sources.history.source(request.tool_id or "")
    if recorded is None:
        raise ExecutionError(f"tool_id: no source of the tool {request.tool_id!r} is on record; send its code once")
    return request.module_name or recorded.name, recorded.source_code


def module_name_of(path: Path) -> str:
    """An identifier made from a file's name."""
    stem = "".join(letter if letter.isalnum() else "_" for letter in path.stem)
    return stem if stem.isidentifier() else f"{DEFAULT_NAME}_{stem}"


def _allowed(path: Path, roots: tuple[Path, ...]) -> Path:
    """A job may come from anywhere, so it names files of this host only below folders that the operator chose."""
    resolved = path.resolve()
    if not any(resolved.is_relative_to(root.resolve()) for root in roots):
        raise SecurityViolationError(
            f"script_path: {str(path)!r} is not below a folder of this worker's setting SCRIPT_ROOT; "
            "send the source in `code`, or have the operator add its folder"
        )
    return resolved
