"""``cempstream replay`` on a broker: every spectrum of the files is a packet, at the rate asked for."""

import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from confluent_kafka import Message
from typer.testing import CliRunner, Result

from cempstream.schemas.codec import decode_spectrum
from cempstream.streams.cli import app
from cempstream.streams.kafka.topic_reader import read_topic
from cempstream.streams.settings import KafkaSettings
from tests.support.fakes import GRID

pytestmark = pytest.mark.timeout(90)


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """Two files of thirty flat spectra each."""
    paths = []
    for name in ("a", "b"):
        path = tmp_path / f"{name}.npz"
        np.savez(
            path,
            wave=np.tile(GRID.wave, 30),
            flux=np.ones(30 * GRID.n_pix, dtype=np.float32),
            ivar=np.full(30 * GRID.n_pix, 400.0, dtype=np.float32),
            offsets=np.arange(31) * GRID.n_pix,
            ids=np.array([f"{name}{i:02d}" for i in range(30)]),
            medium="vacuum",
            frame="rest",
            resolving_power=1800.0,
        )
        paths.append(path)
    return paths


def replay(bootstrap: str, topic: str, *args: object) -> Result:
    return CliRunner().invoke(app, ["replay", *map(str, args), "--bootstrap", bootstrap, "--topic", topic])


def read(bootstrap: str, topic: str) -> list[Message]:
    return list(read_topic(KafkaSettings(bootstrap=bootstrap), topic))


def test_every_spectrum_arrives_once_with_key_and_tense(
    bootstrap: str, new_topic: Callable[..., str], files: list[Path]
) -> None:
    topic = new_topic(n_partitions=3)
    result = replay(bootstrap, topic, *files)
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith(f"60 sent to {topic}, 0 failed, 0 unfit, 0 files unreadable")
    messages = read(bootstrap, topic)
    spectra = [decode_spectrum(m.value() or b"") for m in messages]
    assert sorted(s.spectrum_id for s in spectra) == [f"{name}{i:02d}" for name in "ab" for i in range(30)]
    assert {s.frame for s in spectra} == {"rest"}
    assert [m.key() for m in messages] == [s.key.encode() for s in spectra]
    assert {tuple(m.headers() or ()) for m in messages} == {(("tense", b"archival"),)}


def test_the_rate_is_kept(bootstrap: str, new_topic: Callable[..., str], files: list[Path]) -> None:
    topic = new_topic()
    began_s = time.monotonic()
    assert replay(bootstrap, topic, *files, "--rate", "40").exit_code == 0
    assert time.monotonic() - began_s >= 59 / 40
    stamps = [m.timestamp()[1] / 1000 for m in read(bootstrap, topic)]
    assert len(stamps) == 60
    assert stamps[-1] - stamps[0] > 1.2
    assert stamps[30] - stamps[0] > 0.5, "the packets come evenly, not in one burst"


def test_what_is_current_is_stamped_as_reduced_now(
    bootstrap: str, new_topic: Callable[..., str], files: list[Path]
) -> None:
    topic = new_topic()
    before = datetime.now(UTC)
    assert replay(bootstrap, topic, files[0], "--tense", "current").exit_code == 0
    for message in read(bootstrap, topic):
        assert message.headers() == [("tense", b"current")]
        age = decode_spectrum(message.value() or b"").reduced_at - before
        assert timedelta(0) <= age < timedelta(seconds=60)


def test_good_files_are_sent_though_others_cannot_be_read(
    bootstrap: str, new_topic: Callable[..., str], files: list[Path], tmp_path: Path
) -> None:
    topic = new_topic()
    result = replay(bootstrap, topic, tmp_path / "absent.fits", files[1])
    assert result.exit_code == 1
    assert result.stdout.startswith(f"30 sent to {topic}, 0 failed, 0 unfit, 1 files unreadable")
    assert result.stderr.startswith(str(tmp_path / "absent.fits"))
    assert len(read(bootstrap, topic)) == 30


def test_a_topic_that_is_absent_is_refused_and_not_made(bootstrap: str, files: list[Path]) -> None:
    topic = f"absent-{uuid.uuid4().hex[:8]}"
    for _ in range(2):
        result = replay(bootstrap, topic, *files)
        assert result.exit_code == 2
        assert f"there is no topic '{topic}'" in result.stderr
