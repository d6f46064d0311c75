"""The star packet: all that is known of a star, to which its next observation is added."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import quote

from cempstream.processors.stars.life import Sent
from cempstream.processors.stars.star import Star
from cempstream.schemas.observation import (
    observation_from_record,
    observed_record,
    parameters_from_record,
    parameters_record,
    said_from_record,
    said_record,
)
from cempstream.schemas.packets import MAX_PACKET_BYTES, pack, unpack
from cempstream.schemas.registry import Kind


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StarPacket:
    """A star as it travels.

    Attributes
    ----------
    survey
        Whose name the ``object_id`` is.
    updated_at
        UTC time when it last changed.
    offset
        Of the newest message of the topic of observations that it is made of.
    """

    star: Star
    survey: str
    updated_at: datetime
    offset: int


def star_key(object_id: str, survey: str, tense: str) -> bytes:
    """Return the key of a star's messages: its observations and its states share a partition."""
    return f"{tense}/{quote(survey, safe='')}/{object_id}".encode()


def encode_star(packet: StarPacket) -> bytes:
    """Return a star as a packet."""
    return pack(Kind.STAR, star_record(packet))


def star_record(packet: StarPacket) -> dict[str, Any]:
    """Return a star as the record that its packet holds."""
    star = packet.star
    said = star.said
    return {
        "object_id": star.object_id,
        "survey": packet.survey,
        "tense": star.tense,
        "updated_at": packet.updated_at,
        "offset": packet.offset,
        "is_candidate": star.is_candidate,
        "p_cemp": None if said is None else said.p_cemp,
        "visits": [
            {
                "observed": observed_record(observation),
                "together": None if together is None else said_record(together),
            }
            for observation, together in zip(star.observations, star.together, strict=True)
        ],
        "sent": None if star.sent is None else _sent_record(star.sent),
    }


def _sent_record(sent: Sent) -> dict[str, Any]:
    return {
        "alert_id": sent.alert_id,
        "alert_type": sent.alert_type,
        "revision": sent.revision,
        "supersedes": sent.supersedes,
        "subclass": sent.subclass,
        "parameters": parameters_record(sent.parameters),
    }


def decode_star(packet: bytes, *, max_packet_bytes: int = MAX_PACKET_BYTES) -> StarPacket:
    """Read a star packet.

    Raises
    ------
    PacketError
        Whatever is wrong with the bytes.
    """
    record = unpack(Kind.STAR, packet, max_packet_bytes=max_packet_bytes)
    visits, sent = record["visits"], record["sent"]
    if sent is not None:
        sent = Sent(**{**sent, "parameters": parameters_from_record(sent["parameters"])})
    return StarPacket(
        star=Star(
            object_id=record["object_id"],
            tense=record["tense"],
            observations=tuple(observation_from_record(visit["observed"]) for visit in visits),
            together=tuple(
                None if visit["together"] is None else said_from_record(visit["together"]) for visit in visits
            ),
            sent=sent,
        ),
        survey=record["survey"],
        updated_at=record["updated_at"],
        offset=record["offset"],
    )
