"""The JSON Schema of packets in their form as JSON, made from the Avro schemas: for whoever reads no Avro.

JSON has neither NaN nor integers of 64 bits that every reader holds: a number may be ``null``, and an
identifier is a text (`json_form`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cempstream.schemas.avro_schema import Schema, definitions, logical_type, resolve, type_name
from cempstream.schemas.registry import Kind, latest, schema

DIALECT = "https://json-schema.org/draft/2020-12/schema"

_PLAIN: Mapping[str, dict[str, Any]] = {
    "null": {"type": "null"},
    "boolean": {"type": "boolean"},
    "int": {"type": "integer", "minimum": -(2**31), "maximum": 2**31 - 1},
    "long": {"type": "integer"},
    "float": {"type": ["number", "null"]},
    "double": {"type": ["number", "null"]},
    "string": {"type": "string"},
}

_LOGICAL: Mapping[str, dict[str, Any]] = {
    "float32-array": {"type": "array", "items": {"type": ["number", "null"]}},
    "float64-array": {"type": "array", "items": {"type": ["number", "null"]}},
    "uint8-array": {"type": "array", "items": {"type": "integer", "minimum": 0, "maximum": 255}},
    "identifier": {"type": "string", "pattern": "^-?[0-9]+$"},
    "timestamp-micros": {"type": "string", "format": "date-time"},
}


def json_schema(kind: Kind) -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of a kind's latest version, with what its fields mean."""
    ours = schema(kind)
    made = _form(ours, definitions(ours))
    name = f"{ours['namespace']}.{ours['name']}"
    head: dict[str, Any] = {
        "schema": {"const": name, "description": "Full name of the packet's schema."},
        "version": {
            "type": "string",
            "pattern": rf"^{latest(kind).major}\.[0-9]+$",
            "description": "Its version; a later minor one may have more fields.",
        },
    }
    return {
        "$schema": DIALECT,
        "title": f"{name} {latest(kind)}",
        **made,
        "properties": {**head, **made["properties"]},
        "required": [*head, *made["required"]],
    }


def _form(part: Schema, names: Mapping[str, Schema]) -> dict[str, Any]:
    part = resolve(part, names)
    kind, logical = type_name(part), logical_type(part)
    if isinstance(part, list):
        return {"anyOf": [_form(branch, names) for branch in part]}
    if logical is not None:
        return _LOGICAL[logical]
    if not isinstance(part, dict) or kind in _PLAIN:
        return _PLAIN[kind]
    if kind == "record":
        properties = {field["name"]: _field(field, names) for field in part["fields"]}
        return {"type": "object", "properties": properties, "required": [*properties]}
    if kind == "array":
        return {"type": "array", "items": _form(part["items"], names)}
    if kind == "map":
        return {"type": "object", "additionalProperties": _form(part["values"], names)}
    return {"enum": part["symbols"]}


def _field(field: Mapping[str, Any], names: Mapping[str, Schema]) -> dict[str, Any]:
    doc = field.get("doc")
    return {**_form(field["type"], names), **({"description": doc} if doc else {})}
