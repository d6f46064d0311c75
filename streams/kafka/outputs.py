"""From an outcome to the messages that carry it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from cempstream.processors.outcome import Classification, Outcome, Rejected
from cempstream.processors.spectrum import BadSpectrum
from cempstream.schemas.alert import alert_to_json, encode_alert
from cempstream.schemas.score import encode_score
from cempstream.schemas.stamp import Stamp, Tense
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
    """

    def __init__(self, topics: TopicSettings, limits: LimitSettings) -> None:
        self.topics = topics
        self.limits = limits

    def write(
        self,
        outcomes: Sequence[Outcome],
        origins: Sequence[PacketOrigin],
        ingested_at: datetime,
        inferred_at: datetime,
    ) -> list[OutMessage]:
        """Write the messages of a batch: one score or dead letter each, and an alert for every candidate.

        Alerts go out in Avro and in JSON; those of nights scored again go to a separate topic, which no live
        subscriber reads.
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
            if outcome.decision.is_candidate:
                headers = _alert_headers(outcome, origin.tense)
                if origin.tense == "archival":
                    alert = encode_alert(outcome, stamp)
                    messages.append(OutMessage(self.topics.alerts_archival, key, alert, headers))
                    continue
                messages += [
                    OutMessage(self.topics.alerts, key, encode_alert(outcome, stamp), headers),
                    OutMessage(self.topics.alerts_json, key, alert_to_json(outcome, stamp), headers),
                ]
        return messages


def _alert_headers(outcome: Classification, tense: Tense) -> Headers:
    """Return headers by which a client can filter before it decodes."""
    return (
        ("tense", tense.encode()),
        ("survey", outcome.spectrum.survey.encode()),
        ("score", f"{outcome.p_cemp:.4f}".encode()),
        ("class", outcome.subclass.encode()),
    )
