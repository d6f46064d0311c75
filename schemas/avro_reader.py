"""Read Avro's binary encoding: each schema is compiled once to a function that trusts no stated length.

A packet comes from outside, so reading is bounded: an array states how many items it holds, and the reader
refuses a number that no real packet has before it reads the first item. fastavro has no such limits; it reads
4 MiB of empty strings for seconds and blocks the interpreter meanwhile. Tests compare with fastavro.

What Avro has and our schemas do not (``fixed``, recursive types, types used before they are defined) is
refused when the schema is compiled.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias

from cempstream.schemas.avro_schema import Schema, SchemaError, define, logical_type, recall, type_name

#: Reads one value: from the bytes and a position to the value and the position after it.
Reader: TypeAlias = Callable[[bytes, int], tuple[Any, int]]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class AvroError(ValueError):
    """The bytes do not follow the schema; the message names the field."""


class TruncatedError(AvroError):
    """The bytes end too early."""


class LimitError(AvroError):
    """The bytes announce more than a real packet holds."""


@dataclass(frozen=True, slots=True)
class ReadLimits:
    """The largest sizes that a reader accepts.

    Attributes
    ----------
    max_items
        Items of one array or map.
    max_text_bytes
        Bytes of one string.
    """

    max_items: int = 65_536
    max_text_bytes: int = 4_096


def compile_reader(schema: Schema, limits: ReadLimits | None = None) -> Reader:
    """Return the function that reads one value of this schema.

    Raises
    ------
    SchemaError
        The schema is not supported. The returned function raises `AvroError`.
    """
    read = _reader(schema, limits or ReadLimits(), {})

    def read_value(buffer: bytes, start: int) -> tuple[Any, int]:
        try:
            return read(buffer, start)
        except (IndexError, struct.error):  # both mean a read after the last byte
            raise TruncatedError(f"the packet ends too early, after {len(buffer)} bytes") from None

    return read_value


def read_long(buffer: bytes, pos: int) -> tuple[int, int]:
    """Read Avro's zigzag variable-length integer, at most 64 bits."""
    byte = buffer[pos]
    pos += 1
    if byte < 128:
        return (byte >> 1) ^ -(byte & 1), pos
    number = byte & 127
    shift = 7
    while True:
        byte = buffer[pos]
        pos += 1
        number |= (byte & 127) << shift
        if byte < 128:
            break
        shift += 7
        if shift > 63:
            break
    if byte > 127 or number >> 64:
        raise AvroError("an integer is longer than 64 bits")
    return (number >> 1) ^ -(number & 1), pos


def read_bytes(buffer: bytes, pos: int) -> tuple[bytes, int]:
    """Read a length and that many bytes."""
    size, pos = read_long(buffer, pos)
    end = pos + size
    if size < 0:
        raise AvroError(f"a length is {size}")
    if end > len(buffer):
        raise TruncatedError(f"{size} bytes are announced, {len(buffer) - pos} are left")
    # A copy, on purpose: a view at an odd offset is unaligned, and numpy takes twice as long over those.
    return buffer[pos:end], end


def _read_null(_buffer: bytes, pos: int) -> tuple[None, int]:
    return None, pos


def _read_boolean(buffer: bytes, pos: int) -> tuple[bool, int]:
    byte = buffer[pos]
    if byte > 1:
        raise AvroError(f"a boolean is {byte}; it must be 0 or 1")
    return byte == 1, pos + 1


_unpack_float = struct.Struct("<f").unpack_from
_unpack_double = struct.Struct("<d").unpack_from


def _read_float(buffer: bytes, pos: int) -> tuple[float, int]:
    return _unpack_float(buffer, pos)[0], pos + 4


def _read_double(buffer: bytes, pos: int) -> tuple[float, int]:
    return _unpack_double(buffer, pos)[0], pos + 8


def _read_timestamp(buffer: bytes, pos: int) -> tuple[datetime, int]:
    micros, pos = read_long(buffer, pos)
    try:
        return _EPOCH + timedelta(0, 0, micros), pos
    except OverflowError:
        raise AvroError(f"a time is {micros} µs from 1970, outside the years 1 to 9999") from None


def _text_reader(limits: ReadLimits) -> Callable[[bytes, int], tuple[str, int]]:
    max_bytes = limits.max_text_bytes

    def read_text(buffer: bytes, pos: int) -> tuple[str, int]:
        size = buffer[pos]
        if size < 128 and not size & 1:  # under 64 bytes, as nearly all: `read_long` inlined
            size, pos = size >> 1, pos + 1
        else:
            size, pos = read_long(buffer, pos)
        end = pos + size
        if not 0 <= size <= max_bytes:
            raise LimitError(f"a text is {size} bytes long; at most {max_bytes} are read")
        if end > len(buffer):
            raise TruncatedError(f"a text of {size} bytes is announced, {len(buffer) - pos} are left")
        try:
            return buffer[pos:end].decode(), end
        except UnicodeDecodeError as error:
            raise AvroError(f"a text is not UTF-8: {error.reason}") from None

    return read_text


_PRIMITIVE_READERS: Mapping[str, Reader] = {
    "null": _read_null,
    "boolean": _read_boolean,
    "int": read_long,
    "long": read_long,
    "float": _read_float,
    "double": _read_double,
    "bytes": read_bytes,
}


def _reader(schema: Schema, limits: ReadLimits, named: dict[str, Reader]) -> Reader:
    name = type_name(schema)
    if isinstance(schema, list):
        branches = [_reader(branch, limits, named) for branch in schema]
        if len(branches) == 2 and schema[0] == "null":
            return _optional_reader(branches[1])
        return _union_reader(branches)
    if name == "long" and logical_type(schema) == "timestamp-micros":
        return _read_timestamp
    if name in _PRIMITIVE_READERS:
        return _PRIMITIVE_READERS[name]
    if name == "string":
        return _text_reader(limits)
    if isinstance(schema, dict):
        if name == "array":
            if _takes_no_bytes(schema["items"]):
                raise SchemaError("an array of items that take no bytes could be endless; it is not read")
            return _array_reader(_reader(schema["items"], limits, named), schema["items"], limits)
        if name == "map":
            return _map_reader(_reader(schema["values"], limits, named), limits)
        if name == "enum":
            return define(named, schema, _enum_reader(schema["symbols"]))
        if name == "record":
            fields = tuple((f["name"], _reader(f["type"], limits, named)) for f in schema["fields"])
            return define(named, schema, _record_reader(fields))
    return recall(named, name)


def _takes_no_bytes(schema: Schema) -> bool:
    if isinstance(schema, dict) and schema["type"] == "record":
        return all(_takes_no_bytes(field["type"]) for field in schema["fields"])
    return type_name(schema) == "null"


def _record_reader(fields: Sequence[tuple[str, Reader]]) -> Reader:
    def read_record(buffer: bytes, pos: int) -> tuple[dict[str, Any], int]:
        record = {}
        name = ""
        try:
            for name, read in fields:
                record[name], pos = read(buffer, pos)
        except AvroError as error:
            raise type(error)(f"'{name}': {error}") from None
        except (IndexError, struct.error):
            raise TruncatedError(f"'{name}': the packet ends here, after {len(buffer)} bytes") from None
        return record, pos

    return read_record


def _optional_reader(read_some: Reader) -> Reader:
    def read_optional(buffer: bytes, pos: int) -> tuple[Any, int]:
        index = buffer[pos]
        if index == 2:
            return read_some(buffer, pos + 1)
        if index == 0:
            return None, pos + 1
        raise AvroError(f"a union's branch is coded {index}; it must be 0 or 2")

    return read_optional


def _union_reader(branches: Sequence[Reader]) -> Reader:
    def read_union(buffer: bytes, pos: int) -> tuple[Any, int]:
        index, pos = read_long(buffer, pos)
        if not 0 <= index < len(branches):
            raise AvroError(f"a union's branch is {index}; there are {len(branches)}")
        return branches[index](buffer, pos)

    return read_union


def _enum_reader(symbols: Sequence[str]) -> Reader:
    def read_enum(buffer: bytes, pos: int) -> tuple[str, int]:
        index, pos = read_long(buffer, pos)
        if not 0 <= index < len(symbols):
            raise AvroError(f"an enum's symbol is {index}; there are {len(symbols)}")
        return symbols[index], pos

    return read_enum


def _block(buffer: bytes, pos: int, n_before: int, limits: ReadLimits) -> tuple[int, int]:
    """Read the head of a block of an array or map: how many items follow, 0 at the end."""
    n_items, pos = read_long(buffer, pos)
    if n_items < 0:  # then the block's size in bytes follows, for readers that skip
        n_items = -n_items
        _, pos = read_long(buffer, pos)
    if n_before + n_items > limits.max_items:
        raise LimitError(f"{n_before + n_items} items are announced; at most {limits.max_items} are read")
    return n_items, pos


def _array_reader(read_item: Reader, items: Schema, limits: ReadLimits) -> Reader:
    if items == "double":
        return _doubles_reader(limits)

    def read_array(buffer: bytes, pos: int) -> tuple[list[Any], int]:
        values: list[Any] = []
        n_items, pos = _block(buffer, pos, 0, limits)
        while n_items:
            for _ in range(n_items):
                value, pos = read_item(buffer, pos)
                values.append(value)
            n_items, pos = _block(buffer, pos, len(values), limits)
        return values, pos

    return read_array


def _doubles_reader(limits: ReadLimits) -> Reader:
    def read_doubles(buffer: bytes, pos: int) -> tuple[list[float], int]:
        values: list[float] = []
        n_items, pos = _block(buffer, pos, 0, limits)
        while n_items:
            values.extend(struct.unpack_from(f"<{n_items}d", buffer, pos))
            n_items, pos = _block(buffer, pos + 8 * n_items, len(values), limits)
        return values, pos

    return read_doubles


def _map_reader(read_item: Reader, limits: ReadLimits) -> Reader:
    read_key = _text_reader(limits)

    def read_map(buffer: bytes, pos: int) -> tuple[dict[str, Any], int]:
        values: dict[str, Any] = {}
        n_read = 0
        n_items, pos = _block(buffer, pos, 0, limits)
        while n_items:
            for _ in range(n_items):
                key, pos = read_key(buffer, pos)
                values[key], pos = read_item(buffer, pos)
            n_read += n_items
            n_items, pos = _block(buffer, pos, n_read, limits)
        return values, pos

    return read_map
