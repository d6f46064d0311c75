"""``cempstream schema``: show the packet schemas and what changed between versions."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from cempstream.errors import install_hint
from cempstream.schemas.json_schema import json_schema
from cempstream.schemas.registry import Kind, Version, diff, latest, schema_text, versions
from cempstream.streams.kafka.schema_registry import RegistryError, SchemaRegistry, kinds_of_topics

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


@schema_app.command()
def register(
    registry: Annotated[
        str | None, typer.Option(help="Address of the schema registry. [CEMP_SCHEMAS__REGISTRY]")
    ] = None,
    topic: Annotated[list[str] | None, typer.Option(help="Topic of spectra; may be given again.")] = None,
) -> None:
    """Register every schema under its topics in a schema registry; a worker that is given it takes its ids.

    Topics, name and password come from the environment: CEMP_TOPICS__..., CEMP_SCHEMAS__....
    """
    try:  # the other verbs of a schema are of the base install
        from cempstream.streams.settings import read_settings
    except ModuleNotFoundError as error:
        hint = install_hint("cpu,registry")
        raise RegistryError(f"`schema register` needs {error.name}, which is not installed: {hint}") from None

    settings = read_settings(
        schemas={"registry": registry}, topics={"spectra": tuple(topic) if topic else None}
    )
    if settings.schemas.registry is None:
        raise typer.BadParameter(
            "give the registry's address, or set CEMP_SCHEMAS__REGISTRY", param_hint="'--registry'"
        )
    with SchemaRegistry(settings.schemas.client_config()) as client:
        for subject, version, number in client.register(kinds_of_topics(settings.topics)):
            typer.echo(f"{subject}: {version} is {number}")


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
