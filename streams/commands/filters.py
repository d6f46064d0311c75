"""``cempstream filter``: try a filter on a night that is known before it is trusted with one that is not."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from cempstream.plain import shown
from cempstream.schemas.sky import RADIUS_ARCSEC
from cempstream.streams.commands.subscriber_options import (
    DEFAULT_BROKER,
    Broker,
    ConfigFile,
    KnownFiles,
    MatchRadius,
    RegionFiles,
    Tenses,
    WatchlistFiles,
    check,
    read_known,
    read_properties,
    refuse_misspelt,
)
from cempstream.streams.subscriber.alert_file import AlertFile
from cempstream.streams.subscriber.clauses import Trial, split_clauses, try_filter
from cempstream.streams.subscriber.client import AlertStream
from cempstream.streams.subscriber.sieve import TENSES, Undecodable
from cempstream.streams.times import TIME_FORMS, parse_start, parse_until

logger = logging.getLogger(__name__)

filter_app = typer.Typer(help="Try a filter of alerts.", no_args_is_help=True)

#: A person reads so many names in a line.
_MOST_NAMES = 5


@filter_app.callback()
def _only_verbs() -> None:
    """Try a filter of alerts."""


@filter_app.command("test")
def try_on_night(
    where: Annotated[str, typer.Option(help='Filter: "p_cemp > 0.95 and snr > 20 and feh < -2".')],
    night: Annotated[
        Path | None, typer.Option(help="Recorded alerts: JSON lines as `listen --json` writes, also .gz.")
    ] = None,
    from_topic: Annotated[
        list[str] | None, typer.Option(help="Topic of alerts to read to its end; may be given again.")
    ] = None,
    start: Annotated[
        str, typer.Option(help=f"First alert: earliest, -100 for the last hundred, or a time: {TIME_FORMS}.")
    ] = "earliest",
    end: Annotated[str, typer.Option(help=f"When to end: {TIME_FORMS}; now is the topic's end.")] = "now",
    bootstrap: Broker = DEFAULT_BROKER,
    config: ConfigFile = None,
    known: KnownFiles = None,
    watchlist: WatchlistFiles = None,
    region: RegionFiles = None,
    match_radius: MatchRadius = RADIUS_ARCSEC,
    tense: Tenses = None,
    most: Annotated[
        float, typer.Option(min=0, max=1, help="Warn where a larger share of the night's alerts passes.")
    ] = 0.05,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object, with every name.")] = False,
) -> None:
    """Count the alerts of a night that pass each clause of a filter, one after another.

    The night is a file (--night) or what a topic holds (--from-topic). `listen` with the same filter and the
    same night shows as many alerts as pass here.
    """
    refuse_misspelt(os.environ)
    if (night is None) == (not from_topic):
        raise typer.BadParameter("give the night's alerts: --night FILE or --from-topic TOPIC, one of them")
    check("--where", lambda: split_clauses(where))
    check("--start", lambda: parse_start(start))
    check("--end", lambda: parse_until(end))
    bad: list[Undecodable] = []

    def note(undecodable: Undecodable) -> None:
        logger.error("cannot be read: %s", undecodable)
        bad.append(undecodable)

    tenses = tuple(tense or TENSES)
    stars = read_known(known, watchlist, region, match_radius)
    alerts: AlertFile | AlertStream
    try:
        if night is not None:
            alerts = AlertFile(night, start=start, until=end, tenses=tenses, on_error=note, known=stars)
        else:
            alerts = AlertStream(
                bootstrap,
                from_topic or (),
                start=start,
                until=end,
                tenses=tenses,
                on_error=note,
                config=read_properties(config),
                known=stars,
            )
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    with alerts:
        trial = try_filter(where, alerts)
    if as_json:
        typer.echo(json.dumps(_facts(trial)))
    else:
        _show(trial)
    if trial.n_alerts and trial.share > most:
        logger.warning(
            "%.0f %% of the night's alerts pass, more than %g %%: a person may not want to look at so many",
            *(100 * trial.share, 100 * most),
        )
    if bad:
        raise typer.Exit(1)


def _show(trial: Trial) -> None:
    table = Table("clause", box=None)
    for heading in ("pass it", "pass up to it", "lost by it alone"):
        table.add_column(heading, justify="right")
    table.add_column("these")
    for clause in trial.clauses:
        names = ", ".join(map(shown, clause.lost_by_it[:_MOST_NAMES]))
        more = " …" if len(clause.lost_by_it) > _MOST_NAMES else ""
        counts = (clause.n_alone, clause.n_so_far, len(clause.lost_by_it))
        table.add_row(Text(clause.text), *map(str, counts), Text(names + more))
    Console(highlight=False).print(table)
    typer.echo(f"{trial.n_passed} of {trial.n_alerts} alerts pass")


def _facts(trial: Trial) -> dict[str, object]:
    return {
        "n_alerts": trial.n_alerts,
        "n_passed": trial.n_passed,
        "clauses": [
            {
                "clause": clause.text,
                "n_alone": clause.n_alone,
                "n_so_far": clause.n_so_far,
                "lost_by_it": clause.lost_by_it,
            }
            for clause in trial.clauses
        ],
    }
