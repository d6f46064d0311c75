"""Alerts of a simulated survey with their truth, for comparisons of plans."""

from __future__ import annotations

from pathlib import Path

import pytest

from cempstream.streams.observing.yield_report import read_truth
from cempstream.streams.rehearsal.alert_pool import main
from cempstream.streams.subscriber.alert_file import AlertFile


def test_a_pool_holds_alerts_whose_truth_is_known(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["--n", "256", "--seed", "7", "--out", str(tmp_path / "pool")])
    truth = read_truth(tmp_path / "pool" / "truth.csv")
    alerts = list(AlertFile(tmp_path / "pool" / "alerts.jsonl", tenses=["test"]))
    assert len(truth) == 256
    assert f"256 spectra of lamost (halo), {len(alerts)} alerts" in capsys.readouterr().out
    assert len(alerts) > 5
    right = sum(truth[alert.name].is_cemp for alert in alerts)
    assert right > 0.7 * len(alerts)
    assert all(alert.spectrum is None and alert.photometry["r"].mag > 10 for alert in alerts)
