"""Messages for which their producer states no time (-1): read where no time is asked for, else counted."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from cempstream.schemas.codec import encode_spectrum
from cempstream.streams.kafka.topic_reader import read_topic
from cempstream.streams.settings import KafkaSettings
from tests.broker.test_exposures import exposure, watching
from tests.support.night import Topics, send

pytestmark = pytest.mark.timeout(180)


def test_a_topic_is_read_with_what_has_no_time(bootstrap: str, caplog: pytest.LogCaptureFixture) -> None:
    topic = Topics.create(bootstrap, partitions=1).spectra
    now_ms = round(datetime.now(UTC).timestamp() * 1000)
    send(bootstrap, topic, [b"one"], timestamp_ms=now_ms)
    send(bootstrap, topic, [b"two"], timestamp_ms=-1)
    send(bootstrap, topic, [b"three"], timestamp_ms=now_ms + 1)
    settings = KafkaSettings(bootstrap=bootstrap)
    assert [m.value() for m in read_topic(settings, topic)] == [b"one", b"two", b"three"]
    assert not caplog.messages
    since = datetime.now(UTC) - timedelta(hours=1)
    assert [m.value() for m in read_topic(settings, topic, since=since)] == [b"one", b"three"]
    assert caplog.messages == [f"1 messages of {topic} have no time and were left out"]


def test_an_exposure_without_times_has_waited_since_it_was_seen(
    bootstrap: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    topics = Topics.create(bootstrap)
    for name, value in topics.environment().items():
        monkeypatch.setenv(name, value)
    with watching(bootstrap) as watch:
        watch.wait_for("cemp_exposures_total", 0)
        send(bootstrap, topics.spectra, [encode_spectrum(exposure("first", 58)[0])])
        watch.wait_for("cemp_exposures_open", 1)  # it reads
        packets = [encode_spectrum(s) for s in exposure("timeless", 59)[:9]]
        send(bootstrap, topics.spectra, packets, timestamp_ms=-1)
        watch.wait_for("cemp_exposures_open", 2)
        assert 0 <= watch.metric("cemp_exposure_oldest_open_seconds") < 3600
