"""Traces, where the operator switched them on by OpenTelemetry's own variables; else nothing of it is even imported."""

import contextlib
import sys
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Protocol

from stepflow_python.errors import ConfigurationError

if TYPE_CHECKING:
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider

ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
EXPORTER = "OTEL_TRACES_EXPORTER"
OTLP, CONSOLE = "otlp", "console"
Value = str | int | float | bool


class Span(Protocol):
    """Something that takes time."""

    def note(self, **facts: Value | None) -> None:
        """Say more of it; what is none is left out."""


class Tracer(Protocol):
    """Makes spans; each is a child of the one around it."""

    def span(self, name: str, **facts: Value | None) -> contextlib.AbstractContextManager[Span]:
        """A span that lasts as long as the block; what the block raises is noted, and raised."""


def wanted(environ: Mapping[str, str]) -> bool:
    """Whether the variables switch traces on."""
    if environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return False
    exporter = environ.get(EXPORTER, "")
    return exporter not in {"", "none"} or (not exporter and any(environ.get(name) for name in ENDPOINTS))


def switch_on(environ: Mapping[str, str], *, service: str) -> Tracer | None:
    """Trace this process, and what Celery sends and runs in it; none where nobody asked for it.

    Args:
        environ: `OTEL_EXPORTER_OTLP_ENDPOINT` and the like; the exporter reads the process's own as well.
        service: what this process is called where `OTEL_SERVICE_NAME` is not set.

    Raises:
        ConfigurationError: it is switched on, and the libraries are not installed, or the exporter is not known.
    """
    if not wanted(environ):
        return None
    try:
        from opentelemetry import trace  # noqa: PLC0415 - only who asks for traces has it, and waits for it
        from opentelemetry.instrumentation.celery import CeleryInstrumentor  # noqa: PLC0415 - likewise
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415 - likewise
    except ModuleNotFoundError as error:
        message = f"{EXPORTER} or {ENDPOINTS[1]} is set, and {error.name} is not installed"
        raise ConfigurationError(f"{message}; run `pip install 'stepflow-python[otel]'`, or unset it") from error
    if not isinstance(trace.get_tracer_provider(), TracerProvider):  # else somebody set it up around us
        trace.set_tracer_provider(_provider(environ, service))
    instrumentor = CeleryInstrumentor()  # type: ignore[no-untyped-call]  # it has no types
    if not instrumentor.is_instrumented_by_opentelemetry:
        instrumentor.instrument()
    return _OpenTelemetry(trace.get_tracer("stepflow_python"))


def _provider(environ: Mapping[str, str], service: str) -> "TracerProvider":
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415 - see `switch_on`
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415 - see `switch_on`
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter  # noqa: PLC0415 - see `switch_on`

    name = environ.get("OTEL_SERVICE_NAME") or service
    provider = TracerProvider(resource=Resource.create({"service.name": name}))
    exporter = environ.get(EXPORTER) or OTLP
    if exporter == CONSOLE:
        provider.add_span_processor(BatchSpanProcessor(ConsoleSpanExporter(out=sys.stderr)))
    elif exporter == OTLP:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415 - see above

        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    else:
        raise ConfigurationError(f"{EXPORTER}={exporter!r} is not known here; name {OTLP}, {CONSOLE} or none")
    return provider


class _OpenTelemetry:
    def __init__(self, tracer: "trace.Tracer") -> None:
        self._tracer = tracer

    @contextlib.contextmanager
    def span(self, name: str, **facts: Value | None) -> Iterator[Span]:
        with self._tracer.start_as_current_span(f"stepflow.{name}") as made:
            span = _Span(made)
            span.note(**facts)
            yield span


class _Span:
    def __init__(self, span: "trace.Span") -> None:
        self._span = span

    def note(self, **facts: Value | None) -> None:
        for name, value in facts.items():
            if value is not None:
                self._span.set_attribute(f"stepflow.{name}", value)


def current_trace() -> str | None:
    """The id of the trace that is under way, as hexadecimal digits."""
    api = sys.modules.get("opentelemetry.trace")
    if api is None:
        return None
    context = api.get_current_span().get_span_context()
    return f"{context.trace_id:032x}" if context.is_valid else None
