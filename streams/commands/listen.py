"""``cempstream listen``: alerts at the terminal, or one JSON object a line for the next program."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Iterable
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from cempstream.schemas.alert import Alert
from cempstream.streams.commands.options import broker_option
from cempstream.streams.interrupts import INTERRUPTED
from cempstream.streams.subscriber.alert_file import AlertFile
from cempstream.streams.subscriber.alert_view import alert_panel
from cempstream.streams.subscriber.client import ALERTS_TOPIC, AlertStream
from cempstream.streams.subscriber.sieve import TENSES, Undecodable
from cempstream.streams.subscriber.where import compile_where
from cempstream.streams.times import TIME_FORMS, parse_start, parse_time

logger = logging.getLogger(__name__)

_WIDEST = 110

_BOOTSTRAP = "CEMP_KAFKA__BOOTSTRAP"


def listen(
    bootstrap: Annotated[
        str, broker_option("Kafka brokers, host:port[,host:port…].", envvar=_BOOTSTRAP)
    ] = "127.0.0.1:9092",
    topic: Annotated[
        list[str] | None, typer.Option(help=f"Topic; may be given again. [{ALERTS_TOPIC}]")
    ] = None,
    start: Annotated[
        str | None,
        typer.Option(
            help=f"earliest, latest, -100 for the last hundred, or a time: {TIME_FORMS}. "
            "[default: latest; of a file, its beginning]"
        ),
    ] = None,
    until: Annotated[
        str | None, typer.Option(help=f"When to end: {TIME_FORMS}; now ends where the topics end.")
    ] = None,
    where: Annotated[
        str | None, typer.Option(help='Filter: "p_cemp > 0.95 and snr > 20 and feh < -2".')
    ] = None,
    group: Annotated[
        str | None,
        typer.Option(help="Remember under this name what was shown; the next run continues there."),
    ] = None,
    state: Annotated[
        Path | None, typer.Option(help="File that remembers what was shown, so that repeats are not shown.")
    ] = None,
    number: Annotated[int | None, typer.Option("-n", min=1, help="End after this many alerts.")] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object a line, with the spectrum.")
    ] = False,
    tense: Annotated[
        list[str] | None, typer.Option(help="current, archival, injection or test; may be given again.")
    ] = None,
    file: Annotated[
        Path | None, typer.Option(help="Read a recorded file (JSON lines, also .gz) instead of a broker.")
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(help="File of librdkafka properties, name=value: security.protocol and so on."),
    ] = None,
) -> None:
    """Subscribe to alerts. Ends on Ctrl-C, after -n alerts or at --until; without --group nothing is kept."""
    _refuse_misspelt(os.environ)
    bad: list[Undecodable] = []

    def note(undecodable: Undecodable) -> None:
        logger.error("cannot be read: %s", undecodable)
        bad.append(undecodable)

    _check("--start", lambda: start and parse_start(start))
    _check("--until", lambda: until in (None, "now") or parse_time(until))
    _check("--where", lambda: where and compile_where(where))
    tenses = tuple(tense or TENSES)
    alerts: AlertFile | AlertStream
    try:
        if file is not None:
            alerts = AlertFile(
                file, start=start or "earliest", until=until, where=where, tenses=tenses, on_error=note
            )
        else:
            alerts = AlertStream(
                bootstrap,
                topic or [ALERTS_TOPIC],
                start=start or "latest",
                until=until,
                where=where,
                group=group,
                state=state,
                tenses=tenses,
                on_error=note,
                config=read_properties(config) if config else None,
            )
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    try:
        with alerts:
            _show_all(alerts, number, _json_line if as_json else _pretty())
    except BrokenPipeError:  # the reader of our output is gone: `listen | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else Python reports it at its end
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None
    if bad:
        raise typer.Exit(1)


def _refuse_misspelt(environment: Iterable[str]) -> None:
    """Refuse what is nearly the one variable that is read: else the broker would be this machine."""
    for name in get_close_matches(_BOOTSTRAP, environment, cutoff=0.9):
        if name != _BOOTSTRAP:
            message = f"{name} is not a setting; did you mean {_BOOTSTRAP}?"
            raise typer.BadParameter(message, param_hint="the environment")


def _show_all(alerts: Iterable[Alert], number: int | None, show: Callable[[Alert], None]) -> None:
    for n_shown, alert in enumerate(alerts, start=1):
        show(alert)
        alert.ack()
        if n_shown == number:
            return


def _json_line(alert: Alert) -> None:
    sys.stdout.buffer.write(alert.to_json() + b"\n")
    sys.stdout.buffer.flush()


def _pretty() -> Callable[[Alert], None]:
    console = Console(highlight=False)
    width = min(console.width, _WIDEST)

    def show(alert: Alert) -> None:
        console.print(alert_panel(alert), width=width)
        console.file.flush()

    return show


def _check(option: str, parse: Callable[[], object]) -> None:
    try:
        parse()
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=f"'{option}'") from error


def read_properties(path: Path) -> dict[str, str]:
    """Read a file of ``name=value`` lines, as kcat's ``-F`` does; ``#`` begins a comment.

    Raises
    ------
    ValueError
        A line is not ``name=value``.
    OSError
        The file cannot be read.
    """
    properties = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        name, equals, value = line.partition("=")
        if not equals:
            raise ValueError(f"{path}, line {number}: a property is written name=value")
        properties[name.strip()] = value.strip()
    return properties
