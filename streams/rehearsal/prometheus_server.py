"""A local Prometheus with the rules of ``deploy/``, and its HTTP API."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.error import HTTPError, URLError
from urllib.parse import urlencode
from urllib.request import urlopen

import numpy as np

from cempstream.errors import FixableError
from cempstream.processors.grid import Array
from cempstream.streams.rehearsal.child_process import ChildProcess
from cempstream.streams.rehearsal.embedded import free_port

#: The rules are in a checkout of the project, not in the package.
PROMETHEUS_FOLDER = Path(__file__).resolve().parents[2] / "deploy" / "prometheus"

#: As in ``deploy/prometheus/prometheus.yml``; a test compares.
SCRAPE_S = 5
EVALUATION_S = 10

_START_TIMEOUT_S = 30.0
_STOP_TIMEOUT_S = 20.0
_ANSWER_TIMEOUT_S = 20.0


class MonitorError(FixableError, RuntimeError):
    """Prometheus cannot be started here or refuses a query; the message says what to do."""


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """One series over time.

    Attributes
    ----------
    labels
        Without the series' name.
    time_s
        Unix time, shape ``(n,)``.
    value
        NaN where the expression is not defined, such as 0 / 0; shape ``(n,)``.
    """

    labels: Mapping[str, str]
    time_s: Array = field(repr=False)
    value: Array = field(repr=False)


class PrometheusServer:
    """Scrape workers and evaluate the rules as shipped, for as long as a block lasts.

    Parameters
    ----------
    folder
        Where its configuration, data and log go.
    targets
        ``host:port`` to scrape, by the job name in the rules; workers are ``cempstream``.
    source
        Folder with ``rules/``.
    scrape_s, evaluation_s
        How often it scrapes, and how often it evaluates the rules.

    Raises
    ------
    MonitorError
        There is no ``prometheus`` on PATH, or no rules.
    """

    def __init__(
        self,
        folder: Path,
        targets: Mapping[str, Sequence[str]],
        *,
        source: Path = PROMETHEUS_FOLDER,
        scrape_s: int = SCRAPE_S,
        evaluation_s: int = EVALUATION_S,
    ) -> None:
        program = find_prometheus()
        rules = find_rules(source)
        folder.mkdir(parents=True, exist_ok=True)
        self._address = f"127.0.0.1:{free_port()}"
        # JSON is valid YAML, so no library is needed to write it.
        config = folder / "prometheus.json"
        config.write_text(json.dumps(_configuration(targets, rules, scrape_s, evaluation_s), indent=2))
        self._command = (
            program,
            f"--config.file={config}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address={self._address}",
            "--log.level=warn",
        )
        self._log_path = folder / "prometheus.log"
        self._process: ChildProcess | None = None

    @property
    def url(self) -> str:
        """Its web page."""
        return f"http://{self._address}"

    def start(self) -> None:
        """Start and return when it answers."""
        self._process = ChildProcess(self._command, log_path=self._log_path)
        deadline_s = time.monotonic() + _START_TIMEOUT_S
        while True:
            try:
                with urlopen(f"{self.url}/-/ready", timeout=_ANSWER_TIMEOUT_S):
                    return
            except OSError:  # it has not opened its port, or is not ready yet
                self.check()
                if time.monotonic() > deadline_s:
                    raise MonitorError(f"Prometheus is not ready: {self._process.log_tail()}") from None
            time.sleep(0.1)

    def check(self) -> None:
        """Raise `MonitorError` if it has ended."""
        if self._process is not None and not self._process.is_running:
            raise MonitorError(f"Prometheus has ended: {self._process.log_tail()}")

    def stop(self) -> None:
        """End it; the data stay in the folder."""
        if self._process is not None:
            self._process.stop(timeout_s=_STOP_TIMEOUT_S)

    def query(self, expr: str) -> list[tuple[Mapping[str, str], float]]:
        """Return the series of an expression now: labels and value of each."""
        found = self.ask("/api/v1/query", query=expr)["result"]
        return [(_labels(series["metric"]), float(series["value"][1])) for series in found]

    def query_range(self, expr: str, begin_s: float, end_s: float, step_s: float) -> list[Curve]:
        """Return the series of an expression from one Unix time to another."""
        found = self.ask(
            "/api/v1/query_range", query=expr, start=f"{begin_s:.3f}", end=f"{end_s:.3f}", step=f"{step_s:g}"
        )["result"]
        return [
            Curve(
                _labels(series["metric"]),
                np.array([at for at, _ in series["values"]], dtype=np.float64),
                np.array([float(value) for _, value in series["values"]]),
            )
            for series in found
        ]

    def firing(self) -> set[tuple[str, str]]:
        """Return the alerts that fire now, each as its name and its instance, '' if it has none."""
        return {
            (alert["labels"]["alertname"], alert["labels"].get("instance", ""))
            for alert in self.ask("/api/v1/alerts")["alerts"]
            if alert["state"] == "firing"
        }

    def broken_rules(self) -> Iterator[str]:
        """Yield the rules that could not be evaluated, each with its error."""
        for group in self.ask("/api/v1/rules")["groups"]:
            for rule in group["rules"]:
                if rule["health"] == "err":
                    yield f"{rule['name']}: {rule['lastError']}"

    def ask(self, path: str, **parameters: str) -> Any:
        """Send a query and return the data of the answer.

        Raises
        ------
        MonitorError
            It refuses the query, or does not answer.
        """
        try:
            with urlopen(f"{self.url}{path}?{urlencode(parameters)}", timeout=_ANSWER_TIMEOUT_S) as answer:
                return json.load(answer)["data"]
        except HTTPError as error:
            raise MonitorError(f"{parameters}: {error.read().decode()}") from None
        except (URLError, TimeoutError) as error:
            self.check()
            raise MonitorError(f"Prometheus does not answer at {self.url}: {error}") from None

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def find_prometheus() -> str:
    """Return the program's path.

    Raises
    ------
    MonitorError
        It is not installed.
    """
    program = shutil.which("prometheus")
    if program is None:
        raise MonitorError("there is no `prometheus` on PATH; on Debian: apt install prometheus")
    return program


def find_rules(source: Path = PROMETHEUS_FOLDER) -> Path:
    """Return the folder of rules.

    Raises
    ------
    MonitorError
        The project's ``deploy/`` is not there: the package alone does not have it.
    """
    rules = source / "rules"
    if not rules.is_dir():
        raise MonitorError(
            f"there is no {rules}: the rules are in the project's checkout, not in the package"
        )
    return rules


def _configuration(
    targets: Mapping[str, Sequence[str]], rules: Path, scrape_s: int, evaluation_s: int
) -> dict[str, Any]:
    return {
        "global": {
            "scrape_interval": f"{scrape_s}s",
            "scrape_timeout": f"{max(1, scrape_s - 1)}s",
            "evaluation_interval": f"{evaluation_s}s",
        },
        "rule_files": [str(rules / "*.yml")],
        "scrape_configs": [
            {"job_name": job, "static_configs": [{"targets": list(addresses)}]}
            for job, addresses in targets.items()
        ],
    }


def _labels(metric: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in metric.items() if name != "__name__"}
