"""A real Prometheus scrapes a worker on Apache Kafka, and every expression of rules and boards is asked."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlencode
from urllib.request import urlopen

import pytest
import yaml

from cempstream.streams.child_process import ChildProcess
from cempstream.streams.embedded import free_port
from tests.broker.conftest import need_kafka
from tests.broker.kafka import KafkaBroker
from tests.contract.monitoring import DEPLOY, dashboard_queries, rule_queries
from tests.night import Topics, WorkerProcess, send, wait_for
from tests.spectra import template_packets

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(600)]

N_SPECTRA = 300

#: Empty in a night without faults: what went wrong, and a day's history.
_NO_FAULT = {"cemp_negative_latency_total", "cemp_ood_total", "cemp:ood_share:rate1h"}


class PrometheusServer:
    """Prometheus with our rules, scraping one worker every second."""

    def __init__(self, folder: Path, target: str) -> None:
        self._address = f"127.0.0.1:{free_port()}"
        config = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())
        config["global"] = {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"}
        config["rule_files"] = [str(DEPLOY / "prometheus" / "rules" / "*.yml")]
        del config["alerting"]
        config["scrape_configs"] = [{"job_name": "cempstream", "static_configs": [{"targets": [target]}]}]
        path = folder / "prometheus.yml"
        path.write_text(yaml.safe_dump(config))
        self.process = ChildProcess(
            [
                "prometheus",
                f"--config.file={path}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address={self._address}",
                "--log.level=warn",
            ]
        )

    def ask(self, path: str, **parameters: str) -> Any:
        """Return the data of an answer; an expression that it refuses fails the test."""
        try:
            with urlopen(f"http://{self._address}{path}?{urlencode(parameters)}", timeout=20) as answer:
                return json.load(answer)["data"]
        except HTTPError as error:
            raise AssertionError(f"{parameters}: {error.read().decode()}") from None

    def query(self, expr: str) -> list[Any]:
        """Return the series of an expression now."""
        found: list[Any] = self.ask("/api/v1/query", query=expr)["result"]
        return found

    def wait_for_data(self, expr: str, timeout_s: float) -> None:
        """Return once an expression has data."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            try:
                if self.query(expr):
                    return
            except (URLError, OSError):  # it has not opened its port yet
                assert self.process.is_running, self.process.log_tail()
            time.sleep(0.5)
        raise AssertionError(f"no data for {expr!r} after {timeout_s} s: {self.process.log_tail()}")


@pytest.fixture
def broker() -> Iterator[KafkaBroker]:
    need_kafka()
    with KafkaBroker() as kafka:
        yield kafka


@pytest.mark.skipif(shutil.which("prometheus") is None, reason="prometheus is not installed")
def test_every_expression_is_answered_by_a_real_night(broker: KafkaBroker, tmp_path: Path) -> None:
    topics = Topics.create(broker.bootstrap)
    with WorkerProcess(broker.bootstrap, topics, CEMP_POLICY__PRIOR="0.5") as worker:
        worker.wait_ready(120)
        prometheus = PrometheusServer(tmp_path, f"127.0.0.1:{worker.port}")
        try:
            prometheus.wait_for_data("cemp_ready == 1", 60)
            header = {"tense": b"current"}
            for part in range(3):  # apart in time, so that there is a rate
                packets = [*template_packets(N_SPECTRA // 3, seed=part), b"junk"]
                send(broker.bootstrap, topics.spectra, packets, header)
                wait_for(broker.bootstrap, topics, (part + 1) * len(packets))
                time.sleep(3)
            prometheus.wait_for_data(f'cemp_spectra_total{{outcome="scored"}} == {N_SPECTRA}', 30)
            prometheus.wait_for_data("cemp:high_score_share:rate1h", 90)  # evaluated once a minute
            empty = {q.place: q.metrics for q in dashboard_queries() if not prometheus.query(q.expr)}
            assert all(metrics & _NO_FAULT for metrics in empty.values()), empty
            for query in rule_queries():
                prometheus.query(query.expr)
            broken = [
                rule
                for group in prometheus.ask("/api/v1/rules")["groups"]
                for rule in group["rules"]
                if rule["health"] != "ok"
            ]
            assert not broken
        finally:
            prometheus.process.stop(timeout_s=20)
