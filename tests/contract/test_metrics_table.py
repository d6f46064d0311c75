"""The table of metrics, the rules and the dashboards against what a worker really exposes."""

from __future__ import annotations

import re
import sys

import pytest
from prometheus_client import Metric

from cempstream.streams.operations.exposure_watch import ExposureMetrics
from cempstream.streams.telemetry.metrics import Metrics, sky_cell
from cempstream.streams.telemetry.star_metrics import StarMetrics
from tests.contract.monitoring import (
    DEPLOY,
    dashboard_queries,
    dashboards,
    picture_queries,
    recorded,
    rule_queries,
    rules,
)

_ROW = re.compile(r"^\| `(\w+)` \| (\w+) \| ([^|]*) \|", re.MULTILINE)

#: Series that Prometheus makes itself.
_OF_PROMETHEUS = re.compile(r"\bup\{|\bALERTS\b")

UNITS = {
    "s", "short", "percentunit", "bytes", "cores", "spectra/s", "packets/s", "batches/s",
}  # fmt: skip

needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="process metrics exist on Linux only")


def every_metrics() -> tuple[Metrics | ExposureMetrics | StarMetrics, ...]:
    """Return the metrics of every process of ours."""
    return Metrics(), ExposureMetrics(), StarMetrics()


def families() -> dict[str, Metric]:
    """Return what is exposed, by the name that Prometheus queries."""
    found = [f for metrics in every_metrics() for f in metrics.registry.collect()]
    return {f.name + ("_total" if f.type == "counter" else ""): f for f in found}


def series() -> set[str]:
    """Return every name that an expression may use."""
    names = set(recorded())
    for name, family in families().items():
        names |= (
            {f"{name}_{end}" for end in ("bucket", "sum", "count")} if family.type == "histogram" else {name}
        )
    return names


@needs_linux
def test_table_is_what_is_exposed() -> None:
    table = {row[1]: row for row in _ROW.finditer((DEPLOY / "METRICS.md").read_text())}
    exposed = families()
    assert set(table) == set(exposed)
    labels = {
        collector._name: set(collector._labelnames)
        for metrics in every_metrics()
        for collector in vars(metrics).values()
        if hasattr(collector, "_labelnames")
    }
    for name, row in table.items():
        assert row[2] == exposed[name].type, name
        if name.startswith("cemp_"):
            assert set(re.findall(r"`(\w+)`", row[3])) == labels[name.removesuffix("_total")], name


@needs_linux
def test_rules_and_dashboards_read_only_what_exists() -> None:
    known = series()
    queries = [*rule_queries(), *dashboard_queries(), *picture_queries()]
    assert len(queries) > 70
    unknown = {query.place: query.metrics - known for query in queries if query.metrics - known}
    assert not unknown
    silent = [query.place for query in queries if not query.metrics and not _OF_PROMETHEUS.search(query.expr)]
    assert not silent


def test_every_alert_says_how_bad_what_where_and_what_to_do() -> None:
    sections = set(re.findall(r"^## (\w+)$", (DEPLOY / "RUNBOOK.md").read_text(), re.MULTILINE))
    alerts = [rule for rule in rules() if "alert" in rule]
    assert {rule["alert"] for rule in alerts} == sections
    panels = {(uid, panel["id"]) for uid, board in dashboards().items() for panel in board["panels"]}
    for rule in alerts:
        assert rule["labels"]["severity"] in ("critical", "warning")
        notes = rule["annotations"]
        assert notes["summary"]
        assert notes["runbook"] == f"deploy/RUNBOOK.md#{rule['alert'].lower()}"
        uid, panel = re.fullmatch(r"/d/([\w-]+)\?viewPanel=(\d+)", notes["panel"]).groups()  # type: ignore[union-attr]
        assert (uid, int(panel)) in panels, rule["alert"]


def test_a_fault_that_is_the_first_of_its_kind_can_be_seen_to_increase() -> None:
    """A series that appears with its first count has no increase: an alert on it would sleep."""
    alerting = " ".join(rule["expr"] for rule in rules() if "alert" in rule)
    counters = {name for name, family in families().items() if family.type == "counter"}
    watched = {name for name in counters if re.search(rf"increase\({name}\b", alerting)}
    assert len(watched) >= 4
    silent = {name for name in watched if not families()[name].samples}
    assert not silent


def test_dashboards_are_sound() -> None:
    assert set(dashboards()) == {
        "cemp-night",
        "cemp-inference",
        "cemp-faults",
        "cemp-candidates",
        "cemp-stars",
    }
    for uid, board in dashboards().items():
        assert [v["name"] for v in board["templating"]["list"]] == ["survey", "bundle"]
        panels = board["panels"]
        assert len({panel["id"] for panel in panels}) == len(panels)
        cells: set[tuple[int, int]] = set()
        for panel in panels:
            place = panel["gridPos"]
            mine = {
                (x, y)
                for x in range(place["x"], place["x"] + place["w"])
                for y in range(place["y"], place["y"] + place["h"])
            }
            assert place["x"] + place["w"] <= 24
            assert not cells & mine, f"{uid}: {panel['title']} lies over another panel"
            cells |= mine
            assert panel["fieldConfig"]["defaults"]["unit"] in UNITS
            assert panel["datasource"]["uid"] == "prometheus"
            assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])


def test_every_alert_has_cases_that_fire_and_that_do_not() -> None:
    cases = "".join(path.read_text() for path in (DEPLOY / "prometheus" / "tests").glob("*.yml"))
    for rule in rules():
        if "alert" in rule:
            assert f"{rule['alert']} fires" in cases
            assert f"{rule['alert']} is silent" in cases


def test_a_position_has_one_cell() -> None:
    assert sky_cell(0.0, 0.0) == ("0", "0")
    assert sky_cell(359.9, -0.1) == ("330", "-30")
    assert sky_cell(30.0, 90.0) == ("30", "60")
