"""Framing: find the schema of a packet and decode its bytes to a record.

Packets have Confluent's format: a zero byte, the schema's id in four bytes, big-endian, then the Avro record.
Every known version is read. No field of an unknown minor version can be read safely, because Avro's bytes
mean nothing without the schema they were written with; such a packet is refused as ``unsupported_version``
with a message that names the known versions. The JSON topic has no such limit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, TypeAlias

from cempstream.processors.spectrum import Reason
from cempstream.schemas.avro_reader import (
    AvroError,
    LimitError,
    Reader,
    ReadLimits,
    TruncatedError,
    compile_reader,
)
from cempstream.schemas.avro_schema import Schema, SchemaError
from cempstream.schemas.avro_writer import Writer, compile_writer
from cempstream.schemas.compatibility import unreadable
from cempstream.schemas.registry import Kind, kind_and_version, known, latest, schema, schema_id, versions

#: A packet larger than this is refused before anything in it is read.
MAX_PACKET_BYTES = 4 * 2**20

HEADER_BYTES = 5

#: The longest lists and texts that are accepted in a packet; an alert holds its attribution, bin by bin.
LIMITS: Mapping[Kind, ReadLimits] = {
    Kind.SPECTRUM: ReadLimits(max_items=64, max_text_bytes=1024),
    Kind.SCORE: ReadLimits(max_items=256, max_text_bytes=1024),
    Kind.ALERT: ReadLimits(max_items=16_384, max_text_bytes=1024),
    Kind.HEARTBEAT: ReadLimits(max_items=256, max_text_bytes=1024),
    Kind.EXPOSURE: ReadLimits(max_items=0, max_text_bytes=1024),
    Kind.OBSERVATION: ReadLimits(max_items=64, max_text_bytes=1024),
    Kind.STAR: ReadLimits(max_items=64, max_text_bytes=1024),
}

#: For a survey with its own registry: the reader of a schema id, None where the id is not from there.
Resolver: TypeAlias = Callable[[int], Reader | None]


class PacketError(ValueError):
    """A packet cannot be read.

    Attributes
    ----------
    reason
        One of the closed set.
    detail
        What was wrong and what would be right, for a person.
    """

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


@cache
def _frame(kind: Kind) -> tuple[bytes, Writer]:
    version = latest(kind)
    header = b"\0" + schema_id(kind, version).to_bytes(4, "big")
    return header, compile_writer(schema(kind, version))


def pack(kind: Kind, record: Mapping[str, Any]) -> bytes:
    """Return a record as a packet of the latest version."""
    header, write = _frame(kind)
    parts = [header]
    write(record, parts.append)
    return b"".join(parts)


@cache
def _readers(kind: Kind) -> Mapping[int, Reader]:
    return {
        schema_id(kind, version): compile_reader(schema(kind, version), LIMITS[kind])
        for version in versions(kind)
    }


def unpack(
    kind: Kind,
    packet: bytes,
    *,
    max_packet_bytes: int = MAX_PACKET_BYTES,
    resolver: Resolver | None = None,
) -> dict[str, Any]:
    """Return a packet's record, a new dict that the caller may change.

    Raises
    ------
    PacketError
        Anything is wrong with the bytes; nothing else is raised because of them.
    """
    if len(packet) > max_packet_bytes:
        raise PacketError(
            Reason.TOO_LARGE, f"the packet has {len(packet)} bytes; at most {max_packet_bytes} are read"
        )
    number = _schema_number(packet)
    read = resolver(number) if resolver else None
    if read is None:
        read = _readers(kind).get(number)
    if read is None:
        raise PacketError(Reason.UNSUPPORTED_VERSION, _unsupported(kind, number))
    try:
        record, end = read(packet, HEADER_BYTES)
    except TruncatedError as error:
        raise PacketError(Reason.TRUNCATED, str(error)) from error
    except LimitError as error:
        raise PacketError(Reason.BAD_FIELD, str(error)) from error
    except AvroError as error:
        raise PacketError(Reason.NOT_AVRO, str(error)) from error
    if end != len(packet):
        raise PacketError(
            Reason.NOT_AVRO, f"{len(packet) - end} bytes are left after the record's last field"
        )
    fields: dict[str, Any] = record
    return fields


def _schema_number(packet: bytes) -> int:
    if not packet:
        raise PacketError(Reason.NOT_AVRO, "the packet is empty")
    if packet[0] != 0:
        raise PacketError(
            Reason.NOT_AVRO, f"the packet starts with byte {packet[0]}; it must start with 0 and a schema id"
        )
    if len(packet) < HEADER_BYTES:
        raise PacketError(Reason.TRUNCATED, f"the packet has {len(packet)} bytes; its header alone has 5")
    return int.from_bytes(packet[1:HEADER_BYTES], "big")


def _unsupported(kind: Kind, number: int) -> str:
    meant = kind_and_version(number)
    if meant is None:
        return f"schema id {number} is not one of ours ({kind}: {known(kind)}) nor of the survey's registry"
    found, version = meant
    return f"the packet is {found} {version}; what is read here is {kind} {known(kind)}"


def survey_resolver(schemas: Mapping[int, Schema], kind: Kind = Kind.SPECTRUM) -> Resolver:
    """Return the resolver for a survey with its own schema ids or a schema that differs from ours.

    Fields unknown to our schema are dropped; fields missing in theirs take their defaults.

    Parameters
    ----------
    schemas
        The survey's schemas by the id in its packets' headers.
    kind
        The kind of its packets.

    Raises
    ------
    SchemaError
        A packet of such a schema could not be read as ours; the message says for which field.
    """
    ours = schema(kind)
    names = frozenset(field["name"] for field in ours["fields"])
    readers: dict[int, Reader] = {}
    for number, theirs in schemas.items():
        try:
            readers[number] = _projected(compile_reader(theirs, LIMITS[kind]), names)
            problems = unreadable(theirs, ours)
        except (KeyError, TypeError) as error:
            raise SchemaError(f"schema {number} is not an Avro schema: {error!r}") from error
        if problems:
            raise SchemaError(f"schema {number} cannot be read as {kind}: {'; '.join(problems)}")
    return readers.get


def _projected(read: Reader, names: frozenset[str]) -> Reader:
    def read_known_fields(buffer: bytes, pos: int) -> tuple[dict[str, Any], int]:
        record, end = read(buffer, pos)
        return {name: value for name, value in record.items() if name in names}, end

    return read_known_fields
