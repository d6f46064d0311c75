"""The columns of a table of packets: made from the packet's own schema, so that none is forgotten."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from cempstream.schemas.avro_schema import Schema, definitions, logical_type, type_name
from cempstream.schemas.registry import Kind, schema

#: What a table leaves out: the spectrum is nine tenths of an alert, and stays in its topic.
_LEFT_OUT = {Kind.ALERT: ("spectrum",)}

#: Fields whose name adds nothing: ``parameters.feh.value`` is ``feh``, its interval ``feh_lo``, ``feh_hi``.
_UNNAMED = frozenset({"parameters", "value"})

_PRIMITIVES = {
    "boolean": pa.bool_(),
    "int": pa.int32(),
    "long": pa.int64(),
    "float": pa.float32(),
    "double": pa.float64(),
    "string": pa.string(),
    "enum": pa.string(),
    "bytes": pa.binary(),
}


@dataclass(frozen=True, slots=True)
class Column:
    """A column, and where its values stand in a record.

    Attributes
    ----------
    path
        Names of fields, from the record inwards.
    doc
        What the schema says of it.
    """

    name: str
    path: tuple[str, ...]
    type: pa.DataType
    doc: str

    def of(self, record: Mapping[str, Any]) -> Any:
        """Return the value of a record; None where it has none."""
        value: Any = record
        for name in self.path:
            value = None if value is None else value.get(name)
        return _plain(value, self.type)


def columns_of(kind: Kind) -> tuple[Column, ...]:
    """Return the columns of a kind of packet, in the order of its schema; records within it are spread."""
    whole = schema(kind)
    left_out = _LEFT_OUT.get(kind, ())
    fields = [field for field in whole["fields"] if field["name"] not in left_out]
    return tuple(_spread(fields, definitions(whole), ()))


def _spread(
    fields: Sequence[Mapping[str, Any]], named: Mapping[str, Schema], path: tuple[str, ...]
) -> Iterator[Column]:
    for field in fields:
        inner = (*path, str(field["name"]))
        one = _defined(field["type"], named)
        if type_name(one) == "record":
            assert isinstance(one, dict)
            yield from _spread(one["fields"], named, inner)
        else:
            name = "_".join(part for part in inner if part not in _UNNAMED)
            yield Column(name, inner, _arrow_type(one, named), str(field.get("doc", "")))


def _defined(one: Schema, named: Mapping[str, Schema]) -> Schema:
    """Return a type itself, not its name, and of one that may be absent what it is when it is there."""
    if isinstance(one, list):
        (one,) = (branch for branch in one if branch != "null")
    return named.get(one, one) if isinstance(one, str) else one


def _arrow_type(one: Schema, named: Mapping[str, Schema]) -> pa.DataType:
    one = _defined(one, named)
    kind = type_name(one)
    if logical_type(one) == "timestamp-micros":
        return pa.timestamp("us", tz="UTC")
    if kind in _PRIMITIVES:
        return _PRIMITIVES[kind]
    assert isinstance(one, dict)
    if kind == "array":
        return pa.list_(_arrow_type(one["items"], named))
    if kind == "map":
        return pa.map_(pa.string(), _arrow_type(one["values"], named))
    return pa.struct([(field["name"], _arrow_type(field["type"], named)) for field in one["fields"]])


def _plain(value: Any, arrow: pa.DataType) -> Any:
    """Return a value as pyarrow takes it: a map as pairs."""
    return list(value.items()) if isinstance(value, dict) and pa.types.is_map(arrow) else value
