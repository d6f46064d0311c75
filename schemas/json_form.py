"""A packet as self-describing JSON: the same content as the Avro packet, for kcat, jq and other tools.

The first members name the schema and its version. Times are ISO 8601 in UTC; NaN and infinity
are ``null``; arrays are lists of numbers that give back exactly the same float32; 64-bit identifiers are
strings, because most JSON readers hold numbers as float64 and would change the last digits.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from typing import Any

import numpy as np
from pydantic_core import from_json, to_json

from cempstream.processors.spectrum import Reason
from cempstream.schemas.avro_schema import Schema, branch_of, definitions, logical_type, resolve, type_name
from cempstream.schemas.packets import PacketError
from cempstream.schemas.registry import Kind, latest, schema

_ARRAYS: Mapping[str | None, np.dtype[Any]] = {
    "float32-array": np.dtype("<f4"),
    "float64-array": np.dtype("<f8"),
    "uint8-array": np.dtype("u1"),
}


@cache
def _form(kind: Kind) -> tuple[str, dict[str, Any], Mapping[str, Schema]]:
    """Return the full name of a kind's schema, the schema, and the types that it names."""
    ours = schema(kind)
    return f"{ours['namespace']}.{ours['name']}", ours, definitions(ours)


def record_to_json(kind: Kind, record: Mapping[str, Any]) -> bytes:
    """Return a record as one line of JSON."""
    name, ours, names = _form(kind)
    head = {"schema": name, "version": str(latest(kind))}
    body = _render(ours, record, names)
    return to_json({**head, **body}, inf_nan_mode="null")


def record_from_json(kind: Kind, line: bytes | str) -> dict[str, Any]:
    """Return the record that a line of JSON holds; fields of later minor versions are left out.

    Raises
    ------
    PacketError
        It is not JSON, not a packet of this kind, or a field is not what it should be.
    """
    try:
        body = from_json(line)
    except ValueError as error:
        raise PacketError(Reason.BAD_FIELD, f"it is not JSON: {error}") from error
    name, ours, names = _form(kind)
    if not isinstance(body, dict) or body.get("schema") != name:
        raise PacketError(Reason.BAD_FIELD, f"it is not a JSON object with 'schema': '{name}'")
    version = str(body.get("version"))
    if version.partition(".")[0] != str(latest(kind).major):
        raise PacketError(
            Reason.UNSUPPORTED_VERSION, f"it is {kind} {version}; {latest(kind).major}.x is what is read here"
        )
    try:
        record: dict[str, Any] = _parse(ours, body, names)
    except (ValueError, TypeError, KeyError, OverflowError) as error:
        raise PacketError(Reason.BAD_FIELD, f"a field is not what it should be: {error!r}") from error
    return record


def _render(part: Schema, value: Any, names: Mapping[str, Schema]) -> Any:
    part = resolve(part, names)
    kind, logical = type_name(part), logical_type(part)
    if isinstance(part, list):
        return _render(part[branch_of(part, value)], value, names)
    if logical in _ARRAYS:
        return _numbers(np.frombuffer(value, _ARRAYS[logical]))
    if logical == "identifier":
        return str(value)
    if not isinstance(part, dict) or kind not in ("record", "array", "map"):
        return value
    if kind == "record":
        return {f["name"]: _render(f["type"], value[f["name"]], names) for f in part["fields"]}
    if kind == "array":
        return [_render(part["items"], item, names) for item in value]
    return {key: _render(part["values"], item, names) for key, item in value.items()}


def _numbers(values: np.ndarray[Any, Any]) -> list[Any]:
    """Return an array as a list, float32 with the nine digits that it needs, not the 17 of float64."""
    if values.dtype != np.float32:
        return list(values.tolist())
    exact = values.astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        scale = 10.0 ** (8.0 - np.floor(np.log10(np.abs(exact))))
        short = np.rint(exact * scale) / scale
        is_same = short.astype(np.float32) == values
    return list(np.where(is_same, short, exact).tolist())


def _parse(part: Schema, value: Any, names: Mapping[str, Schema]) -> Any:
    part = resolve(part, names)
    kind, logical = type_name(part), logical_type(part)
    if isinstance(part, list):
        return _parse_union(part, value, names)
    if logical in _ARRAYS:
        return _parse_array(value, _ARRAYS[logical])
    if logical == "identifier":
        return int(value)
    if logical == "timestamp-micros":
        return _parse_time(value)
    if kind in ("double", "float"):
        return math.nan if value is None else float(value)
    if kind == "record" and isinstance(part, dict):
        return _parse_record(part, value, names)
    if kind == "array" and isinstance(part, dict) and isinstance(value, list):
        return [_parse(part["items"], item, names) for item in value]
    if kind == "map" and isinstance(part, dict) and isinstance(value, dict):
        return {str(key): _parse(part["values"], item, names) for key, item in value.items()}
    wanted = bool if kind == "boolean" else int if kind in ("int", "long") else str
    if kind in ("array", "map") or not isinstance(value, wanted):
        raise TypeError(f"{value!r} is not a {kind}")
    return value


def _parse_record(part: dict[str, Any], value: Any, names: Mapping[str, Schema]) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise TypeError(f"{value!r} is not a {part['name']}")
    record = {}
    for field in part["fields"]:
        name = field["name"]
        if name in value:
            record[name] = _parse(field["type"], value[name], names)
        elif "default" in field:
            record[name] = field["default"]
        else:
            raise KeyError(name)
    return record


def _parse_union(union: list[Schema], value: Any, names: Mapping[str, Schema]) -> Any:
    if value is None and "null" in union:
        return None
    for branch in union:
        known = resolve(branch, names)
        if isinstance(known, dict) and known["type"] == "record":
            fits = isinstance(value, dict) and _required(known) <= value.keys()
        elif logical_type(known) in _ARRAYS:
            fits = isinstance(value, list)
        else:
            fits = known != "null" and not isinstance(value, dict | list)
        if fits:
            return _parse(known, value, names)
    raise TypeError(f"no branch of the union takes {str(value)[:60]}")


def _required(record: dict[str, Any]) -> set[str]:
    return {field["name"] for field in record["fields"] if "default" not in field}


def _parse_array(value: Any, dtype: np.dtype[Any]) -> bytes:
    numbers = [math.nan if number is None else number for number in value] if None in value else value
    return np.asarray(numbers, dtype=dtype).tobytes()


def _parse_time(value: Any) -> datetime:
    time = datetime.fromisoformat(value)
    if time.tzinfo is None:
        raise ValueError(f"the time {value!r} has no zone; it must be UTC")
    return time.astimezone(UTC)
