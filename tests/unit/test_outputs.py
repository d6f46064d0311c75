"""Where an outcome goes: live alerts to the live topics, alerts of recorded nights to their own."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import pytest

from cempstream.models.bundle import BUNDLES, BundleError, newest_bundle
from cempstream.models.pinned import bundles_in, find_bundle
from cempstream.processors.decide import Policy
from cempstream.schemas.alert import decode_alert
from cempstream.schemas.score import decode_score
from cempstream.schemas.stamp import record_id
from cempstream.streams.kafka.messages import PacketOrigin
from cempstream.streams.kafka.outputs import MessageWriter
from cempstream.streams.settings import LimitSettings, TopicSettings
from tests.support.fakes import classification, make_spectrum

TOPICS = TopicSettings()
NOW = datetime.now(UTC)


def write(tense: bytes, p_cemp: float = 0.9) -> tuple[Counter[str], dict[str, bytes]]:
    """Return the topics of one classification's messages, and the messages."""
    outcome = classification(make_spectrum("s1"), p_cemp, Policy("1", 3e-4, 0.5))
    origin = PacketOrigin("lamost.spectra.v1", 0, 7, 0, None, (("tense", tense),))
    messages = MessageWriter(TOPICS, LimitSettings()).write([outcome], [origin], NOW, NOW)
    return Counter(m.topic for m in messages), {m.topic: m.value for m in messages}


@pytest.mark.parametrize("tense", [b"current", b"test", b"injection"])
def test_alerts_of_the_night_go_to_the_live_topics(tense: bytes) -> None:
    topics, _ = write(tense)
    assert topics == {TOPICS.scores: 1, TOPICS.alerts: 1, TOPICS.alerts_json: 1}


def test_alerts_of_a_recorded_night_never_reach_a_live_topic() -> None:
    topics, values = write(b"archival")
    assert topics == {TOPICS.scores: 1, TOPICS.alerts_archival: 1}
    alert = decode_alert(values[TOPICS.alerts_archival])
    score = decode_score(values[TOPICS.scores])
    assert alert.alert_tense == score.tense == "archival"
    assert alert.record_id == score.record_id == record_id("lamost", "s1", "")


def test_what_is_no_candidate_is_a_score_alone() -> None:
    assert write(b"archival", 0.1)[0] == write(b"current", 0.1)[0] == {TOPICS.scores: 1}


def test_a_bundle_is_found_by_name_version_and_folder(tmp_path: Path) -> None:
    newest = newest_bundle(BUNDLES, "mid")
    version = newest.name
    for spec in ("mid", f"mid/{version}", f"mid-{version}", str(newest)):
        assert find_bundle(spec) == newest
    for absent in ("mid-9.9.9", "lowest", "mid/9.9", "./nowhere"):
        with pytest.raises(BundleError, match=rf"no bundle '{absent}'.* holds .*mid"):
            find_bundle(absent)
    with pytest.raises(BundleError, match="holds none"):
        find_bundle("mid-1.0.0", tmp_path)
    assert f"mid-{version}" in bundles_in(BUNDLES)
