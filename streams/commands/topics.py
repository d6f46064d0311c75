"""``cempstream topics``: create the topics of a stream, and list them."""

from __future__ import annotations

import json
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from cempstream.streams.commands.options import Bootstrap
from cempstream.streams.kafka.access import (
    describe_right,
    exposure_rights,
    star_rights,
    subscriber_rights,
    worker_rights,
)
from cempstream.streams.kafka.retention import RETENTION
from cempstream.streams.kafka.topic_reader import count_messages
from cempstream.streams.kafka.topics import SIZE, TopicAdmin, TopicState, plan_topics
from cempstream.streams.settings import Settings, read_settings

topics_app = typer.Typer(help="Create and list the topics.", no_args_is_help=True)

_DAY_MS = 24 * 3600 * 1000
_MOST_REPLICAS = 3


@topics_app.command()
def create(
    bootstrap: Bootstrap = None,
    topic: Annotated[list[str] | None, typer.Option(help="Topic of spectra; may be given again.")] = None,
    partitions: Annotated[int, typer.Option(min=1, help="Partitions: at most one worker each.")] = 8,
    replication: Annotated[
        int, typer.Option(min=0, help="Copies of each partition; 0 means one per broker, at most 3.")
    ] = 0,
    retention_days: Annotated[float, typer.Option(min=0.01, help="How long spectra are kept.")] = 7.0,
    alter: Annotated[
        bool, typer.Option("--alter", help="Also bring existing topics up to the plan.")
    ] = False,
) -> None:
    """Create the topics that do not exist; those that do are left alone unless --alter is given."""
    settings = _settings(bootstrap, topic)
    admin = TopicAdmin(settings.kafka)
    n_brokers = len(admin.metadata().brokers)
    plans = plan_topics(
        settings.topics,
        n_partitions=partitions,
        replication=replication or min(_MOST_REPLICAS, n_brokers),
        retention_days=retention_days,
    )
    created = admin.create(plans)
    states = admin.states(plan.name for plan in plans)
    for plan in plans:
        problems = states[plan.name].departs_from(plan) if plan.name in states else []
        if plan.name in created:
            said = f"created: {plan.n_partitions} partitions, replication {plan.replication}"
        elif not problems:
            said = "exists"
        elif alter:
            admin.alter(plan, states[plan.name])
            said = f"altered: {'; '.join(problems)}"
        else:
            said = f"exists, but {'; '.join(problems)} (--alter changes it)"
        typer.echo(f"{plan.name}: {said}")


@topics_app.command("list")
def list_(
    bootstrap: Bootstrap = None,
    topic: Annotated[list[str] | None, typer.Option(help="Topic of spectra; may be given again.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Every topic of the broker, not only ours.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a topic.")] = False,
) -> None:
    """List the topics with their partitions, limits and number of messages."""
    settings = _settings(bootstrap, topic)
    topics = settings.topics
    ours = (
        *(*topics.spectra, *topics.written, topics.scores_shadow, topics.exposures),
        *(topics.observations, topics.stars),
    )
    states = TopicAdmin(settings.kafka).states(None if every else ours)
    counts = count_messages(settings.kafka, list(states))
    if as_json:
        for name in sorted(states) if every else ours:
            typer.echo(json.dumps(_facts(name, states.get(name), counts.get(name))))
        return
    table = Table("topic", box=None)
    for heading in ("partitions", "replication", "messages", "largest message", "kept"):
        table.add_column(heading, justify="right")
    for name in sorted(states) if every else ours:
        state = states.get(name)
        if state is None:
            table.add_row(name, "absent", "", "", "", "")
            continue
        table.add_row(
            name,
            str(state.n_partitions),
            str(state.replication),
            str(counts[name]),
            _size(state.number(SIZE)),
            _days(state.number(RETENTION)),
        )
    Console().print(table)


@topics_app.command()
def grant(
    bootstrap: Bootstrap = None,
    topic: Annotated[list[str] | None, typer.Option(help="Topic of spectra; may be given again.")] = None,
    worker: Annotated[list[str] | None, typer.Option(help="User that workers connect as.")] = None,
    subscriber: Annotated[
        list[str] | None, typer.Option(help="User of a subscriber; its groups begin with its name and a dot.")
    ] = None,
    exposures: Annotated[
        list[str] | None, typer.Option(help="User that the watch on exposures connects as.")
    ] = None,
    stars: Annotated[list[str] | None, typer.Option(help="User that `stars run` connects as.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the rights, but grant none.")] = False,
) -> None:
    """Grant each user the rights that it needs and no more; for a broker with an authorizer."""
    settings = _settings(bootstrap, topic)
    rights = [
        *(
            r
            for user in worker or ()
            for r in worker_rights(f"User:{user}", settings.topics, settings.kafka.group)
        ),
        *(
            r
            for user in subscriber or ()
            for r in subscriber_rights(f"User:{user}", settings.topics, f"{user}.")
        ),
        *(r for user in exposures or () for r in exposure_rights(f"User:{user}", settings.topics)),
        *(
            r
            for user in stars or ()
            for r in star_rights(f"User:{user}", settings.topics, settings.stars.group)
        ),
    ]
    if not rights:
        raise typer.BadParameter("say for whom: --worker, --subscriber, --exposures or --stars with a name")
    if not dry_run:
        TopicAdmin(settings.kafka).grant(rights)
    for right in rights:
        typer.echo(describe_right(right))


def _settings(bootstrap: str | None, topic: list[str] | None) -> Settings:
    return read_settings(kafka={"bootstrap": bootstrap}, topics={"spectra": tuple(topic) if topic else None})


def _facts(name: str, state: TopicState | None, n_messages: int | None) -> dict[str, object]:
    if state is None:
        return {"topic": name, "exists": False}
    return {
        "topic": name,
        "exists": True,
        "partitions": state.n_partitions,
        "replication": state.replication,
        "messages": n_messages,
        "max_message_bytes": state.number(SIZE),
        "retention_ms": state.number(RETENTION),
    }


def _size(n_bytes: int | None) -> str:
    return "" if n_bytes is None else f"{n_bytes / 2**20:.1f} MiB"


def _days(milliseconds: int | None) -> str:
    if milliseconds is None:
        return ""
    return "for ever" if milliseconds < 0 else f"{milliseconds / _DAY_MS:g} d"
