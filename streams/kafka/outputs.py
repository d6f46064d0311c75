"""From an outcome to the messages that carry it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import get_args

from cempstream.processors.outcome import Classification, Outcome, Rejected
from cempstream.schemas.alert import alert_to_json, encode_alert
from cempstream.schemas.score import encode_score
from cempstream.schemas.stamp import Stamp, Tense
from cempstream.streams.kafka.publisher import OutMessage
from cempstream.streams.settings import LimitSettings, TopicSettings

Headers = tuple[tuple[str, bytes], ...]

_TENSES = frozenset(get_args(Tense))
_DETAIL_CHARS = 500


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a packet came from.

    Attributes
    ----------
    timestamp_ms
        The broker's or the producer's time of the message, milliseconds since 1970.
    """

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    headers: Headers

    @property
    def tense(self) -> Tense:
        """Whether the packet is tonight's, a replayed one, an injection or a test."""
        for name, value in self.headers:
            if name == "tense" and (tense := value.decode("ascii", "replace")) in _TENSES:
                return tense  # type: ignore[return-value] # one of the literal's own values
        return "current"


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

    def __call__(
        self,
        outcomes: Sequence[Outcome],
        origins: Sequence[Origin],
        ingested_at: datetime,
        inferred_at: datetime,
    ) -> list[OutMessage]:
        """Write the messages of a batch: one score or dead letter each, and an alert for every candidate.

        Alerts go out in Avro and in JSON; those of nights scored again have a topic of their own, which no
        live subscriber reads.
        """
        messages: list[OutMessage] = []
        published_at = datetime.now(UTC)
        for outcome, origin in zip(outcomes, origins, strict=True):
            if isinstance(outcome, Rejected):
                messages.append(self._dead_letter(outcome, origin))
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

    def _dead_letter(self, rejected: Rejected, origin: Origin) -> OutMessage:
        packet = rejected.packet
        is_whole = len(packet) <= self.limits.max_packet_bytes
        facts: Mapping[str, str] = {
            "error.reason": rejected.reason.value,
            "error.detail": rejected.detail[:_DETAIL_CHARS],
            "error.stage": "pipeline",
            "orig.topic": origin.topic,
            "orig.partition": str(origin.partition),
            "orig.offset": str(origin.offset),
            "orig.timestamp": str(origin.timestamp_ms),
            "orig.size": str(len(packet)),
            "orig.sha256": sha256(packet).hexdigest(),
            "orig.is_whole": str(is_whole).lower(),
        }
        return OutMessage(
            self.topics.dlq,
            origin.key,
            packet if is_whole else packet[: self.limits.dead_letter_head_bytes],
            (
                *((name, value.encode()) for name, value in facts.items()),
                *((f"orig.header.{name}", value) for name, value in origin.headers),
            ),
        )


def _alert_headers(outcome: Classification, tense: Tense) -> Headers:
    """Facts by which a client can filter before it decodes."""
    return (
        ("tense", tense.encode()),
        ("survey", outcome.spectrum.survey.encode()),
        ("score", f"{outcome.p_cemp:.4f}".encode()),
        ("class", outcome.subclass.encode()),
    )
