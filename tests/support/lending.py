"""Runs tools in real boxes with modules of a test's own."""

import asyncio
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stepflow_python.bootstrap.runtime import open_runtime, warm_options
from stepflow_python.config import Settings
from stepflow_python.extensions import ExtensionContext
from stepflow_python.model.history import ExecutionRecord
from stepflow_python.model.request import ExecutionRequest
from stepflow_python.model.result import ExecutionResult


@dataclass(frozen=True, slots=True, kw_only=True)
class Lender:
    """A runtime with a home; `settings` are variables without their prefix; `warm` runs find a process waiting."""

    home: Path
    settings: dict[str, str] = field(default_factory=dict)
    warm: bool = False

    def record(self, code: str, context: ExtensionContext, **fields: Any) -> ExecutionRecord:
        """Run a tool, by its function `f` unless `fields` say otherwise, and read all that is recorded of it."""

        async def run() -> ExecutionRecord:
            settings = self._settings()
            warm = warm_options(settings, eager=True) if self.warm else None
            async with open_runtime(settings, environ=dict(os.environ), context=context, warm=warm) as runtime:
                fields.setdefault("extensions", tuple(sorted(context.available)))
                request = ExecutionRequest(code=code, **({"function_name": "f"} | fields))
                await runtime.executor.execute(request)
                record = await runtime.history.get(request.execution_id)
                assert record is not None
                return record

        return asyncio.run(run())

    def result(self, code: str, context: ExtensionContext, **fields: Any) -> ExecutionResult:
        """Run a tool; its result."""
        result = self.record(code, context, **fields).result
        assert result is not None
        return result

    def value(self, code: str, context: ExtensionContext, **fields: Any) -> Any:
        """Run a tool that must succeed; what its function returned."""
        result = self.result(code, context, **fields)
        assert result.status == "succeeded", (result.error, result.stderr)
        return result.result

    def _settings(self) -> Settings:
        ours = {"HOME": str(self.home), **self.settings}
        return Settings.from_environ({f"STEPFLOW_PYTHON_{name}": text for name, text in ours.items()})
