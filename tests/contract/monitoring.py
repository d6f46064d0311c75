"""What the tests of rules and dashboards read from ``deploy/``."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from cempstream.streams.rehearsal.night_picture import ALERTS, PANELS

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
RULES = sorted((DEPLOY / "prometheus" / "rules").glob("*.yml"))
DASHBOARDS = sorted((DEPLOY / "grafana" / "dashboards").glob("*.json"))

#: Grafana puts these in place before Prometheus sees an expression.
_VARIABLES = {"$survey": ".*", "$bundle": ".*", "$__range": "1h"}

_METRIC = re.compile(r"\b(?:cemp_|cemp:|process_)[a-z0-9_:]+")


@dataclass(frozen=True)
class Query:
    """An expression and where it stands."""

    place: str
    expr: str

    @property
    def metrics(self) -> set[str]:
        """Names of the series that it reads."""
        return set(_METRIC.findall(self.expr))


def rules() -> list[dict[str, Any]]:
    """Return all rules of all groups."""
    return [
        rule
        for path in RULES
        for group in yaml.safe_load(path.read_text())["groups"]
        for rule in group["rules"]
    ]


def rule_queries() -> list[Query]:
    """Return the expressions of all rules."""
    return [Query(rule.get("alert") or rule["record"], rule["expr"]) for rule in rules()]


def recorded() -> set[str]:
    """Return the names that recording rules make."""
    return {rule["record"] for rule in rules() if "record" in rule}


def dashboards() -> dict[str, dict[str, Any]]:
    """Return the dashboards by their uid."""
    return {board["uid"]: board for board in (json.loads(path.read_text()) for path in DASHBOARDS)}


def dashboard_queries() -> Iterator[Query]:
    """Yield the expressions of all panels, variables replaced."""
    for uid, board in dashboards().items():
        for panel in board["panels"]:
            for target in panel["targets"]:
                expr = target["expr"]
                for variable, value in _VARIABLES.items():
                    expr = expr.replace(variable, value)
                yield Query(f"{uid}/{panel['title']}", expr)


def picture_queries() -> list[Query]:
    """Return the expressions of the picture of a night."""
    queries = [Query(f"picture/{panel.title}", line.expr) for panel in PANELS for line in panel.lines]
    return [*queries, Query("picture/alerts", ALERTS)]
