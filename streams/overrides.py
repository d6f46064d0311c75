"""Settings from the environment with what the command line says; the command line wins."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from cempstream.streams.settings import Settings

Bootstrap = Annotated[
    str | None, typer.Option(help="Kafka brokers, host:port[,host:port…]; else CEMP_KAFKA__BOOTSTRAP.")
]


def settings_with(**groups: dict[str, Any]) -> Settings:
    """Return the settings; a field that is None is left to the environment.

    Parameters
    ----------
    groups
        Group name to its fields, as ``Settings`` has them.

    Raises
    ------
    pydantic.ValidationError
        A setting is misspelt or impossible.
    """
    given = {
        name: {field: value for field, value in fields.items() if value is not None}
        for name, fields in groups.items()
    }
    # pydantic-settings merges each group with what the environment says of it, then checks all of it.
    return Settings(**{name: fields for name, fields in given.items() if fields})  # type: ignore[arg-type]
