"""``cempstream simulate`` on a broker: packets like a survey's, the truth in a file and not in them."""

import csv
import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cempstream.schemas.codec import decode_spectrum
from cempstream.streams.cli import app
from cempstream.streams.kafka.topic_reader import read_topic
from cempstream.streams.settings import KafkaSettings

pytestmark = pytest.mark.timeout(90)


def test_a_night_is_published_with_its_truth_beside_it(
    bootstrap: str, new_topic: Callable[..., str], tmp_path: Path
) -> None:
    topic = new_topic(n_partitions=2)
    truth = tmp_path / "truth.csv"
    before = datetime.now(UTC)
    arguments = f"simulate --survey csst --n 30 --seed 2 --topic {topic} --bootstrap {bootstrap}"
    result = CliRunner().invoke(app, [*arguments.split(), "--truth", os.fspath(truth)])
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith(f"30 sent to {topic}, 0 failed")
    messages = list(read_topic(KafkaSettings(bootstrap=bootstrap), topic))
    spectra = [decode_spectrum(m.value() or b"") for m in messages]
    with truth.open(newline="") as stream:
        rows = {row["spectrum_id"]: row for row in csv.DictReader(stream)}
    assert {s.spectrum_id for s in spectra} == set(rows)
    assert {tuple(m.headers() or ()) for m in messages} == {(("tense", b"test"),)}
    for spectrum in spectra:
        assert spectrum.grating == rows[spectrum.spectrum_id]["grating"]
        assert timedelta(0) <= spectrum.reduced_at - before < timedelta(seconds=80)
    # Bands of a source share a partition.
    partition = {s.spectrum_id: m.partition() for s, m in zip(spectra, messages, strict=True)}
    assert all(partition[f"{s.object_id}-GV"] == partition[f"{s.object_id}-GI"] for s in spectra)


def test_a_missing_topic_is_one_line(bootstrap: str, tmp_path: Path) -> None:
    arguments = f"simulate --n 2 --topic no.such.topic --bootstrap {bootstrap} --truth {tmp_path}/t.csv"
    result = CliRunner().invoke(app, arguments.split())
    assert result.exit_code == 2
    assert "no.such.topic" in result.output
