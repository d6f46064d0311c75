"""``cempstream dlq``: read dead letters, and send packets again once what was wrong is fixed."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from heapq import nlargest
from pathlib import Path
from typing import Annotated
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import Request, urlopen

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from cempstream.plain import shown
from cempstream.processors.spectrum import Reason
from cempstream.streams.addresses import AddressError, is_address
from cempstream.streams.commands.options import Bootstrap, option, time_option
from cempstream.streams.kafka.dead_letters import DeadLetter, read_dead_letter
from cempstream.streams.kafka.topic_reader import read_one
from cempstream.streams.operations.requeue import Choice, Rules, read_letters, requeue_letters
from cempstream.streams.settings import Settings, read_settings

dlq_app = typer.Typer(help="Read dead letters and send them again.", no_args_is_help=True)

ReasonOption = Annotated[
    list[Reason] | None, typer.Option("--reason", help="Only these; may be given again.")
]
FromTopic = Annotated[str | None, typer.Option("--from", help="Only packets that came from this topic.")]
Since = Annotated[datetime | None, time_option("Only from this time on")]
DlqTopic = Annotated[str | None, typer.Option("--dlq", help="The dead-letter topic; else CEMP_TOPICS__DLQ.")]
AsJson = Annotated[bool, typer.Option("--json", help="JSON lines.")]
Places = Annotated[list[str] | None, typer.Argument(help="Dead letters as `dlq list` names them: 3:17.")]

_HEAD_BYTES = 256


def _worker_address(text: str) -> str:
    if not (is_address(text) and ":" in text):
        raise AddressError(f"{text!r} is not the address of a worker; write host:port, like 127.0.0.1:9464")
    return text


class _Counted:
    """Counts what passes through."""

    def __init__(self, letters: Iterator[DeadLetter]) -> None:
        self._letters = letters
        self.count = 0

    def __iter__(self) -> Iterator[DeadLetter]:
        for letter in self._letters:
            self.count += 1
            yield letter


@dlq_app.command("list")
def list_(
    bootstrap: Bootstrap = None,
    dlq: DlqTopic = None,
    reason: ReasonOption = None,
    from_topic: FromTopic = None,
    since: Since = None,
    limit: Annotated[int, typer.Option("-n", min=1, help="At most this many, the newest.")] = 100,
    as_json: AsJson = False,
) -> None:
    """List dead letters, oldest first."""
    settings = _settings(bootstrap, dlq)
    letters = _Counted(read_letters(settings, _choice(reason, from_topic), since))
    newest = nlargest(limit, letters, key=lambda letter: (letter.died_at, letter.partition, letter.offset))
    if letters.count > limit:
        typer.echo(f"the newest {limit} of {letters.count}; -n shows more", err=True)
    for letter in reversed(newest):
        if as_json:
            typer.echo(json.dumps(_facts(letter)))
        else:
            typer.echo(
                f"{letter.place}\t{letter.died_at:%Y-%m-%dT%H:%M:%SZ}\t{shown(letter.reason)}\t{shown(letter.origin)}\t"
                f"{letter.size_bytes} B\t{shown(letter.detail)}"
            )


@dlq_app.command()
def show(
    place: Annotated[str, typer.Argument(help="The dead letter as `dlq list` names it: 3:17.")],
    bootstrap: Bootstrap = None,
    dlq: DlqTopic = None,
    out: Annotated[
        Path | None, typer.Option(help="Write the packet's bytes to this file ('-': stdout).")
    ] = None,
) -> None:
    """Show one dead letter: why it died, its headers and the head of its bytes."""
    settings = _settings(bootstrap, dlq)
    partition, offset = _parse_place(place)
    message = read_one(settings.kafka, settings.topics.dlq, partition, offset)
    if message is None:
        raise typer.BadParameter(f"there is no dead letter {place} in {settings.topics.dlq}")
    letter = read_dead_letter(message)
    if out is not None:
        if str(out) == "-":
            sys.stdout.buffer.write(letter.packet)
        else:
            out.write_bytes(letter.packet)
        if not letter.is_whole:
            typer.echo(
                f"only the first {len(letter.packet)} of {letter.size_bytes} bytes were kept", err=True
            )
        return
    for name, value in _facts(letter).items():
        typer.echo(f"{name}: {shown(value)}")
    for name, header in letter.headers:
        typer.echo(f"header {shown(name)}: {header!r}")
    for start in range(0, min(_HEAD_BYTES, len(letter.packet)), 16):
        row = letter.packet[start : start + 16]
        text = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in row)
        typer.echo(f"{start:06x}  {row.hex(' '):<47}  {text}")


@dlq_app.command()
def stats(
    bootstrap: Bootstrap = None, dlq: DlqTopic = None, since: Since = None, as_json: AsJson = False
) -> None:
    """Count dead letters by reason and topic."""
    settings = _settings(bootstrap, dlq)
    counts: Counter[tuple[str, str]] = Counter()
    last: dict[tuple[str, str], datetime] = {}
    for letter in read_letters(settings, Choice(), since):
        group = (letter.reason, letter.topic)
        counts[group] += 1
        last[group] = max(letter.died_at, last.get(group, letter.died_at))
    if as_json:
        for (reason, topic), count in counts.most_common():
            newest = last[reason, topic].isoformat()
            typer.echo(json.dumps({"reason": reason, "topic": topic, "count": count, "last": newest}))
        return
    table = Table("reason", "from", box=None)
    table.add_column("count", justify="right")
    table.add_column("last")
    for (reason, topic), count in counts.most_common():
        table.add_row(
            Text(shown(reason)), Text(shown(topic)), str(count), f"{last[reason, topic]:%Y-%m-%d %H:%M:%SZ}"
        )
    table.add_row("all", "", str(counts.total()), "")
    Console().print(table)


@dlq_app.command()
def requeue(
    places: Places = None,
    bootstrap: Bootstrap = None,
    dlq: DlqTopic = None,
    reason: ReasonOption = None,
    from_topic: FromTopic = None,
    since: Since = None,
    to: Annotated[str | None, typer.Option(help="Send to this topic; else where each came from.")] = None,
    every: Annotated[bool, typer.Option("--all", help="All dead letters.")] = False,
    max_attempts: Annotated[
        int, typer.Option(min=1, help="Leave out packets already sent again this often.")
    ] = 3,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be sent; send nothing.")] = False,
) -> None:
    """Send packets again as they were; one that was already scored keeps its ids."""
    if not (places or reason or from_topic or since or every):
        raise typer.BadParameter("say which: places, --reason, --from, --since or --all")
    for place in places or ():
        _parse_place(place)
    rules = Rules(to, max_attempts, datetime.now(UTC))
    settings = _settings(bootstrap, dlq)
    done = asyncio.run(
        requeue_letters(
            settings,
            _choice(reason, from_topic, places),
            since,
            rules,
            dry_run=dry_run,
            on_failure=lambda error: typer.echo(str(error), err=True),
        )
    )
    verb = "would be sent" if dry_run else "sent"
    typer.echo(f"{done.n_sent} {verb}, {done.n_failed} failed, {done.left.total()} left")
    for problem, count in done.left.items():
        typer.echo(f"{count} left: {problem}", err=True)
    missing = set(places or ()) - done.places
    if missing:
        typer.echo(f"no such dead letter: {', '.join(sorted(missing))}", err=True)
    if done.n_failed or missing:
        raise typer.Exit(1)


@dlq_app.command()
def probe(
    worker: Annotated[
        list[str] | None,
        option(
            _worker_address,
            "HOST:PORT",
            "Address of a worker's metrics; may be given again; else CEMP_METRICS__HOST and __PORT.",
        ),
    ] = None,
    topic: Annotated[
        str | None, typer.Option(help="Only the breaker of this topic; else of every one that is held.")
    ] = None,
) -> None:
    """Let one batch through an open breaker now: a worker that stopped on dead letters tries again."""
    address = read_settings().metrics
    query = "" if topic is None else f"?{urlencode({'topic': topic})}"
    n_failed = 0
    for place in worker or [f"{address.host}:{address.port}"]:
        try:
            with urlopen(
                Request(f"http://{place}/breaker/probe{query}", method="POST"), timeout=10
            ) as answer:
                typer.echo(f"{place}: {answer.read().decode().strip()}")
        except HTTPError as error:
            n_failed += 1
            why = {
                404: "it allows none; start it with CEMP_METRICS__ALLOW_PROBE=true",
                400: f"it does not read {topic}",
            }.get(error.code)
            typer.echo(f"{place}: {shown(why or f'{error.code} {error.reason}')}", err=True)
        except OSError as error:  # a URLError holds the reason
            n_failed += 1
            typer.echo(f"{place}: {getattr(error, 'reason', error)}", err=True)
    if n_failed:
        raise typer.Exit(1)


def _choice(reasons: list[Reason] | None, topic: str | None, places: list[str] | None = None) -> Choice:
    return Choice(
        frozenset(reason.value for reason in reasons) if reasons else None,
        topic,
        frozenset(places) if places else None,
    )


def _facts(letter: DeadLetter) -> dict[str, object]:
    return {
        "place": letter.place,
        "died_at": letter.died_at.isoformat(),
        "reason": letter.reason,
        "detail": letter.detail,
        "stage": letter.stage,
        "origin": letter.origin,
        "key": letter.key.decode("utf-8", "replace") if letter.key is not None else None,
        "size_bytes": letter.size_bytes,
        "sha256": letter.sha256,
        "is_whole": letter.is_whole,
        "attempts": letter.attempts,
    }


def _settings(bootstrap: str | None, dlq: str | None) -> Settings:
    return read_settings(kafka={"bootstrap": bootstrap}, topics={"dlq": dlq})


def _parse_place(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"([0-9]{1,9}):([0-9]{1,18})", text)
    if found is None:
        raise typer.BadParameter(f"{text!r} is not a place; one is written partition:offset, like 3:17")
    return int(found[1]), int(found[2])
