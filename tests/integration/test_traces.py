"""Traces: from the producer to the steps of the attempt, where they are switched on, and nothing at all where not."""

import itertools
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from support.cli import Stepflow
from support.product import PATIENCE_S, beside, wait_for_end
from typing_extensions import override

from stepflow_python.errors import ConfigurationError
from stepflow_python.tracing import switch_on, wanted

TOOL = "import os\n\ndef double(n: int) -> int:\n    print(os.environ['TOKEN'])\n    return n * 2\n"
SECRET = "correct horse"  # noqa: S105 - a made-up one
CHAIN = ("apply_async/stepflow.execute", "run/stepflow.execute", "stepflow.attempt")
STEPS = {"stepflow.parse", "stepflow.environment", "stepflow.run"}


@contextmanager
def collector() -> Iterator[tuple[str, list[Any], threading.Condition]]:
    """An endpoint for spans; those that came, by service and name."""
    spans: list[Any] = []
    more = threading.Condition()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            request = ExportTraceServiceRequest.FromString(self.rfile.read(int(self.headers["Content-Length"])))
            with more:
                for resource in request.resource_spans:
                    spans.extend(span for scope in resource.scope_spans for span in scope.spans)
                more.notify_all()
            self.send_response(200)
            self.end_headers()

        @override
        def log_message(self, format: str, *args: object) -> None:
            """Nothing to say."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", spans, more
        finally:
            server.shutdown()
            thread.join()


def test_one_trace(stepflow: Stepflow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a command sends and a worker runs is one trace, each step below the one around it; no secret is in it."""
    apart, tool = beside(stepflow, tmp_path / "apart"), tmp_path / "tool.py"
    tool.write_text(TOOL)
    words = ["submit", str(tool), "--function", "double", "--arg", "n=2", "--env", f"TOKEN={SECRET}", "--id", "one"]
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "100")
    with collector() as (endpoint, spans, more):
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
        with apart.worker("--concurrency", "1"):
            assert apart(*words).code == 0
            assert wait_for_end(apart, "one")["status"] == "succeeded"
        with more:
            assert more.wait_for(lambda: {*CHAIN, *STEPS} <= {span.name for span in spans}, PATIENCE_S), spans
    by_name = {span.name: span for span in spans}
    assert len({span.trace_id for span in by_name.values() if span.name in {*CHAIN, *STEPS}}) == 1
    for outer, inner in itertools.pairwise(CHAIN):
        assert by_name[inner].parent_span_id == by_name[outer].span_id
    assert {by_name[name].parent_span_id for name in STEPS} == {by_name["stepflow.attempt"].span_id}
    facts = {fact.key: fact.value.string_value for fact in by_name["stepflow.attempt"].attributes}
    assert (facts["stepflow.execution_id"], facts["stepflow.status"]) == ("one", "succeeded")
    assert SECRET not in repr(spans)


def test_nothing_is_paid_for_traces_that_nobody_wants() -> None:
    """Not even an import."""
    code = (
        "import sys; from stepflow_python.bootstrap import runtime; from stepflow_python.tracing import switch_on;"
        " assert switch_on({}, service='x') is None;"
        " print(sorted(name for name in sys.modules if name.startswith(('opentelemetry', 'prometheus'))))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize(
    ("variables", "on"),
    [
        ({}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c"}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c", "OTEL_TRACES_EXPORTER": "none"}, False),
        ({"OTEL_TRACES_EXPORTER": "console"}, True),
        ({"OTEL_TRACES_EXPORTER": "console", "OTEL_SDK_DISABLED": "true"}, False),
        ({"OTEL_SERVICE_NAME": "x"}, False),
    ],
)
def test_what_switches_traces_on(variables: dict[str, str], *, on: bool) -> None:
    """OpenTelemetry's own variables, as its specification has them."""
    assert wanted(variables) is on


def test_libraries_that_are_missing_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Switched on without the extra: which library, and what to install."""
    monkeypatch.setitem(sys.modules, "opentelemetry.instrumentation.celery", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'stepflow-python\[otel\]'"):
        switch_on({"OTEL_TRACES_EXPORTER": "otlp"}, service="x")
