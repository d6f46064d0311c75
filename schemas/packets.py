"""Framing: find the schema of a packet and decode its bytes to a record.

Packets have Confluent's format: a zero byte, the schema's id in four bytes, big-endian, then the Avro record.
Every known version is read. No field of an unknown minor version can be read safely, because Avro's bytes
mean nothing without the schema they were written with; such a packet is refused as ``unsupported_version``
with a message that names the known versions. The JSON topic has no such limit.

The ids are ours (`cempstream.schemas.registry.schema_id`), so that no schema registry is needed. Where there
is one, a process takes its ids at its start (`take_ids`).
"""

from __future__ import annotations

import json
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


#: The readers of a registry's ids, the id that stands in what is written, and our own ids for those of our
#: schemas; empty without a registry.
_registered: dict[Kind, Mapping[int, Reader]] = {}
_written: dict[Kind, int] = {}
_own: dict[tuple[Kind, int], int] = {}
_when_unknown: Callable[[Kind], object] | None = None


def take_ids(kind: Kind, schemas: Mapping[int, Schema], *, writes: bool = True) -> list[str]:
    """Write packets of a kind with the id of a registry from now on, and read its ids beside ours.

    It holds for the whole process: which ids stand in packets is a matter of its Kafka, as the address is.

    Parameters
    ----------
    schemas
        What the registry holds of the kind, by id: our versions, and what else a survey has registered.
    writes
        Whether packets of the kind are written too.

    Returns
    -------
    list of str
        What of it cannot be read as ours, and why.

    Raises
    ------
    SchemaError
        The version that is written is not among them.
    """
    ours = {json.dumps(schema(kind, version), sort_keys=True): version for version in versions(kind)}
    readers: dict[int, Reader] = {}
    problems = []
    written = None
    for number, theirs in schemas.items():
        version = ours.get(json.dumps(theirs, sort_keys=True))
        if version is not None:
            own = _own[kind, number] = schema_id(kind, version)
            readers[number] = _readers(kind)[own]
            written = number if version == latest(kind) else written
            continue
        try:
            readers[number] = _reader_of(number, theirs, kind)
        except SchemaError as error:
            problems.append(str(error))
    if writes:
        if written is None:
            raise SchemaError(f"{kind} {latest(kind)}, which is written, is not among them")
        _written[kind] = written
        _frame.cache_clear()
    _registered[kind] = readers
    return problems


def when_unknown(ask: Callable[[Kind], object] | None) -> None:
    """Have a function called before a packet is refused for its id: the registry may know it by now."""
    global _when_unknown
    _when_unknown = ask


def use_own_ids() -> None:
    """Undo `take_ids` and `when_unknown`."""
    for ids in (_registered, _written, _own):
        ids.clear()
    _frame.cache_clear()
    when_unknown(None)


@cache
def _frame(kind: Kind) -> tuple[bytes, Writer]:
    version = latest(kind)
    number = _written.get(kind, schema_id(kind, version))
    return b"\0" + number.to_bytes(4, "big"), compile_writer(schema(kind, version))


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


def own_id(kind: Kind, number: int) -> int:
    """Return our id of a schema of ours that a registry knows by another; any other id as it is."""
    return _own.get((kind, number), number)


def _reader(kind: Kind, number: int) -> Reader | None:
    return _registered.get(kind, {}).get(number) or _readers(kind).get(number)


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
    read = (resolver(number) if resolver else None) or _reader(kind, number)
    if read is None and _when_unknown is not None:
        _when_unknown(kind)
        read = _reader(kind, number)
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
    return {number: _reader_of(number, theirs, kind) for number, theirs in schemas.items()}.get


def _reader_of(number: int, theirs: Schema, kind: Kind) -> Reader:
    ours = schema(kind)
    try:
        read = compile_reader(theirs, LIMITS[kind])
        problems = unreadable(theirs, ours)
    except (KeyError, TypeError) as error:
        raise SchemaError(f"schema {number} is not an Avro schema: {error!r}") from error
    if problems:
        raise SchemaError(f"schema {number} cannot be read as {kind}: {'; '.join(problems)}")
    return _projected(read, frozenset(field["name"] for field in ours["fields"]))


def _projected(read: Reader, names: frozenset[str]) -> Reader:
    def read_known_fields(buffer: bytes, pos: int) -> tuple[dict[str, Any], int]:
        record, end = read(buffer, pos)
        return {name: value for name, value in record.items() if name in names}, end

    return read_known_fields
