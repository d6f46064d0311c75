"""Observations, stars and the alerts of stars: there and back, so that folding goes on where it stood."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from cempstream.processors.spectrum import Reason
from cempstream.processors.stars.life import Sent
from cempstream.processors.stars.observation import Observation, Said
from cempstream.processors.stars.star import MOST_OBSERVATIONS, Star, fold, fold_all
from cempstream.schemas.alert import alert_from_json, alert_to_json, decode_alert, encode_alert
from cempstream.schemas.observation import decode_observation, encode_observation
from cempstream.schemas.packets import MAX_PACKET_BYTES, PacketError
from cempstream.schemas.registry import Kind, Version, sample
from cempstream.schemas.samples import sample_classification, sample_observation, sample_stamp, sample_star
from cempstream.schemas.star import StarPacket, decode_star, encode_star, star_key
from tests.support.visits import NIGHT, MeanJudge, visit

STAMP = sample_stamp()
EMPTY = Star(object_id="star", tense="current")


def same(one: Observation, other: Observation) -> bool:
    """Whether two observations are equal in all that folding uses, to the last bit."""
    return (one.visit, one.rank, one.group, one.is_shift_certain, one.spectrum.grid) == (
        *(other.visit, other.rank, other.group, other.is_shift_certain, other.spectrum.grid),
    ) and one.said == other.said


def travelled(star: Star) -> Star:
    """Return a star after its way through the topic."""
    packet = encode_star(StarPacket(star=star, survey="csst", updated_at=NIGHT, offset=3))
    return decode_star(packet).star


def test_an_observation_comes_back_as_it_was() -> None:
    contaminated = visit(1, p=0.3)
    spectrum = contaminated.spectrum
    spectrum = replace(spectrum, contamination=np.full(spectrum.n_pix, 0.1, np.float32))
    sent = replace(contaminated, spectrum=spectrum, is_shift_certain=False, shift_kms=-17.25)
    packet = decode_observation(encode_observation(sent, replace(STAMP, tense="injection")))
    assert same(packet.observation, sent)
    assert (packet.object_id, packet.tense) == ("star", "injection")
    assert packet.ingested_at == STAMP.ingested_at
    np.testing.assert_array_equal(packet.observation.spectrum.contamination, spectrum.contamination)


def test_an_observation_without_a_star_is_a_packet_error() -> None:
    nameless = sample_observation()
    nameless = replace(nameless, spectrum=replace(nameless.spectrum, object_id=None))
    record = replace(nameless, spectrum=replace(nameless.spectrum, object_id=""))
    with pytest.raises(PacketError, match="has no 'object_id'") as refused:
        decode_observation(encode_observation(record, STAMP))
    assert refused.value.reason == Reason.BAD_FIELD


@pytest.mark.parametrize("kind", [Kind.OBSERVATION, Kind.STAR])
def test_a_damaged_packet_is_a_packet_error(kind: Kind) -> None:
    packet = sample(kind)
    decode = decode_observation if kind is Kind.OBSERVATION else decode_star
    for size in range(0, len(packet), 97):
        with pytest.raises(PacketError):
            decode(packet[:size])
    with pytest.raises(PacketError, match="UTF-8"):
        decode(packet.replace(b"\x0csample", b"\x0csamp\xffe"))


def test_folding_goes_on_after_a_journey_as_if_there_had_been_none() -> None:
    judge = MeanJudge()
    arrivals = [
        visit(1, p=0.9),
        visit(3, p=0.2, grating="GI"),
        visit(0, p=0.6),
        visit(3, p=0.9),
        visit(1, p=0.9),
    ]
    kept, gone = EMPTY, EMPTY
    for observation in arrivals:
        packet = decode_observation(encode_observation(observation, STAMP))
        kept = fold(kept, observation, judge).star
        gone = travelled(fold(gone, packet.observation, judge).star)
        assert len(kept.observations) == len(gone.observations)
        assert all(map(same, kept.observations, gone.observations))
        assert kept.together == gone.together
        assert (kept.is_candidate, kept.said) == (gone.is_candidate, gone.said)


def test_what_was_sent_and_what_could_not_be_said_come_back() -> None:
    said = visit(0).said
    sent = Sent(
        alert_id="a", alert_type="update", revision=4, subclass=said.subclass, parameters=said.parameters
    )
    star = replace(EMPTY, observations=(visit(0), visit(1)), together=(said, None), sent=sent)
    back = travelled(star)
    assert back.sent == sent
    assert back.together == (said, None)
    assert travelled(replace(star, sent=None)).sent is None


def test_the_largest_star_fits_the_size_limit() -> None:
    largest = sample_star()
    observation = largest.star.observations[0]
    said = Said.of(sample_classification())
    spectrum = replace(observation.spectrum, contamination=np.zeros(observation.spectrum.n_pix, np.float32))
    full = replace(
        largest.star,
        observations=(replace(observation, spectrum=spectrum),) * MOST_OBSERVATIONS,
        together=(said,) * MOST_OBSERVATIONS,
    )
    assert len(encode_star(replace(largest, star=full))) < MAX_PACKET_BYTES


def test_keys_of_different_stars_differ() -> None:
    assert star_key("12/7", "csst", "current") == b"current/csst/12/7"
    assert star_key("b", "a/current", "current") != star_key("current/b", "a", "current")
    assert star_key("b", "a", "test") != star_key("b", "a", "current")


def test_the_alert_of_a_star_tells_its_visits_and_how_p_grew() -> None:
    judge = MeanJudge()
    folded = fold_all(
        EMPTY, [visit(0, p=0.3), visit(2, p=0.9), visit(1, p=0.1, grating="GI", snr=3.0)], judge
    )
    star = folded.star
    result = folded.results[star.speaking()[0].group]
    alert = decode_alert(encode_alert(result, STAMP, star))
    assert (alert.n_observations, alert.n_coadded, alert.gratings) == (3, 3, ("GI", "GV"))
    assert (alert.first_observed_at, alert.last_observed_at) == star.observed
    assert [v.spectrum_id for v in alert.visits] == ["v0-GV", "v1-GI", "v2-GV"]
    assert [v.p_cemp for v in alert.visits] == pytest.approx([0.3, 0.2, 1.3 / 3])  # the means so far
    assert [v.snr for v in alert.visits] == [20.0, 3.0, 20.0]
    by_json = alert_from_json(alert_to_json(result, STAMP, star))
    assert by_json.visits == alert.visits


def test_a_visit_of_which_nothing_can_be_said_has_no_p() -> None:
    star = replace(EMPTY, observations=(visit(0), visit(1)), together=(None, visit(1).said))
    alert = decode_alert(encode_alert(sample_classification(), STAMP, star))
    assert math.isnan(alert.visits[0].p_cemp)
    assert alert.visits[1].p_cemp == 0.1


def test_the_alert_of_a_spectrum_alone_is_that_of_a_star_seen_once() -> None:
    result = sample_classification()
    alert = decode_alert(encode_alert(result, STAMP))
    spectrum = result.spectrum
    assert (alert.n_observations, alert.n_coadded, alert.gratings) == (1, 1, ())
    assert alert.first_observed_at == alert.last_observed_at == spectrum.observed_at
    assert [(v.spectrum_id, v.p_cemp) for v in alert.visits] == [(spectrum.spectrum_id, result.p_cemp)]
    by_grating = replace(result, spectrum=replace(spectrum, grating="GV"))
    assert decode_alert(encode_alert(by_grating, STAMP)).gratings == ("GV",)


def test_an_alert_of_1_0_is_read_as_that_of_one_spectrum() -> None:
    alert = decode_alert(sample(Kind.ALERT, Version(1, 0)))
    assert (alert.n_observations, alert.n_coadded, alert.visits) == (1, 1, ())
    assert alert.spectrum is not None
    assert alert.spectrum.stellarity is None
