"""``cempstream lag``: how far a group of subscribers, or of workers, is from the end of its topics."""

from __future__ import annotations

import json
import os
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from cempstream.streams.commands.subscriber_options import (
    DEFAULT_BROKER,
    AlertTopics,
    Broker,
    ConfigFile,
    read_properties,
    refuse_misspelt,
)
from cempstream.streams.subscriber.client import ALERTS_TOPIC
from cempstream.streams.subscriber.lag import GroupPlace, ask_group
from cempstream.streams.subscriber.start import consumer_config


def lag(
    group: Annotated[
        str, typer.Option(help="The group's name: that of `listen --group`, or of the workers.")
    ],
    bootstrap: Broker = DEFAULT_BROKER,
    topic: AlertTopics = None,
    config: ConfigFile = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a partition.")] = False,
) -> None:
    """Say how many messages a group has not acknowledged, and how many have expired before it did."""
    refuse_misspelt(os.environ)
    try:
        properties = consumer_config(bootstrap, group, read_properties(config))
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    places = ask_group(properties, topic or [ALERTS_TOPIC])
    if as_json:
        for one in places:
            typer.echo(json.dumps(_facts(one)))
        return
    table = Table("topic", box=None)
    for heading in ("partition", "acknowledged", "end", "waiting", "expired"):
        table.add_column(heading, justify="right")
    for one in places:
        name, partition = one.place
        acknowledged = "nothing" if one.acknowledged is None else str(one.acknowledged)
        table.add_row(
            name, str(partition), acknowledged, str(one.end), str(one.n_waiting), str(one.n_expired)
        )
    Console().print(table)
    expired = sum(one.n_expired for one in places)
    lost = f"; {expired} have expired unread" if expired else ""
    typer.echo(f"{sum(one.n_waiting for one in places)} messages wait for {group}{lost}")


def _facts(one: GroupPlace) -> dict[str, object]:
    name, partition = one.place
    return {
        "topic": name,
        "partition": partition,
        "acknowledged": one.acknowledged,
        "first": one.first,
        "end": one.end,
        "waiting": one.n_waiting,
        "expired": one.n_expired,
    }
