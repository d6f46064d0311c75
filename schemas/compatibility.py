"""Which changes a schema allows: the rule for minor versions, and whether one can be read as another."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from cempstream.schemas.avro_schema import Schema, definitions, logical_type, parts_of, resolve, type_name

#: What a written type may be read as, besides itself (Avro specification, "Schema Resolution").
_PROMOTIONS = {
    "int": {"long", "float", "double"},
    "long": {"float", "double"},
    "float": {"double"},
}


def broken_rules(older: Schema, newer: Schema) -> list[str]:
    """Return how a newer minor version breaks the compatibility of old and new readers; empty if it does not.

    Within a major version only fields with a default are added, and only enums that carry a default symbol
    gain symbols. Nothing is removed, renamed or retyped.
    """
    problems = list(_compare(older, newer, definitions(older), definitions(newer), "the record"))
    return problems + [f"{path}: the enum has no default symbol" for path in _bare_enums(newer, "the record")]


def unreadable(written: Schema, expected: Schema) -> list[str]:
    """Return why packets of one schema cannot be read as another's; empty where they can."""
    return list(_mismatches(written, expected, definitions(written), definitions(expected), "the record"))


def _bare_enums(schema: Schema, path: str) -> Iterator[str]:
    if isinstance(schema, dict) and schema["type"] == "enum" and "default" not in schema:
        yield path
    for place, inner in parts_of(schema):
        yield from _bare_enums(inner, path + place)


def _fields(schema: Schema) -> dict[str, dict[str, Any]]:
    assert isinstance(schema, dict), "a record is an object"
    return {field["name"]: field for field in schema["fields"]}


def _symbols(schema: Schema) -> set[str]:
    assert isinstance(schema, dict), "an enum is an object"
    return set(schema["symbols"])


def _time_unit(schema: Schema) -> str | None:
    name = logical_type(schema)
    return name if name and name.startswith("timestamp") else None


def _compare(
    older: Schema, newer: Schema, old_names: dict[str, Schema], new_names: dict[str, Schema], path: str
) -> Iterator[str]:
    older, newer = resolve(older, old_names), resolve(newer, new_names)
    if (type_name(older), logical_type(older)) != (type_name(newer), logical_type(newer)):
        yield f"{path}: the type changed from {_describe(older)} to {_describe(newer)}"
        return
    if isinstance(older, dict) and isinstance(newer, dict) and older.get("name") != newer.get("name"):
        yield f"{path}: the type was renamed from {older.get('name')} to {newer.get('name')}"
        return
    if type_name(older) == "record":
        old_fields, new_fields = _fields(older), _fields(newer)
        for name, field in old_fields.items():
            if name not in new_fields:
                yield f"{path}.{name}: the field was removed"
            else:
                inner = (field["type"], new_fields[name]["type"])
                yield from _compare(*inner, old_names, new_names, f"{path}.{name}")
        for name in new_fields.keys() - old_fields.keys():
            if "default" not in new_fields[name]:
                yield f"{path}.{name}: a new field needs a default"
    elif type_name(older) == "enum":
        for symbol in sorted(_symbols(older) - _symbols(newer)):
            yield f"{path}: symbol '{symbol}' was removed"
    else:
        old_inner, new_inner = list(parts_of(older)), list(parts_of(newer))
        if len(old_inner) != len(new_inner):
            yield f"{path}: the union has {len(new_inner)} branches, it had {len(old_inner)}"
            return
        for (place, old_part), (_, new_part) in zip(old_inner, new_inner, strict=True):
            yield from _compare(old_part, new_part, old_names, new_names, path + place)


def _mismatches(
    written: Schema, expected: Schema, their_names: dict[str, Schema], our_names: dict[str, Schema], path: str
) -> Iterator[str]:
    written, expected = resolve(written, their_names), resolve(expected, our_names)
    names = (their_names, our_names)
    if isinstance(written, list):
        for branch in written:
            yield from _mismatches(branch, expected, *names, path)
        return
    if isinstance(expected, list):
        trials = [list(_mismatches(written, branch, *names, path)) for branch in expected]
        if all(trials):
            yield f"{path}: it is {_describe(written)}, which is none of {_describe(expected)}"
        return
    theirs, ours = type_name(written), type_name(expected)
    fits = theirs == ours or ours in _PROMOTIONS.get(theirs, ())
    # A time in other units would be taken for a time; the name of an array or an identifier does no harm.
    if not fits or _time_unit(written) != _time_unit(expected):
        yield f"{path}: it is {_describe(written)}; it must be {_describe(expected)}"
    elif ours == "record":
        their_fields = _fields(written)
        for name, field in _fields(expected).items():
            if name in their_fields:
                inner = (their_fields[name]["type"], field["type"])
                yield from _mismatches(*inner, *names, f"{path}.{name}")
            elif "default" not in field:
                yield f"{path}.{name}: it is missing and has no default"
    elif ours == "enum":
        strange = _symbols(written) - _symbols(expected)
        if strange and "default" not in expected:
            yield f"{path}: symbols {sorted(strange)} are unknown here"
    else:
        pairs = zip(parts_of(written), parts_of(expected), strict=True)
        for (place, their_part), (_, our_part) in pairs:
            yield from _mismatches(their_part, our_part, *names, path + place)


def _describe(schema: Schema) -> str:
    if isinstance(schema, list):
        return "(" + " | ".join(map(_describe, schema)) + ")"
    return logical_type(schema) or type_name(schema)
