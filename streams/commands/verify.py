"""``cempstream verify``: does an alert agree with what its bundle says about its spectrum?"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Annotated
from uuid import UUID

import typer

from cempstream.models.sessions import Provider
from cempstream.plain import shown
from cempstream.schemas.alert import Alert, decode_alert
from cempstream.schemas.packets import PacketError
from cempstream.streams.commands.options import Bootstrap, time_option
from cempstream.streams.kafka.schema_registry import use_registry
from cempstream.streams.kafka.topic_reader import read_topic
from cempstream.streams.operations.compare import plain_json
from cempstream.streams.operations.verify import Verdict, Verification, Verifier
from cempstream.streams.settings import Settings, read_settings
from cempstream.streams.subscriber.alert_file import AlertFile
from cempstream.streams.subscriber.sieve import UndecodableError

_ALL_TENSES = ("current", "archival", "injection", "test")
_STATUS = {Verdict.CONFIRMED: 0, Verdict.DIFFERS: 1, Verdict.IMPOSSIBLE: 3}


def verify(
    alert: Annotated[
        str, typer.Argument(help="File of alerts (Avro, or JSON lines), or the alert_id or record_id of one.")
    ],
    bootstrap: Bootstrap = None,
    topic: Annotated[
        list[str] | None, typer.Option(help="Topic in which an id is searched; else the alert topics.")
    ] = None,
    since: Annotated[datetime | None, time_option("Look for an id from this time on")] = None,
    provider: Annotated[Provider | None, typer.Option(help="Where the networks run.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object an alert.")] = False,
) -> None:
    """Score an alert's spectrum again with its own bundle: score, parameters and attribution must be the
    same.

    Exit status 0 if all are confirmed, 1 if a number differs, 3 if an alert cannot be verified (its bundle is
    missing or different, or it carries no spectrum).
    """
    settings = read_settings(kafka={"bootstrap": bootstrap}, models={"provider": provider})
    use_registry(settings)
    if Path(alert).is_file():
        alerts = _from_file(Path(alert))
    elif _is_id(alert):
        alerts = _from_topics(settings, alert, topic, since)
    else:
        raise typer.BadParameter(f"{alert!r} is neither a file nor an id like {UUID(int=0)}")
    verifier = Verifier(settings.models.provider, settings.models.root, settings.models.keys)
    status = 0
    n_alerts = 0
    for one in alerts:
        n_alerts += 1
        found = verifier.verify(one)
        status = max(status, _STATUS[found.verdict])
        typer.echo(json.dumps(plain_json(asdict(found)), allow_nan=False) if as_json else _say(found))
    if n_alerts == 0:
        typer.echo(f"no alert found: {alert}", err=True)
        status = _STATUS[Verdict.IMPOSSIBLE]
    if status:
        raise typer.Exit(status)


def _say(found: Verification) -> str:
    lines = [f"{found.verdict}: alert {found.alert_id} of {found.spectrum_id} by {found.bundle}"]
    if found.reason:
        lines.append(f"  {found.reason}")
    for group, worst in (found.differences or {}).items():
        is_within = worst.size <= found.tolerance
        numbers = (
            "" if worst.size == 0 else f", in {worst.name}: {worst.said:.8g} in it, {worst.again:.8g} now"
        )
        lines.append(
            f"  {group}: {'the same' if is_within else 'not the same'} to {found.tolerance:g} "
            f"on {found.provider}; largest difference {worst.size:.1e}{numbers}"
        )
    return "\n".join(map(shown, lines))


def _from_file(path: Path) -> Iterator[Alert]:
    try:
        with AlertFile(path, tenses=_ALL_TENSES) as alerts:
            yield from alerts
    except UndecodableError as error:
        raise typer.BadParameter(str(error)) from None


def _from_topics(
    settings: Settings, wanted: str, topics: list[str] | None, since: datetime | None
) -> Iterator[Alert]:
    """Find the newest alert of every bundle with an id; repeats are the same as the first."""
    found: dict[str, Alert] = {}
    text = wanted.encode()
    for topic in topics or (settings.topics.alerts, settings.topics.alerts_archival):
        for message in read_topic(settings.kafka, topic, since=since):
            packet = message.value() or b""
            if text not in packet:  # Avro stores text as it is, so most alerts need no decoding
                continue
            try:
                alert = decode_alert(packet)
            except PacketError:
                continue
            if wanted in (alert.alert_id, alert.record_id):
                found[alert.alert_id] = alert
    yield from found.values()


def _is_id(text: str) -> bool:
    try:
        return str(UUID(text)) == text
    except ValueError:
        return False
