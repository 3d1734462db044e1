"""What other packages may put in the place of our parser and of our sandbox."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from stepflow_python.model.module import PythonModule
from stepflow_python.model.request import PythonRequest
from stepflow_python.model.result import ExecutionResult


@runtime_checkable
class CustomPythonParser(Protocol):
    """A parser of another package, by an entry point of the group `stepflow_python.parsers`."""

    async def parse_code(self, code: str) -> PythonModule:
        """What is in a source; `PythonSyntaxError` or `ParseError` where it cannot be read."""

    def get_supported_features(self) -> Sequence[str]:
        """What it finds: of `functions`, `classes`, `imports`, `dependencies`. What it does not is found by ours."""

    def get_parser_name(self) -> str:
        """Its name in messages."""


@runtime_checkable
class CustomPythonExecutor(Protocol):
    """Runs requests in place of the sandbox, by an entry point of the group `stepflow_python.executors`."""

    async def execute_code(self, request: PythonRequest) -> ExecutionResult:
        """Run a request that was checked; what the tool does is a result. Cancelled at its deadline."""

    def get_supported_versions(self) -> Sequence[str]:
        """Versions of Python that it runs, such as `3.12`; none: whatever it is asked for."""

    def get_executor_name(self) -> str:
        """Its name in messages."""
