"""The score packet: a short result for one spectrum, candidate or not."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from cempstream.processors.outcome import Classification, Decision, TemplateMatch
from cempstream.schemas.packets import MAX_PACKET_BYTES, pack, unpack
from cempstream.schemas.registry import Kind
from cempstream.schemas.results import (
    Packet,
    Parameters,
    SubclassProbabilities,
    code_provenance,
    result_record,
    short_provenance,
)
from cempstream.schemas.stamp import Stamp


class Score(Packet):
    """One spectrum's score; the schema's ``doc`` texts say what each field means and its unit."""

    record_id: str
    spectrum_id: str
    survey: str
    object_id: str | None = None
    exposure_id: str = ""
    exposure_size: int | None = None
    reduction_version: str = ""
    ra: float | None = None
    dec: float | None = None
    tense: str
    observed_at: datetime | None = None
    reduced_at: datetime
    ingested_at: datetime
    inferred_at: datetime
    published_at: datetime
    snr: float
    flags: tuple[str, ...] = ()
    rv_kms: float | None = None
    rv_error_kms: float | None = None
    template: TemplateMatch
    p_cemp: float
    p_cemp_corrected: float
    subclass: str
    subclass_p: SubclassProbabilities
    parameters: Parameters
    cfe_corrected: float
    ood_score: float
    decision: Decision
    bundle: str
    models: tuple[str, ...] = ()
    code_version: str = ""


def encode_score(result: Classification, stamp: Stamp) -> bytes:
    """Return the score packet of a classification."""
    return pack(Kind.SCORE, score_record(result, stamp))


def score_record(result: Classification, stamp: Stamp) -> dict[str, Any]:
    """Return a score as the record that its packet holds."""
    record = result_record(result, stamp)
    record["tense"] = stamp.tense
    record["exposure_size"] = result.spectrum.exposure_size
    record["models"] = short_provenance(result.provenance)
    record["code_version"] = code_provenance().version
    return record


def decode_score(packet: bytes, *, max_packet_bytes: int = MAX_PACKET_BYTES) -> Score:
    """Read a score packet.

    Raises
    ------
    PacketError
        Whatever is wrong with the bytes.
    """
    return Score.from_record(unpack(Kind.SCORE, packet, max_packet_bytes=max_packet_bytes))
