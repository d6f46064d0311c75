"""From an outcome to the messages that carry it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from cempstream.processors.outcome import Classification, Outcome, Rejected
from cempstream.processors.spectrum import BadSpectrum
from cempstream.processors.stars.observation import is_followed, observe
from cempstream.processors.stars.star import Star
from cempstream.schemas.alert import alert_to_json, encode_alert
from cempstream.schemas.observation import encode_observation
from cempstream.schemas.score import encode_score
from cempstream.schemas.sky import NOT_LOOKED_UP, LookUp
from cempstream.schemas.stamp import Stamp
from cempstream.schemas.star import star_key
from cempstream.streams.kafka.dead_letters import write_dead_letter
from cempstream.streams.kafka.messages import Headers, OutMessage, PacketOrigin
from cempstream.streams.settings import LimitSettings, TopicSettings


def refuse_unknown_tenses(
    packets: Sequence[bytes], outcomes: Sequence[Outcome], origins: Sequence[PacketOrigin]
) -> list[Outcome]:
    """Return the outcomes; one whose packet is of an unknown tense becomes a dead letter.

    Entry i of each belongs to packet i.
    """
    checked: list[Outcome] = []
    for packet, outcome, origin in zip(packets, outcomes, origins, strict=True):
        try:
            origin.tense  # noqa: B018 - raises where the word is unknown
        except BadSpectrum as bad:
            checked.append(_refused(packet, outcome, bad))
        else:
            checked.append(outcome)
    return checked


def _refused(packet: bytes, outcome: Outcome, bad: BadSpectrum) -> Outcome:
    if isinstance(outcome, Rejected):  # any other reason comes first
        return outcome
    star = outcome.spectrum
    return Rejected(packet, bad.reason, bad.detail, star.spectrum_id, star.survey, star.exposure_id)


class MessageWriter:
    """Turn outcomes into messages.

    Parameters
    ----------
    topics
        Where they go.
    limits
        How much of a refused packet is kept.
    look_up
        Finds what lies at the position of a candidate; None where nothing is looked up.
    """

    def __init__(self, topics: TopicSettings, limits: LimitSettings, look_up: LookUp | None = None) -> None:
        self.topics = topics
        self.limits = limits
        self.look_up = look_up

    def write(
        self,
        outcomes: Sequence[Outcome],
        origins: Sequence[PacketOrigin],
        ingested_at: datetime,
        inferred_at: datetime,
    ) -> list[OutMessage]:
        """Write the messages of a batch: one score or dead letter each, and an alert for every candidate.

        An observation of a star that is followed goes to that star instead, candidate or not.
        """
        messages: list[OutMessage] = []
        published_at = datetime.now(UTC)
        for outcome, origin in zip(outcomes, origins, strict=True):
            if isinstance(outcome, Rejected):
                messages.append(write_dead_letter(outcome, origin, self.topics.dlq, self.limits))
                continue
            stamp = Stamp(origin.tense, ingested_at, inferred_at, published_at)
            key = outcome.spectrum.key.encode()
            messages.append(OutMessage(self.topics.scores, key, encode_score(outcome, stamp)))
            if is_followed(outcome):
                messages.append(self._observation(outcome, stamp))
            elif outcome.decision.is_candidate:
                messages += write_alerts(outcome, stamp, self.topics, look_up=self.look_up)
        return messages

    def _observation(self, outcome: Classification, stamp: Stamp) -> OutMessage:
        observation = observe(outcome)
        assert observation is not None, "its rebinned spectrum was kept"
        spectrum = outcome.spectrum
        key = star_key(spectrum.key, spectrum.survey, stamp.tense)
        return OutMessage(self.topics.observations, key, encode_observation(observation, stamp))


def write_alerts(
    result: Classification,
    stamp: Stamp,
    topics: TopicSettings,
    star: Star | None = None,
    look_up: LookUp | None = None,
) -> list[OutMessage]:
    """Write the messages of an alert, of a spectrum or of a star.

    It goes out in Avro and in JSON; one of a night scored again goes to a separate topic, which no live
    subscriber reads.
    """
    key, headers = result.spectrum.key.encode(), _alert_headers(result, stamp)
    sky = NOT_LOOKED_UP if look_up is None else look_up(result.spectrum)
    alert = encode_alert(result, stamp, star, sky)
    if stamp.tense == "archival":
        return [OutMessage(topics.alerts_archival, key, alert, headers)]
    return [
        OutMessage(topics.alerts, key, alert, headers),
        OutMessage(topics.alerts_json, key, alert_to_json(result, stamp, star, sky), headers),
    ]


def _alert_headers(result: Classification, stamp: Stamp) -> Headers:
    """Return headers by which a client can filter before it decodes."""
    return (
        ("tense", stamp.tense.encode()),
        ("type", stamp.alert_type.encode()),
        ("survey", result.spectrum.survey.encode()),
        ("score", f"{result.p_cemp:.4f}".encode()),
        ("class", result.subclass.encode()),
    )
