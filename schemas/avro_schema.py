"""Avro schemas as JSON gives them: what type a schema is, and which branch of a union a value belongs to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeAlias, TypeVar

from cempstream.errors import FixableError

#: An Avro schema: the name of a type, the list of a union's branches, or an object.
Schema: TypeAlias = str | list[Any] | dict[str, Any]

T = TypeVar("T")


class SchemaError(FixableError, ValueError):
    """A schema breaks Avro's rules or ours, or uses an unsupported feature; the message says which."""


def type_name(schema: Schema) -> str:
    """Return ``union``, or the name of a primitive, complex or earlier defined type."""
    if isinstance(schema, list):
        return "union"
    name = schema["type"] if isinstance(schema, dict) else schema
    if not isinstance(name, str):
        raise SchemaError(f"a type must be a name, a list or an object, not an object around {name!r}")
    return name


def logical_type(schema: Schema) -> str | None:
    """Return the schema's logical type, if it has one."""
    return schema.get("logicalType") if isinstance(schema, dict) else None


def bare_name(name: str) -> str:
    """Return a name without its namespace: all our schemas share one namespace."""
    return name.rpartition(".")[2]


def define(named: dict[str, T], schema: dict[str, Any], made: T) -> T:
    """Store what was compiled for a named type, for later references, and return it."""
    named[bare_name(schema["name"])] = made
    return made


def recall(named: Mapping[str, T], name: str) -> T:
    """Return what was compiled for a type where it was defined."""
    try:
        return named[bare_name(name)]
    except KeyError:
        raise SchemaError(
            f"type '{name}' is unknown here: it must be defined before it is used, and not within itself"
        ) from None


def definitions(schema: Schema) -> dict[str, Schema]:
    """Return every named type of a schema by its bare name."""
    found: dict[str, Schema] = {}
    for part in _all_parts(schema):
        if isinstance(part, dict) and "name" in part and part["type"] in ("record", "enum"):
            found[bare_name(part["name"])] = part
    return found


def _all_parts(schema: Schema) -> Iterator[Schema]:
    yield schema
    for _, inner in parts_of(schema):
        yield from _all_parts(inner)


def parts_of(schema: Schema) -> Iterator[tuple[str, Schema]]:
    """Return the types directly within a type, each with its place."""
    if isinstance(schema, list):
        yield from (("", branch) for branch in schema)
    elif isinstance(schema, dict):
        if schema["type"] == "record":
            yield from ((f".{field['name']}", field["type"]) for field in schema["fields"])
        for key in ("items", "values"):
            if key in schema:
                yield "[]", schema[key]


def resolve(schema: Schema, names: Mapping[str, Schema]) -> Schema:
    """Return the type that a name stands for; any other schema as it is."""
    return names.get(bare_name(schema), schema) if isinstance(schema, str) else schema


_PYTHON_TYPES: Mapping[str, tuple[type, ...]] = {
    "null": (type(None),),
    "boolean": (bool,),
    "int": (int,),
    "long": (int, datetime),
    "float": (float, int),
    "double": (float, int),
    "bytes": (bytes,),
    "string": (str,),
    "enum": (str,),
    "array": (list, tuple),
    "map": (Mapping,),
}


def branch_of(union: Sequence[Schema], value: object) -> int:
    """Return which branch of a union a value belongs to; records are told apart by their fields' names.

    Raises
    ------
    TypeError
        No branch takes such a value.
    """
    for index, branch in enumerate(union):
        if isinstance(branch, dict) and branch["type"] == "record":
            fits = isinstance(value, Mapping) and value.keys() == {f["name"] for f in branch["fields"]}
        else:
            fits = isinstance(value, _PYTHON_TYPES.get(type_name(branch), ()))
        if fits:
            return index
    raise TypeError(f"no branch of the union takes a {type(value).__name__}")
