"""Where an outcome goes: live alerts to the live topics, alerts of recorded nights to their own."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from cempstream.models.bundle import BUNDLES, BundleError, newest_bundle
from cempstream.models.pinned import bundles_in, find_bundle
from cempstream.processors.decide import Policy
from cempstream.processors.outcome import Rebinned, Rejected
from cempstream.processors.spectrum import Reason
from cempstream.schemas.alert import decode_alert
from cempstream.schemas.observation import decode_observation
from cempstream.schemas.score import decode_score
from cempstream.schemas.stamp import record_id
from cempstream.streams.kafka.dead_letters import without_packet, write_dead_letter
from cempstream.streams.kafka.messages import OutMessage, PacketOrigin
from cempstream.streams.kafka.outputs import MessageWriter, refuse_unknown_tenses
from cempstream.streams.settings import LimitSettings, TopicSettings
from tests.support.fakes import GRID, classification, make_spectrum

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


def origin_of(*tenses: bytes, key: bytes | None = None, **headers: bytes) -> PacketOrigin:
    pairs = (*(("tense", tense) for tense in tenses), *headers.items())
    return PacketOrigin("lamost.spectra.v1", 0, 7, 0, key, tuple(pairs))


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ([], "current"),
        ([b"ARCHIVAL"], "archival"),
        ([b"archival "], "archival"),
        ([b"\tTest\n"], "test"),
        ([b"test", b"TEST"], "test"),
    ],
)
def test_case_and_blanks_of_a_tense_do_not_matter(said: list[bytes], meant: str) -> None:
    assert origin_of(*said).tense == meant


@pytest.mark.parametrize(
    "said", [[b"replay"], [b""], [b"\xff\xfe"], [b"archival", b"current"], [b"a" * 10_000]]
)
def test_an_unknown_tense_is_a_dead_letter_and_never_an_alert(said: list[bytes]) -> None:
    star = classification(make_spectrum("s1"), 0.9, Policy("1", 3e-4, 0.5))
    (refused,) = refuse_unknown_tenses([b"packet"], [star], [origin_of(*said)])
    assert isinstance(refused, Rejected)
    assert refused.reason is Reason.UNKNOWN_TENSE
    assert (refused.packet, refused.spectrum_id) == (b"packet", "s1")
    assert "it must be one of archival, current, injection, test" in refused.detail
    messages = MessageWriter(TOPICS, LimitSettings()).write([refused], [origin_of(*said)], NOW, NOW)
    assert [message.topic for message in messages] == [TOPICS.dlq]


def size(message: OutMessage) -> int:
    return len(message.value) + len(message.key or b"") + sum(len(n) + len(v) for n, v in message.headers)


def test_a_dead_letter_is_bounded_whatever_key_and_headers_were() -> None:
    limits = LimitSettings(max_packet_bytes=2000, dead_letter_head_bytes=100)
    origin = origin_of(b"test", key=b"k" * 9_000_000, big=b"h" * 9_000_000, small=b"kept")
    letter = write_dead_letter(Rejected(b"junk", Reason.NOT_AVRO, "no"), origin, TOPICS.dlq, limits)
    assert size(letter) < 30_000
    headers = dict(letter.headers)
    assert headers["orig.header.small"] == b"kept"
    assert headers["orig.cut"] == b"key of 9000000 bytes; 1 of 3 headers, 9000021 bytes in all"
    assert headers["orig.is_whole"] == b"false"
    many = PacketOrigin("t", 0, 1, 0, None, tuple((f"h{i}", b"") for i in range(100_000)))
    assert size(write_dead_letter(Rejected(b"", Reason.NOT_AVRO, ""), many, TOPICS.dlq, limits)) < 30_000


def test_a_dead_letter_that_is_not_taken_keeps_its_place_and_digest() -> None:
    letter = write_dead_letter(
        Rejected(b"junk", Reason.NOT_AVRO, "no Avro"), origin_of(b"test", a=b"b"), TOPICS.dlq, LimitSettings()
    )
    stub = without_packet(letter, "too large")
    headers = dict(stub.headers)
    assert stub.value == b""
    assert headers["error.reason"] == b"undeliverable"
    assert headers["error.detail"] == b"undeliverable: too large; before: no Avro"
    assert headers["orig.offset"] == b"7"
    assert headers["orig.sha256"] == dict(letter.headers)["orig.sha256"]
    assert not [name for name in headers if name.startswith("orig.header.")]


def follow(p_cemp: float, object_id: str | None) -> list[OutMessage]:
    """Return the messages of a result that was kept as an observation."""
    spectrum = replace(make_spectrum("s1"), object_id=object_id)
    kept = Rebinned(GRID, spectrum.flux, spectrum.ivar, 1800.0, 12.5, True)
    outcome = replace(classification(spectrum, p_cemp, Policy("1", 3e-4, 0.5, 0.01)), rebinned=kept)
    origin = PacketOrigin("lamost.spectra.v1", 0, 7, 0, None, (("tense", b"injection"),))
    return MessageWriter(TOPICS, LimitSettings()).write([outcome], [origin], NOW, NOW)


@pytest.mark.parametrize("p_cemp", [0.9, 0.02])
def test_an_observation_of_a_named_star_goes_to_its_star_and_alerts_no_one(p_cemp: float) -> None:
    score, observation = follow(p_cemp, "star 1")
    assert (score.topic, observation.topic) == (TOPICS.scores, TOPICS.observations)
    assert observation.key == b"injection/lamost/star 1"
    packet = decode_observation(observation.value)
    assert (packet.object_id, packet.tense, packet.ingested_at) == ("star 1", "injection", NOW)
    assert packet.observation.said.p_cemp == p_cemp
    assert (packet.observation.shift_kms, packet.observation.is_shift_certain) == (12.5, True)


@pytest.mark.parametrize("object_id", [None, ""])
def test_a_spectrum_of_a_star_without_a_name_alerts_by_itself(object_id: str | None) -> None:
    assert [message.topic for message in follow(0.9, object_id)] == [
        *(TOPICS.scores, TOPICS.alerts, TOPICS.alerts_json)
    ]
    assert [message.topic for message in follow(0.02, object_id)] == [TOPICS.scores]


def test_the_headers_of_an_alert_say_what_a_client_filters_by() -> None:
    headers = dict(follow(0.9, None)[1].headers)
    assert headers == {
        "tense": b"injection",
        "type": b"initial",
        "survey": b"lamost",
        "score": b"0.9000",
        "class": b"cemp_s",
    }
