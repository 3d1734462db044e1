"""What operators see: the page for Prometheus, and the dashboard and alerts that are made for it."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from stepflow_python import metrics
from stepflow_python.metrics import ASKED, COUNTED, Kind, Metric, Samples
from stepflow_python.worker.exposition import OTHER, PrometheusMeter

ROOT = Path(__file__).resolve().parents[2]
OPERATE = ROOT / "examples" / "operate"
LABELS = {metric.full_name: set(metric.labels) for metric in (*COUNTED, *ASKED)}
GIVEN = {"job", "instance", "le"}
"""Labels that Prometheus adds."""


def expressions() -> Iterator[str]:
    """Every query of the dashboard."""
    dashboard = json.loads((OPERATE / "grafana" / "stepflow.json").read_text())
    for panel in dashboard["panels"]:
        yield from (target["expr"] for target in panel.get("targets", ()))


def alerts() -> list[str]:
    """Every query of the alerts."""
    return re.findall(r"^ +expr: (.+)$", (OPERATE / "alerts.yml").read_text(), flags=re.MULTILINE)


def names_in(expression: str) -> set[str]:
    """The metrics that a query asks for, a histogram by its own name."""
    found = set(re.findall(r"\b(?:stepflow|process)_[a-z_]+\b", expression))
    return {re.sub(r"_bucket$", "", name) for name in found}


def labels_in(expression: str) -> set[str]:
    """The labels that a query selects or sums by."""
    grouped = re.findall(r"\bby \(([^)]*)\)", expression)
    chosen = re.findall(r"\{([^}]*)\}", expression)
    return {name.strip() for group in grouped for name in group.split(",")} | {
        name for selector in chosen for name in re.findall(r"([a-z_]+)(?:=|!=|=~|!~)", selector)
    }


def full_meter() -> PrometheusMeter:
    """A meter to which everything has happened once."""
    meter = PrometheusMeter(tools=5)
    for metric in COUNTED:
        if metric.kind is Kind.HISTOGRAM:
            meter.observe(metric, 1.0, *metric.labels)
        else:
            meter.add(metric, *metric.labels)
    samples: Samples = [(metric, metric.labels, 1.0) for metric in ASKED]
    meter.ask(lambda: samples)
    return meter


def exposed(meter: PrometheusMeter) -> dict[str, Any]:
    """The families of a page, as Prometheus reads it; counters by their full name."""
    families = text_string_to_metric_families(meter.page()[1].decode())
    return {family.name + ("_total" if family.type == "counter" else ""): family for family in families}


def test_all_that_is_counted_is_exposed() -> None:
    """Each metric is on the page under its name, with its kind, its labels and its help."""
    page = exposed(full_meter())
    for metric in (*COUNTED, *ASKED):
        family = page[metric.full_name]
        assert (family.type, family.documentation) == (metric.kind.value, metric.help)
        assert set(metric.labels) <= set(family.samples[0].labels)


def test_the_dashboard_asks_for_what_there_is() -> None:
    """No query names a metric or a label that a worker does not expose."""
    page = exposed(full_meter())
    asked = [*expressions(), *alerts()]
    assert len(asked) > 20
    for expression in asked:
        names = names_in(expression)
        assert names
        assert names <= page.keys(), expression
        known = GIVEN.union(*(LABELS.get(name, set()) for name in names))
        assert labels_in(expression) <= known, expression


def test_the_dashboard_shows_everything() -> None:
    """Each metric is in some query."""
    shown = set().union(*map(names_in, expressions()))
    assert LABELS.keys() - shown == set()


def test_a_query_with_a_wrong_name_is_found() -> None:
    """The comparison above has teeth."""
    assert names_in('sum(rate(stepflow_nothing_total{job="x"}[5m]))') - exposed(full_meter()).keys()
    assert labels_in('sum by (nobody) (x{other!="y"})') == {"nobody", "other"}


def test_every_metric_is_explained() -> None:
    """The documentation has a row for each, with its labels and its help."""
    text = (ROOT / "docs" / "operations.md").read_text()
    rows = re.findall(r"^\| `(stepflow_[a-z_]+)` \| (.*?) \| (.*?) \| (.*?) \|$", text, flags=re.MULTILINE)
    assert rows == [row_of(metric) for metric in (*COUNTED, *ASKED)]


def row_of(metric: Metric) -> tuple[str, str, str, str]:
    """Its line in the documentation."""
    return metric.full_name, metric.kind.value, ", ".join(f"`{label}`" for label in metric.labels), metric.help


def test_tools_are_bounded() -> None:
    """However many tools there are, so many have a label of their own; the others are counted together."""
    meter = PrometheusMeter(tools=2)
    for tool in ("a", "b", "c", "a", "d"):
        meter.add(metrics.EXECUTIONS, tool, "succeeded")
    counts = {sample.labels["tool"]: sample.value for sample in exposed(meter)["stepflow_executions_total"].samples}
    assert counts == {"a": 2.0, "b": 1.0, OTHER: 2.0}


def test_what_has_not_happened_is_zero() -> None:
    """A rate over a series that is not there yet would miss its first event."""
    page = exposed(PrometheusMeter(tools=1))
    assert {sample.value for sample in page["stepflow_record_errors_total"].samples} == {0.0}
    assert len(page["stepflow_retries_total"].samples) == 2


def test_a_question_that_fails_hides_nothing_else(caplog: pytest.LogCaptureFixture) -> None:
    """The rest of the page is there."""
    meter = PrometheusMeter(tools=1)

    def broken() -> Samples:
        raise LookupError("not now")

    meter.ask(broken)
    assert "stepflow_running" in exposed(meter)
    assert "cannot be told now" in caplog.text
