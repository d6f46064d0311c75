"""Two stars in files of one name are two alerts: each has its identity from its content."""

from itertools import islice
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cempstream.streams.cli import app
from cempstream.streams.subscriber.client import AlertStream
from tests.support.night import Topics, WorkerProcess

pytestmark = [pytest.mark.shared, pytest.mark.timeout(240)]


def test_files_of_one_name_reach_a_subscriber_as_two_alerts(bootstrap: str, shared_data: Path) -> None:
    folder = shared_data / "field" / "same-name-two-folders"
    topics = Topics.create(bootstrap)
    arguments = ["--bootstrap", bootstrap, "--topic", topics.spectra, "--tense", "current"]
    with WorkerProcess(bootstrap, topics) as worker:
        worker.wait_ready()
        result = CliRunner().invoke(app, ["replay", str(folder), *arguments])
        assert result.exit_code == 0, result.output
        with AlertStream(bootstrap, [topics.alerts], start="earliest") as stream:
            alerts = list(islice(stream, 2))  # of one identity a subscriber would wait for ever
    assert [alert.spectrum_id for alert in alerts] == ["coadd", "coadd"]
    assert len({alert.alert_id for alert in alerts}) == 2
    assert len({alert.record_id for alert in alerts}) == 2
    assert sorted(round(alert.parameters.cfe.value, 1) for alert in alerts) == [1.1, 1.9]
