"""A night of followed stars under Prometheus: it scrapes who follows them, and their alerts are told."""

from __future__ import annotations

import itertools
import json
import signal
import subprocess
import sys
from pathlib import Path
from urllib.request import urlopen

import pytest

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(600)]


def test_prometheus_sees_who_follows_stars(tmp_path: Path) -> None:
    options = ["--stars", "--survey", "sdss", "--minutes", "0.2", "--stay", "--out", str(tmp_path)]
    command = [sys.executable, "-m", "cempstream", "night", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as night:
        assert night.stdout is not None
        try:
            lines = itertools.takewhile(lambda line: "stays up" not in line, night.stdout)
            said = dict(line.strip().split(maxsplit=1) for line in lines)
            query = "/api/v1/query?query=cemp_star_alerts_total"
            with urlopen(said["prometheus"].removesuffix("/alerts") + query, timeout=60) as answer:
                found = json.load(answer)["data"]["result"]
            night.send_signal(signal.SIGINT)
            rest, _ = night.communicate(timeout=120)
        finally:
            night.kill()
    assert night.returncode == 0
    assert {series["metric"]["job"] for series in found} == {"cempstream-stars"}
    n_alerts = sum(float(series["value"][1]) for series in found)
    assert n_alerts > 0
    assert f"stars followed, {n_alerts:.0f} alerts of them" in rest
