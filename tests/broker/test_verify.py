"""``cempstream verify`` by an id: the alert is found in the topics among others, and confirmed."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from typer.testing import CliRunner, Result

from cempstream.processors.outcome import Classification
from cempstream.schemas.alert import decode_alert, encode_alert
from cempstream.schemas.stamp import Stamp
from cempstream.streams.cli import app
from cempstream.streams.scoring.assemble import load_pipeline
from cempstream.streams.settings import Settings
from tests.support.night import send
from tests.support.spectra import template_packets

pytestmark = pytest.mark.timeout(90)


def test_an_alert_is_found_by_its_ids(bootstrap: str, new_topic: Callable[..., str]) -> None:
    now = datetime.now(UTC)
    outcomes = load_pipeline(Settings()).classify_packets(template_packets(6, seed=32))
    packets = [
        encode_alert(outcome, Stamp("current", now, now, now))
        for outcome in outcomes
        if isinstance(outcome, Classification)
    ]
    topic = new_topic(n_partitions=2)
    send(bootstrap, topic, [b"junk", *packets, packets[3]])
    alert = decode_alert(packets[3])

    def verify(name: str, status: int = 0) -> Result:
        arguments = ["verify", name, "--bootstrap", bootstrap, "--topic", topic]
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == status, result.output
        return result

    for name in (alert.alert_id, alert.record_id):
        said = verify(name).stdout
        assert said.startswith(f"confirmed: alert {alert.alert_id} of {alert.spectrum_id}")
        assert said.count("confirmed") == 1
    assert "no alert found" in verify("00000000-0000-4000-8000-000000000000", status=3).stderr
