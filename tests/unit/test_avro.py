"""Our Avro against fastavro's, on every one of our schemas and on malformed bytes."""

from __future__ import annotations

import io
import string
import struct
from datetime import UTC, datetime
from typing import Any

import fastavro
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cempstream.schemas.avro_reader import (
    AvroError,
    LimitError,
    ReadLimits,
    TruncatedError,
    compile_reader,
)
from cempstream.schemas.avro_schema import Schema, SchemaError, definitions, resolve, type_name
from cempstream.schemas.avro_writer import compile_writer, encode_long
from cempstream.schemas.registry import Kind, schema

_TEXTS = st.text(alphabet=string.printable + "Åµ☆", max_size=12)
_TIMES = st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC))
_PRIMITIVES: dict[str, st.SearchStrategy[Any]] = {
    "null": st.none(),
    "boolean": st.booleans(),
    "int": st.integers(-(2**31), 2**31 - 1),
    "long": st.integers(-(2**63), 2**63 - 1),
    "float": st.floats(width=32, allow_nan=False),
    "double": st.floats(allow_nan=False),
    "bytes": st.binary(max_size=40),
    "string": _TEXTS,
}


def values_of(part: Schema, names: dict[str, Schema]) -> st.SearchStrategy[Any]:
    """Return a strategy for whatever a schema allows."""
    part = resolve(part, names)
    name = type_name(part)
    if isinstance(part, list):
        return st.one_of([values_of(branch, names) for branch in part])
    if isinstance(part, dict):
        if part.get("logicalType") == "timestamp-micros":
            return _TIMES
        if name == "record":
            return st.fixed_dictionaries({f["name"]: values_of(f["type"], names) for f in part["fields"]})
        if name == "array":
            return st.lists(values_of(part["items"], names), max_size=4)
        if name == "map":
            return st.dictionaries(_TEXTS, values_of(part["values"], names), max_size=3)
        if name == "enum":
            return st.sampled_from(part["symbols"])
    return _PRIMITIVES[name]


def our_bytes(part: Schema, value: Any) -> bytes:
    pieces: list[bytes] = []
    compile_writer(part)(value, pieces.append)
    return b"".join(pieces)


def fastavro_bytes(part: Schema, value: Any) -> bytes:
    buffer = io.BytesIO()
    fastavro.schemaless_writer(buffer, fastavro.parse_schema(part), value)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", list(Kind))
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_every_record_is_written_and_read_as_fastavro_does(kind: Kind, data: st.DataObject) -> None:
    ours = schema(kind)
    record = data.draw(values_of(ours, definitions(ours)))
    packet = fastavro_bytes(ours, record)
    assert our_bytes(ours, record) == packet
    assert compile_reader(ours)(packet, 0) == (record, len(packet))


@given(number=st.integers(-(2**63), 2**63 - 1))
def test_integers_are_coded_as_fastavro_does(number: int) -> None:
    assert encode_long(number) == fastavro_bytes("long", number)


def test_blocks_with_a_size_are_read() -> None:
    # a writer may split an array into blocks and give each its size in bytes, with a negative count
    packet = encode_long(-2) + encode_long(2) + encode_long(7) + encode_long(8)
    packet += encode_long(1) + encode_long(9) + encode_long(0)
    assert compile_reader({"type": "array", "items": "long"})(packet, 0) == ([7, 8, 9], len(packet))


@pytest.mark.parametrize(
    ("part", "packet", "error"),
    [
        ("long", b"", TruncatedError),
        ("long", b"\xff" * 9, TruncatedError),
        ("long", b"\xff" * 11, AvroError),
        ("long", b"\xff" * 9 + b"\x7f", AvroError),  # 70 bits
        ("double", b"\0" * 7, TruncatedError),
        ("boolean", b"\2", AvroError),
        ("bytes", encode_long(10) + b"123", TruncatedError),
        ("bytes", encode_long(2**62), TruncatedError),
        ("bytes", encode_long(-1) + b"123", AvroError),
        ("string", encode_long(3) + b"\xff\xfe\xfd", AvroError),
        ("string", encode_long(2) + b"\xed\xa0", AvroError),
        ("string", encode_long(100) + b"a" * 100, LimitError),
        ("string", encode_long(-5), LimitError),
        (["null", "double"], b"\4", AvroError),
        (["null", "double"], b"\1", AvroError),
        (["double", "bytes", "null"], encode_long(-1), AvroError),
        ({"type": "enum", "name": "E", "symbols": ["a"]}, encode_long(1), AvroError),
        ({"type": "enum", "name": "E", "symbols": ["a"]}, encode_long(-1), AvroError),
        ({"type": "array", "items": "long"}, encode_long(2**60), LimitError),
        ({"type": "array", "items": "long"}, encode_long(-(2**63)) + encode_long(1), LimitError),
        ({"type": "array", "items": "double"}, encode_long(8) + b"\0" * 63, TruncatedError),
        ({"type": "array", "items": "long"}, (encode_long(8) + b"\0" * 8) * 2, LimitError),
        ({"type": "map", "values": "long"}, encode_long(2**60), LimitError),
        ({"type": "long", "logicalType": "timestamp-micros"}, encode_long(2**62), AvroError),
        ({"type": "long", "logicalType": "timestamp-micros"}, encode_long(-(2**62)), AvroError),
    ],
)
def test_bytes_that_lie_are_an_avro_error(part: Schema, packet: bytes, error: type[Exception]) -> None:
    with pytest.raises(AvroError) as caught:
        compile_reader(part, ReadLimits(max_items=10, max_text_bytes=20))(packet, 0)
    assert type(caught.value) is error


def test_an_error_names_the_field() -> None:
    inner = {"type": "record", "name": "In", "fields": [{"name": "mag", "type": "double"}]}
    outer = {"type": "record", "name": "Out", "fields": [{"name": "star", "type": inner}]}
    with pytest.raises(TruncatedError, match="'star': 'mag': "):
        compile_reader(outer)(b"\0", 0)


@pytest.mark.parametrize(
    "part",
    [
        {"type": "array", "items": "null"},
        {"type": "array", "items": {"type": "record", "name": "Empty", "fields": []}},
        {"type": "record", "name": "Tree", "fields": [{"name": "twig", "type": ["null", "Tree"]}]},
        {"type": "fixed", "name": "Four", "size": 4},
        {"type": {"type": "string"}},
        "Nowhere",
    ],
)
def test_a_schema_that_could_be_endless_or_is_not_supported_is_refused(part: Schema) -> None:
    with pytest.raises(SchemaError):
        compile_reader(part)


def test_a_number_that_does_not_fit_is_not_written() -> None:
    with pytest.raises(OverflowError, match="64 bits"):
        our_bytes("long", 2**63)


EDGES = sorted({sign * 2**bits + off for bits in range(63) for off in (-1, 0, 1) for sign in (-1, 1)})


def test_every_length_of_a_number_begins_and_ends_where_fastavros_does() -> None:
    for value in EDGES:
        out = io.BytesIO()
        fastavro.schemaless_writer(out, "long", value)
        packed = out.getvalue()
        assert encode_long(value) == packed, value
        assert compile_reader("long")(packed, 0) == (value, len(packed))


@pytest.mark.parametrize(
    ("part", "packed", "value"),
    [
        ("float", struct.pack("<f", 0.15625), 0.15625),
        ("double", struct.pack("<d", -1e300), -1e300),
        ("bytes", b"\x06abc", b"abc"),
        ("string", b"\x06abc", "abc"),
        ("boolean", b"\x01", True),
        ("boolean", b"\x00", False),
        ({"type": "array", "items": "float"}, b"\x02" + struct.pack("<f", 2.5) + b"\x00", [2.5]),
    ],
    ids=str,
)
def test_a_value_may_end_where_the_packet_ends(part: Schema, packed: bytes, value: object) -> None:
    read = compile_reader(part)
    assert read(packed, 0) == (value, len(packed))
    with pytest.raises(AvroError):
        read(packed[:-1], 0)


def test_a_text_that_is_cut_says_how_much_is_left() -> None:
    with pytest.raises(TruncatedError, match="3 bytes is announced, 2 are left"):
        compile_reader("string")(b"\x06ab", 0)
    with pytest.raises(TruncatedError, match="3 bytes are announced, 1 are left"):
        compile_reader("bytes")(b"\x06a", 0)


@pytest.mark.parametrize(
    ("part", "item"),
    [
        ({"type": "array", "items": "boolean"}, b"\x01"),
        ({"type": "array", "items": "double"}, bytes(8)),
        ({"type": "map", "values": "null"}, b"\x02k"),
    ],
    ids=["array", "doubles", "map"],
)
def test_the_most_items_are_read_in_one_block_or_several_and_not_one_more(part: Schema, item: bytes) -> None:
    read = compile_reader(part, ReadLimits(max_items=5))

    def blocks(*sizes: int) -> bytes:
        return b"".join(bytes([2 * size]) + size * item for size in sizes) + b"\0"

    for sizes in ((5,), (2, 3), (1, 3, 1)):
        packet = blocks(*sizes)
        assert read(packet, 0)[1] == len(packet)
    for sizes in ((6,), (3, 3), (2, 2, 2)):
        with pytest.raises(LimitError, match="6 items are announced; at most 5 are read"):
            read(blocks(*sizes), 0)
