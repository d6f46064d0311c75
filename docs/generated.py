"""The reference, made from the code when the site is built: commands, settings, schemas, Python names."""

from __future__ import annotations

import ast
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

import cempstream
from cempstream.schemas.registry import Kind, latest, schema_text, versions
from cempstream.streams.cli import VERBS
from cempstream.streams.settings import Settings, TopicSettings
from cempstream.streams.subscriber.where import FIELDS, LINES, MEANINGS, PATHS

ROOT = Path(__file__).resolve().parents[1]

Row = tuple[str, ...]


def commands() -> str:
    """Return the page of all verbs with their arguments and options."""
    parts = [
        "# Commands",
        "`--log-level` and `--log-format json` work with every command. Logs go to stderr, output to stdout. "
        "What a person can fix ends a command with one line and status 1 or 2; Ctrl-C ends it with 130.",
    ]
    panels = dict.fromkeys(verb.panel for verb in VERBS.values())
    for panel in panels:
        parts.append(f"## {panel}")
        for verb in VERBS.values():
            if verb.panel == panel:
                parts.append(f"### cempstream {verb.name}")
                parts.append(f"Needs the extra `{verb.extra}`." if verb.extra else "In the base install.")
                parts += _command(verb.load(), f"cempstream {verb.name}")
    return "\n\n".join(parts) + "\n"


def _command(command: Any, path: str) -> Iterator[str]:
    yield _cell(command.help)
    children: Mapping[str, Any] = getattr(command, "commands", {})
    if children:
        for name, child in children.items():
            yield f"#### {path} {name}"
            yield from _command(child, f"{path} {name}")
        return
    context = command.make_context(path, [], resilient_parsing=True)
    records = [param.get_help_record(context) for param in command.params if param.name != "help"]
    yield _table(
        ("option", "meaning"), [(f"`{names}`", _cell(text)) for names, text in filter(None, records)]
    )


def settings() -> str:
    """Return the page of all environment variables with their defaults."""
    parts = [
        "# Settings",
        "A worker reads its settings once, at its start, from the environment: `CEMP_<GROUP>__<FIELD>`. "
        "A misspelt name or an impossible value stops the start, and the message names it. "
        "Options of the command line win over the environment.",
    ]
    for group, of_group in Settings.model_fields.items():
        model = of_group.annotation
        assert isinstance(model, type)
        assert issubclass(model, BaseModel)
        parts += [f"## {group.capitalize()}", _cell(model.__doc__)]
        rows = [
            (f"`CEMP_{group}__{name}`".upper(), _default(field), _cell(field.description))
            for name, field in model.model_fields.items()
        ]
        parts.append(_table(("variable", "default", "meaning"), rows))
    return "\n\n".join(parts) + "\n"


def _default(field: FieldInfo) -> str:
    value = field.get_default(call_default_factory=True)
    if value is None or value is PydanticUndefined:
        return ""
    if isinstance(value, str | int | float):
        return f"`{value}`"
    return f"`{json.dumps(value)}`"


def schemas() -> str:
    """Return the page of all packets, field by field."""
    parts = [
        "# Topics and schemas",
        "Every packet is Avro with a short header. The schemas travel with the package, so no schema "
        "registry is needed; where there is one, `cempstream schema register` fills it. A published version "
        "never changes: a new minor version adds optional fields, a new major version gets a new topic. "
        "`cempstream schema show KIND` prints a schema, and "
        "`cempstream schema diff KIND OLDER` what changed since.",
    ]
    topics = TopicSettings.model_fields.values()
    rows = [(_default(topic), _cell(topic.description)) for topic in topics]
    parts += ["## Topics", _table(("topic", "holds"), rows)]
    for kind in Kind:
        newest = latest(kind)
        parts.append(f"## {kind.capitalize()}")
        parts.append(f"Version {newest}. Published: {', '.join(map(str, versions(kind)))}.")
        parts += _record(json.loads(schema_text(kind, newest)), str(kind))
    return "\n\n".join(parts) + "\n"


def _record(schema: Mapping[str, Any], path: str) -> Iterator[str]:
    yield _cell(schema.get("doc"))
    fields = schema["fields"]
    rows = [(f"`{field['name']}`", _type(field["type"]), _cell(field.get("doc"))) for field in fields]
    yield _table(("field", "type", "meaning"), rows)
    for field in fields:
        for inner in _records_in(field["type"]):
            yield f"### {path}.{field['name']}"
            yield from _record(inner, f"{path}.{field['name']}")


def _records_in(schema: Any) -> Iterator[Mapping[str, Any]]:
    """Yield the records that are defined within a field's type."""
    if isinstance(schema, list):
        for option in schema:
            yield from _records_in(option)
    elif isinstance(schema, dict):
        if schema["type"] == "record":
            yield schema
        else:
            yield from _records_in(schema.get("items") or schema.get("values"))


def _type(schema: Any) -> str:
    if isinstance(schema, str):
        return schema.rpartition(".")[2]
    if isinstance(schema, list):
        return " or ".join(_type(option) for option in sorted(schema, key=lambda option: option == "null"))
    match schema["type"]:
        case "array":
            return f"list of {_type(schema['items'])}"
        case "map":
            return f"map to {_type(schema['values'])}"
        case "enum":
            return "one of " + ", ".join(f"`{symbol}`" for symbol in schema["symbols"])
        case "record" | "fixed":
            return str(schema["name"])
    return str(schema.get("logicalType", schema["type"]))


def filter_fields() -> str:
    """Return the page of the fields that a subscriber's filter may use."""
    docs = dict(_docs(json.loads(schema_text(Kind.ALERT, latest(Kind.ALERT)))))
    rows = [
        (
            f"`{name}`",
            FIELDS[name].type.removeprefix("a "),
            MEANINGS[name] if name in MEANINGS else _meaning(PATHS[name], docs),
        )
        for name in FIELDS
    ]
    rows += [
        ("`mag_<band>`", "number", "Magnitude in a band that the survey sends, for example `mag_G`."),
        *((f"`line_{line}`", "number", f"Line index {line}, in Å or mag.") for line in LINES),
    ]
    parts = [
        "# Filter fields",
        "`listen --where`, `filter test --where` and `AlertStream(where=…)` may use these. A value that an "
        "alert does not have passes no comparison.",
        _table(("field", "is a", "meaning"), rows),
    ]
    return "\n\n".join(parts) + "\n"


def _docs(schema: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, str]]:
    """Yield what a schema says of each field, by its dotted path."""
    for field in schema["fields"]:
        yield path + field["name"], field.get("doc") or ""
        for inner in _records_in(field["type"]):
            yield from _docs(inner, f"{path}{field['name']}.")


def _meaning(path: str, docs: Mapping[str, str]) -> str:
    """Return what a field means; a record that is defined once stands in several places."""
    above, _, last = path.rpartition(".")
    of = {"lo": "Lower end of the 68 % interval: ", "hi": "Upper end of the 68 % interval: "}.get(last, "")
    of = "Probability: " if above == "subclass_p" else of
    said = docs[above] if last in ("lo", "hi", "value") else docs[path]
    return _cell(of + said.partition(" UCD:")[0])


def rooms() -> str:
    """Return the page of all folders of code; each one's own docstring says what lives there."""
    parts = [
        "# Rooms",
        "Each folder of code is a room. Its `__init__.py` says what lives there and what it may import. "
        "`tests/contract/test_import_direction.py` enforces it.",
    ]
    for layer in ("processors", "models", "schemas", "streams"):
        parts.append(f"## {layer}")
        for path in sorted((ROOT / layer).rglob("__init__.py")):
            room = path.parent.relative_to(ROOT)
            said = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
            parts.append(f"`{room}/`\n:   " + said.replace("``", "`").replace("\n", "\n    "))
    return "\n\n".join(parts) + "\n"


def python() -> str:
    """Return the page of the public Python names; mkdocstrings fills it."""
    parts = [
        "# Python",
        "What most programs need is imported from `cempstream`. Each name is loaded when it is first used, "
        "so a subscriber needs no more than the base install.",
    ]
    parts += [f"::: cempstream.{name}" for name in cempstream.__all__]
    return "\n\n".join(parts) + "\n"


def _table(head: Row, rows: list[Row]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _cell(text: str | None, *, is_code: bool = False) -> str:
    """Return text that keeps to one cell of a table and shows what a browser would take for a tag."""
    one_line = " ".join((text or "").split()).replace("|", r"\|")
    return one_line if is_code else one_line.replace("<", "&lt;").replace("[", r"\[")


PAGES: Mapping[str, Callable[[], str]] = {
    "rooms.md": rooms,
    "reference/commands.md": commands,
    "reference/settings.md": settings,
    "reference/schemas.md": schemas,
    "reference/filter.md": filter_fields,
    "reference/python.md": python,
}
