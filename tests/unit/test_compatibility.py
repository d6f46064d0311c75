"""The rules of minor versions and of reading, on small schemas: each is broken alone, and said by name."""

from __future__ import annotations

from typing import Any

import pytest

from cempstream.schemas.avro_schema import Schema
from cempstream.schemas.compatibility import broken_rules, unreadable

TIME_MS = {"type": "long", "logicalType": "timestamp-millis"}
TIME_US = {"type": "long", "logicalType": "timestamp-micros"}
COLOUR = {"type": "enum", "name": "Colour", "symbols": ["red", "blue"], "default": "red"}


def record(*fields: Any, name: str = "R") -> Schema:
    """Return a record of fields (name, type[, default])."""
    keys = ("name", "type", "default")
    return {
        "type": "record",
        "name": name,
        "fields": [dict(zip(keys, field, strict=False)) for field in fields],
    }


def of(kind: Schema) -> Schema:
    return record(("a", "int"), ("b", kind))


def enum(*symbols: str, default: str | None = "red", name: str = "Colour") -> Schema:
    made: dict[str, Any] = {"type": "enum", "name": name, "symbols": list(symbols)}
    return made if default is None else made | {"default": default}


@pytest.mark.parametrize(
    ("old", "new", "problems"),
    [
        (of("int"), of("int"), []),
        (of("int"), of("long"), ["the record.b: the type changed from int to long"]),
        (of(TIME_MS), of(TIME_US),
         ["the record.b: the type changed from timestamp-millis to timestamp-micros"]),
        (of(TIME_MS), of("long"), ["the record.b: the type changed from timestamp-millis to long"]),
        (record(("a", "int"), ("b", "int")), record(("a", "int")), ["the record.b: the field was removed"]),
        (record(("a", "int")), record(("a", "int"), ("b", "int", 0)), []),
        (record(("a", "int")), of("int"), ["the record.b: a new field needs a default"]),
        (of(record(("x", "int"), name="Old")), of(record(("x", "int"), name="New")),
         ["the record.b: the type was renamed from Old to New"]),
        (of(record(("x", "int"), name="In")), of(record(("x", "string"), name="In")),
         ["the record.b.x: the type changed from int to string"]),
        (of(enum("red")), of(enum("red", "blue")), []),
        (of(enum("red", "blue", "green")), of(enum("red")),
         ["the record.b: symbol 'blue' was removed", "the record.b: symbol 'green' was removed"]),
        (of(enum("red")), of(enum("red", default=None)), ["the record.b: the enum has no default symbol"]),
        (of(["null", "int"]), of(["null", "int"]), []),
        (of(["null", "int"]), of(["null", "int", "string"]),
         ["the record.b: the union has 3 branches, it had 2"]),
        (of(["null", "int"]), of(["null", "long"]), ["the record.b: the type changed from int to long"]),
        (of({"type": "array", "items": "int"}), of({"type": "array", "items": "long"}),
         ["the record.b[]: the type changed from int to long"]),
        (of({"type": "map", "values": "int"}), of({"type": "map", "values": "string"}),
         ["the record.b[]: the type changed from int to string"]),
        (record(("a", COLOUR), ("b", "Colour")), record(("a", COLOUR), ("b", COLOUR)), []),
        (record(("a", COLOUR), ("b", "Colour")), record(("a", COLOUR), ("b", "string")),
         ["the record.b: the type changed from enum to string"]),
        (of({"type": "array", "items": enum("red", default=None)}),
         of({"type": "array", "items": enum("red", default=None)}),
         ["the record.b[]: the enum has no default symbol"]),
    ],
)  # fmt: skip
def test_a_minor_version_keeps_the_rules(old: Schema, new: Schema, problems: list[str]) -> None:
    assert broken_rules(old, new) == problems


@pytest.mark.parametrize(
    ("written", "expected", "problems"),
    [
        (of("int"), of("int"), []),
        *((of(narrow), of(wide), []) for narrow, wide in [
            ("int", "long"), ("int", "float"), ("int", "double"), ("long", "float"), ("long", "double"),
            ("float", "double"),
        ]),
        (of("long"), of("int"), ["the record.b: it is long; it must be int"]),
        (of("double"), of("float"), ["the record.b: it is double; it must be float"]),
        (of("string"), of("bytes"), ["the record.b: it is string; it must be bytes"]),
        (of(TIME_MS), of(TIME_US), ["the record.b: it is timestamp-millis; it must be timestamp-micros"]),
        (of("long"), of(TIME_US), ["the record.b: it is long; it must be timestamp-micros"]),
        (of({"type": "string", "logicalType": "uuid"}), of("string"), []),
        (record(("a", "int")), of("int"), ["the record.b: it is missing and has no default"]),
        (record(("a", "int")), record(("a", "int"), ("b", "int", 0)), []),
        (of("int"), record(("a", "int")), []),
        (of(record(("x", "int"), name="In")), of(record(("x", "string"), name="In")),
         ["the record.b.x: it is int; it must be string"]),
        (of(enum("red", "blue")), of(enum("red")), []),
        (of(enum("red", "blue", "green")), of(enum("red", default=None)),
         ["the record.b: symbols ['blue', 'green'] are unknown here"]),
        (of(enum("red")), of(enum("red", "blue", default=None)), []),
        (of(["null", "int"]), of(["null", "int"]), []),
        (of(["null", "int"]), of("int"), ["the record.b: it is null; it must be int"]),
        (of(["int", "string"]), of("long"), ["the record.b: it is string; it must be long"]),
        (of("int"), of(["null", "long"]), []),
        (of("string"), of(["null", "long"]), ["the record.b: it is string, which is none of (null | long)"]),
        (of({"type": "array", "items": "int"}), of({"type": "array", "items": "string"}),
         ["the record.b[]: it is int; it must be string"]),
        (of({"type": "array", "items": "int"}), of({"type": "map", "values": "int"}),
         ["the record.b: it is array; it must be map"]),
        (record(("a", COLOUR), ("b", "Colour")), record(("a", "string"), ("b", COLOUR)),
         ["the record.a: it is enum; it must be string"]),
    ],
)  # fmt: skip
def test_what_can_be_read_as_another(written: Schema, expected: Schema, problems: list[str]) -> None:
    assert unreadable(written, expected) == problems
