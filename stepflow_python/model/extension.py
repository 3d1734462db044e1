"""What is recorded of modules that the host lends."""

from pydantic import Field, JsonValue

from stepflow_python.model.values import Instant, Value


class ExtensionCall(Value):
    """One call of a function of an extension.

    `outcome` is `ok`, the built-in type that the tool was given, `cancelled` where the run ended or lost interest, or
    `dropped` for a stream that was not read to its end. `arguments` are those that the extension calls safe to record.
    """

    extension: str
    function: str
    called_at: Instant
    duration_ms: float
    request_bytes: int
    response_bytes: int
    outcome: str
    arguments: dict[str, JsonValue] = Field(default_factory=dict)
