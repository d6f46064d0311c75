"""The observation packet: one spectrum of a star, with what is needed to add it to the star's others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, get_args

from cempstream.processors.outcome import PARAMETERS, SUBCLASSES, Decision, Estimate
from cempstream.processors.spectrum import BadSpectrum, Reason
from cempstream.processors.stars.observation import Observation, Said
from cempstream.schemas.codec import spectrum_from_record, spectrum_record
from cempstream.schemas.packets import MAX_PACKET_BYTES, PacketError, pack, unpack
from cempstream.schemas.registry import Kind
from cempstream.schemas.results import code_provenance, plain
from cempstream.schemas.stamp import Stamp, Tense

_SAID_ALIKE = (
    *("bundle", "snr", "rv_kms", "rv_error_kms", "p_cemp", "p_cemp_corrected"),
    *("cfe_corrected", "ood_score"),
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ObservationPacket:
    """An observation as it travels.

    Attributes
    ----------
    object_id
        The survey's name of the star.
    tense
        Why the spectrum was scored.
    ingested_at, inferred_at, published_at
        UTC times when the packet was read, the models were done, and the observation was sent.
    """

    object_id: str
    observation: Observation
    tense: Tense
    ingested_at: datetime
    inferred_at: datetime
    published_at: datetime


def encode_observation(observation: Observation, stamp: Stamp) -> bytes:
    """Return the packet of an observation whose star has an ``object_id``."""
    return pack(Kind.OBSERVATION, observation_record(observation, stamp))


def observation_record(observation: Observation, stamp: Stamp) -> dict[str, Any]:
    """Return an observation as the record that its packet holds."""
    return {
        "object_id": observation.spectrum.object_id,
        "survey": observation.spectrum.survey,
        "tense": stamp.tense,
        "ingested_at": stamp.ingested_at,
        "inferred_at": stamp.inferred_at,
        "published_at": stamp.published_at,
        "code_version": code_provenance().version,
        "observed": observed_record(observation),
    }


def decode_observation(packet: bytes, *, max_packet_bytes: int = MAX_PACKET_BYTES) -> ObservationPacket:
    """Read an observation packet.

    Raises
    ------
    PacketError
        Whatever is wrong with the bytes.
    """
    record = unpack(Kind.OBSERVATION, packet, max_packet_bytes=max_packet_bytes)
    if record["tense"] not in get_args(Tense):
        raise PacketError(
            Reason.UNKNOWN_TENSE,
            f"'tense' is {record['tense']}; it must be one of {', '.join(get_args(Tense))}",
        )
    return ObservationPacket(
        object_id=record["object_id"],
        observation=observation_from_record(record["observed"]),
        tense=record["tense"],
        ingested_at=record["ingested_at"],
        inferred_at=record["inferred_at"],
        published_at=record["published_at"],
    )


def observed_record(observation: Observation) -> dict[str, Any]:
    """Return what was observed as the record that observations and stars hold."""
    return {
        "spectrum": spectrum_record(observation.spectrum),
        "said": said_record(observation.said),
        "shift_kms": observation.shift_kms,
        "is_shift_certain": observation.is_shift_certain,
    }


def observation_from_record(record: dict[str, Any]) -> Observation:
    """Make an observation of what `observed_record` returned; the dict is changed.

    Raises
    ------
    PacketError
        Its spectrum breaks a rule.
    """
    try:
        spectrum = spectrum_from_record(record["spectrum"])
    except BadSpectrum as error:
        raise PacketError(error.reason, f"its spectrum: {error.detail}") from error
    if not spectrum.object_id:
        raise PacketError(
            Reason.BAD_FIELD, "its spectrum has no 'object_id'; without one it belongs to no star"
        )
    return Observation(
        spectrum=spectrum,
        said=said_from_record(record["said"]),
        shift_kms=record["shift_kms"],
        is_shift_certain=record["is_shift_certain"],
    )


def said_record(said: Said) -> dict[str, Any]:
    """Return what a bundle said as a record."""
    return {
        **{name: getattr(said, name) for name in _SAID_ALIKE},
        "flags": said.flags,
        "subclass_p": {name: said.subclass_p[name] for name in SUBCLASSES},
        "parameters": parameters_record(said.parameters),
        "decision": plain(said.decision),
    }


def said_from_record(record: Mapping[str, Any]) -> Said:
    """Make of what `said_record` returned what the bundle said."""
    return Said(
        **{name: record[name] for name in _SAID_ALIKE},
        flags=tuple(record["flags"]),
        subclass_p=record["subclass_p"],
        parameters=parameters_from_record(record["parameters"]),
        decision=Decision(**record["decision"]),
    )


def parameters_record(parameters: Mapping[str, Estimate]) -> dict[str, Any]:
    """Return parameters with their intervals as a record."""
    return {name: plain(parameters[name]) for name in PARAMETERS}


def parameters_from_record(record: Mapping[str, Any]) -> dict[str, Estimate]:
    """Make of what `parameters_record` returned parameters with their intervals."""
    return {name: Estimate(**record[name]) for name in PARAMETERS}
