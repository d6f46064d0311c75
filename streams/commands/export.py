"""``cempstream export``: alerts as others' alert systems read them, from a recorded file or the stream."""

from __future__ import annotations

import logging
import os
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from cempstream.streams.commands.subscriber_options import (
    DEFAULT_BROKER,
    AlertTopics,
    Broker,
    ConfigFile,
    Tenses,
    Where,
    check,
    read_properties,
    refuse_misspelt,
)
from cempstream.streams.exporters.create import (
    SECRET_VARIABLE,
    URL_VARIABLE,
    Choices,
    Format,
    Payload,
    create_sink,
)
from cempstream.streams.interrupts import INTERRUPTED
from cempstream.streams.subscriber.alert_file import AlertFile
from cempstream.streams.subscriber.client import ALERTS_TOPIC, AlertStream
from cempstream.streams.subscriber.sieve import TENSES, Undecodable
from cempstream.streams.subscriber.where import compile_where
from cempstream.streams.times import TIME_FORMS, parse_start, parse_until

logger = logging.getLogger(__name__)

#: Options that only some formats have.
_ONLY_FOR = {
    "--ivorn": (Format.VOEVENT, Format.HOP),
    "--contact": (Format.VOEVENT, Format.HOP),
    "--instrument": (Format.GCN, Format.HOP),
    "--no-spectrum": (Format.JSON, Format.HOP),
    "--schema": (Format.GCN,),
    "--payload": (Format.HOP,),
    "--sender": (Format.HOP,),
    "--no-account": (Format.HOP,),
    "--secret-file": (Format.WEBHOOK,),
    "--undelivered": (Format.WEBHOOK,),
}


def export(
    form: Annotated[Format, typer.Argument(metavar="FORMAT", help="What to write, or where to send.")],
    from_file: Annotated[
        Path | None,
        typer.Option("--from", help="Read a recorded file (JSON lines, also .gz) instead of a broker."),
    ] = None,
    to: Annotated[
        str | None,
        typer.Option(
            help="File; folder for voevent; kafka://HOST/TOPIC for hop; https://… for a webhook, or the "
            f"variable {URL_VARIABLE}. [default: standard output]"
        ),
    ] = None,
    bootstrap: Broker = DEFAULT_BROKER,
    topic: AlertTopics = None,
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
    where: Where = None,
    group: Annotated[
        str | None,
        typer.Option(help="Remember under this name what was exported; the next run continues there."),
    ] = None,
    state: Annotated[
        Path | None, typer.Option(help="File that remembers what was exported, so that repeats are left out.")
    ] = None,
    number: Annotated[int | None, typer.Option("-n", min=1, help="End after this many alerts.")] = None,
    tense: Tenses = None,
    config: ConfigFile = None,
    no_spectrum: Annotated[
        bool, typer.Option("--no-spectrum", help="json, hop: leave out the spectrum, most of an alert.")
    ] = False,
    ivorn: Annotated[
        str | None, typer.Option(help="voevent: your stream of packets, ivo://AUTHORITY/STREAM.")
    ] = None,
    contact: Annotated[
        str | None, typer.Option(help="voevent: 'NAME <ADDRESS>' whom readers may ask.")
    ] = None,
    position_error: Annotated[
        float, typer.Option(min=0.001, help="voevent, gcn: radius stated with positions, arcsec.")
    ] = 1.0,
    instrument: Annotated[str | None, typer.Option(help="gcn: name of the spectrograph.")] = None,
    schema: Annotated[
        bool, typer.Option("--schema", help="gcn: print the notices' JSON Schema and end.")
    ] = False,
    payload: Annotated[Payload | None, typer.Option(help="hop: what is sent. [default: json]")] = None,
    sender: Annotated[
        str | None, typer.Option(help="hop: header _sender. [default: the account's name]")
    ] = None,
    no_account: Annotated[
        bool, typer.Option("--no-account", help="hop: the broker has no accounts.")
    ] = False,
    secret_file: Annotated[
        Path | None,
        typer.Option(
            help=f"webhook: file of the secret that signs. [default: the variable {SECRET_VARIABLE}]"
        ),
    ] = None,
    undelivered: Annotated[
        Path | None,
        typer.Option(help="webhook: add what is not taken to this file and go on; else end there."),
    ] = None,
) -> None:
    """Write alerts as VOEvent, GCN notices, JSON, VOTable or ECSV; send them by hop or a webhook.

    An alert is acknowledged when it is written, or confirmed by who receives it.
    """
    refuse_misspelt(os.environ)
    given = {
        "--ivorn": ivorn,
        "--contact": contact,
        "--instrument": instrument,
        "--no-spectrum": no_spectrum,
        "--schema": schema,
        "--payload": payload,
        "--sender": sender,
        "--no-account": no_account,
        "--secret-file": secret_file,
        "--undelivered": undelivered,
    }
    for option, value in given.items():
        if value and form not in _ONLY_FOR[option]:
            raise typer.BadParameter(f"it is for {' and '.join(_ONLY_FOR[option])}", param_hint=f"'{option}'")
    if schema:
        from cempstream.streams.exporters.gcn import SCHEMA_PATH

        sys.stdout.write(SCHEMA_PATH.read_text(encoding="utf-8"))
        return
    check("--start", lambda: start and parse_start(start))
    check("--until", lambda: parse_until(until))
    check("--where", lambda: where and compile_where(where))
    bad: list[Undecodable] = []

    def note(undecodable: Undecodable) -> None:
        logger.error("cannot be read: %s", undecodable)
        bad.append(undecodable)

    choices = Choices(
        to=to,
        with_spectrum=not no_spectrum,
        ivorn=ivorn,
        contact=contact,
        position_error_arcsec=position_error,
        instrument=instrument,
        payload=payload or Payload.JSON,
        sender=sender,
        has_account=not no_account,
        secret_file=secret_file,
        undelivered=undelivered,
    )
    tenses = tuple(tense or TENSES)
    alerts: AlertFile | AlertStream
    try:
        if from_file is not None:
            alerts = AlertFile(
                from_file, start=start or "earliest", until=until, where=where, tenses=tenses, on_error=note
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
                config=read_properties(config),
            )
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    try:
        with ExitStack() as stack:
            stack.enter_context(alerts)  # left last: a table is written, and acknowledged, at the end
            sink = create_sink(form, choices, stack)
            for n_sent, alert in enumerate(alerts, start=1):
                sink.send(alert)
                if n_sent == number:
                    break
    except BrokenPipeError:  # the reader of our output is gone: `export | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else Python reports it at its end
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None
    if bad:
        raise typer.Exit(1)
