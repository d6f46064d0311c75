"""The exposure packet: whether every spectrum that a survey announced has an outcome."""

from __future__ import annotations

from datetime import datetime
from typing import Literal, Self, TypeAlias

from cempstream.schemas.avro_reader import AvroError, Reader, compile_reader
from cempstream.schemas.packets import HEADER_BYTES, LIMITS, MAX_PACKET_BYTES, own_id, pack, unpack
from cempstream.schemas.registry import Kind, schema, schema_id, versions
from cempstream.schemas.results import Packet
from cempstream.schemas.stamp import exposure_event_id

ExposureStatus: TypeAlias = Literal["complete", "incomplete", "unknown"]

#: The last of a spectrum packet's fields that `peek_exposure` needs.
_LAST_FIELD = "reduction_version"


class Exposure(Packet):
    """The outcome of one exposure; the schema's ``doc`` texts say what each field means."""

    event_id: str
    survey: str
    exposure_id: str
    reduction_version: str = ""
    status: ExposureStatus
    n_expected: int
    n_in: int
    n_scored: int
    n_dead_letters: int
    n_alerts: int
    first_reduced_at: datetime | None = None
    last_published_at: datetime
    latency_seconds: float | None = None
    reported_at: datetime
    n_received: int | None = None

    @property
    def n_missing(self) -> int:
        """Number of spectra that the survey announced and that have no outcome."""
        return max(0, self.n_expected - self.n_in)

    @classmethod
    def of(
        cls,
        survey: str,
        exposure_id: str,
        reduction_version: str,
        *,
        status: ExposureStatus,
        n_expected: int,
        n_scored: int,
        n_dead_letters: int,
        n_alerts: int,
        first_reduced_at: datetime | None,
        last_published_at: datetime,
        reported_at: datetime,
        n_received: int | None = None,
    ) -> Self:
        """Return the event of an exposure, with the fields computed from the counts and times."""
        latency_s = (
            None if first_reduced_at is None else (last_published_at - first_reduced_at).total_seconds()
        )
        return cls(
            event_id=exposure_event_id(survey, exposure_id, reduction_version, status),
            survey=survey,
            exposure_id=exposure_id,
            reduction_version=reduction_version,
            status=status,
            n_expected=n_expected,
            n_in=n_scored + n_dead_letters,
            n_scored=n_scored,
            n_dead_letters=n_dead_letters,
            n_alerts=n_alerts,
            first_reduced_at=first_reduced_at,
            last_published_at=last_published_at,
            latency_seconds=latency_s,
            reported_at=reported_at,
            n_received=n_received,
        )


def encode_exposure(exposure: Exposure) -> bytes:
    """Return an exposure's event as a packet."""
    return pack(Kind.EXPOSURE, dict(exposure))


def decode_exposure(packet: bytes, *, max_packet_bytes: int = MAX_PACKET_BYTES) -> Exposure:
    """Read an exposure packet.

    Raises
    ------
    PacketError
        Whatever is wrong with the bytes.
    """
    return Exposure.from_record(unpack(Kind.EXPOSURE, packet, max_packet_bytes=max_packet_bytes))


class ExposureOfPacket(Packet):
    """Which exposure a spectrum packet belongs to."""

    spectrum_id: str
    survey: str
    exposure_id: str
    exposure_size: int | None
    reduction_version: str


def _head_readers() -> dict[int, Reader]:
    """Return readers of a spectrum packet's first fields, by schema id; in every version they come first."""
    readers = {}
    for version in versions(Kind.SPECTRUM):
        whole = schema(Kind.SPECTRUM, version)
        names = [field["name"] for field in whole["fields"]]
        head = {**whole, "fields": whole["fields"][: names.index(_LAST_FIELD) + 1]}
        readers[schema_id(Kind.SPECTRUM, version)] = compile_reader(head, LIMITS[Kind.SPECTRUM])
    return readers


_HEAD_READERS = _head_readers()


def peek_exposure(packet: bytes) -> ExposureOfPacket | None:
    """Return the exposure of a packet that could not be scored; None where its first bytes do not say."""
    read = _HEAD_READERS.get(own_id(Kind.SPECTRUM, int.from_bytes(packet[1:HEADER_BYTES], "big")))
    if packet[:1] != b"\0" or read is None:
        return None
    try:
        record, _ = read(packet, HEADER_BYTES)
    except AvroError:
        return None
    return ExposureOfPacket.model_validate(record)
