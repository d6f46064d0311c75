"""``cempstream schema``: show the packet schemas and what changed between versions."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from cempstream.schemas.json_schema import json_schema
from cempstream.schemas.registry import Kind, Version, diff, latest, schema_text, versions

schema_app = typer.Typer(help="Show and compare packet schemas.", no_args_is_help=True)

KindArgument = Annotated[Kind, typer.Argument(help="Kind of packet.")]


@schema_app.command("list")
def list_() -> None:
    """List kinds and versions."""
    for kind in Kind:
        typer.echo(f"{kind}: {', '.join(map(str, versions(kind)))}")


@schema_app.command()
def show(
    kind: KindArgument,
    version: Annotated[
        str | None, typer.Argument(help="Version, such as 1.0; the latest if not given.")
    ] = None,
    as_json_schema: Annotated[
        bool, typer.Option("--json-schema", help="The JSON Schema of the latest version's JSON instead.")
    ] = False,
) -> None:
    """Print a schema as published."""
    if as_json_schema:
        if version is not None:
            raise typer.BadParameter("--json-schema is that of the latest version; leave the version out")
        typer.echo(json.dumps(json_schema(kind), indent=2, ensure_ascii=False))
        return
    typer.echo(schema_text(kind, Version.parse(version) if version else latest(kind)).rstrip("\n"))


@schema_app.command("diff")
def diff_(
    kind: KindArgument,
    older: Annotated[str, typer.Argument(help="Such as 1.0.")],
    newer: Annotated[str | None, typer.Argument(help="Such as 1.1; else the latest.")] = None,
) -> None:
    """Print what changed between two versions; nothing if they are the same."""
    changes = diff(kind, Version.parse(older), Version.parse(newer) if newer else latest(kind))
    if changes:
        typer.echo(changes)
