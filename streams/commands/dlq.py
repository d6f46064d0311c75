"""``cempstream dlq``: read dead letters, and send packets again once what was wrong is mended."""

from __future__ import annotations

import asyncio
import json
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from heapq import nlargest
from itertools import islice
from pathlib import Path
from typing import Annotated
from urllib.request import Request, urlopen

import typer
from rich.console import Console
from rich.table import Table

from cempstream.processors.spectrum import Reason
from cempstream.streams.kafka.dead_letters import DeadLetter, read_dead_letter
from cempstream.streams.kafka.publisher import DeliveryFailed, Publisher
from cempstream.streams.kafka.topic_reader import read_one, read_topic
from cempstream.streams.kafka.topics import MAX_INPUT_BYTES
from cempstream.streams.overrides import Bootstrap, settings_with
from cempstream.streams.settings import Settings

dlq_app = typer.Typer(help="Read dead letters and send them again.", no_args_is_help=True)

ReasonOption = Annotated[
    list[Reason] | None, typer.Option("--reason", help="Only these; may be given again.")
]
FromTopic = Annotated[str | None, typer.Option("--from", help="Only packets that came from this topic.")]
Since = Annotated[
    str | None, typer.Option(help="Only from this time on: 2026-11-20T03:00 (UTC), or 2h, 30m, 1d ago.")
]
DlqTopic = Annotated[str | None, typer.Option("--dlq", help="The dead-letter topic; else CEMP_TOPICS__DLQ.")]
AsJson = Annotated[bool, typer.Option("--json", help="JSON lines.")]
Places = Annotated[list[str] | None, typer.Argument(help="Dead letters as `dlq list` names them: 3:17.")]

_CHUNK = 100
_HEAD_BYTES = 256
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


@dataclass(frozen=True, slots=True)
class Choice:
    """Which dead letters are meant; what is None does not restrict."""

    reasons: frozenset[str] | None = None
    topic: str | None = None
    places: frozenset[str] | None = None

    def holds(self, letter: DeadLetter) -> bool:
        """Whether a dead letter is among them."""
        return (
            (self.reasons is None or letter.reason in self.reasons)
            and (self.topic is None or letter.topic == self.topic)
            and (self.places is None or letter.place in self.places)
        )


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
    letters = _Counted(_read(settings, _choice(reason, from_topic), since))
    newest = nlargest(limit, letters, key=lambda letter: (letter.died_at, letter.partition, letter.offset))
    if letters.count > limit:
        typer.echo(f"the newest {limit} of {letters.count}; -n shows more", err=True)
    for letter in reversed(newest):
        if as_json:
            typer.echo(json.dumps(_facts(letter)))
        else:
            typer.echo(
                f"{letter.place}\t{letter.died_at:%Y-%m-%dT%H:%M:%SZ}\t{letter.reason}\t{letter.origin}\t"
                f"{letter.size_bytes} B\t{letter.detail}"
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
        typer.echo(f"{name}: {value}")
    for name, header in letter.headers:
        typer.echo(f"header {name}: {header!r}")
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
    for letter in _read(settings, Choice(), since):
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
        table.add_row(reason, topic, str(count), f"{last[reason, topic]:%Y-%m-%d %H:%M:%SZ}")
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
        int, typer.Option(min=1, help="Leave alone what was sent again this often already.")
    ] = 3,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be sent, send nothing.")] = False,
) -> None:
    """Send packets again as they were; what was scored already gets the same ids."""
    if not (places or reason or from_topic or since or every):
        raise typer.BadParameter("say which: places, --reason, --from, --since or --all")
    for place in places or ():
        _parse_place(place)
    rules = _Rules(to, max_attempts, datetime.now(UTC))
    settings = _settings(bootstrap, dlq)
    letters = _read(settings, _choice(reason, from_topic, places), since)
    told = asyncio.run(_requeue(settings, letters, rules, dry_run=dry_run))
    verb = "would be sent" if dry_run else "sent"
    typer.echo(f"{told.n_sent} {verb}, {told.n_failed} failed, {told.left.total()} left")
    for problem, count in told.left.items():
        typer.echo(f"{count} left: {problem}", err=True)
    missing = set(places or ()) - told.places
    if missing:
        typer.echo(f"no such dead letter: {', '.join(sorted(missing))}", err=True)
    if told.n_failed or missing:
        raise typer.Exit(1)


@dlq_app.command()
def probe(
    worker: Annotated[
        list[str] | None,
        typer.Option(help="host:port of a worker's metrics; may be given again; else CEMP_METRICS__*."),
    ] = None,
) -> None:
    """Let one batch through an open breaker now: a worker that stopped on dead letters tries again."""
    address = settings_with().metrics
    n_failed = 0
    for place in worker or [f"{address.host}:{address.port}"]:
        try:
            with urlopen(Request(f"http://{place}/breaker/probe", method="POST"), timeout=10) as answer:
                typer.echo(f"{place}: {answer.read().decode().strip()}")
        except (OSError, ValueError) as error:  # URLError and HTTPError are OSErrors
            n_failed += 1
            typer.echo(f"{place}: {error}", err=True)
    if n_failed:
        raise typer.Exit(1)


@dataclass(frozen=True, slots=True)
class _Rules:
    """Which packets are sent again, and where to (None: where each came from)."""

    to: str | None
    max_attempts: int
    began_at: datetime

    def objection(self, letter: DeadLetter) -> str | None:
        """Say why a packet is not sent again; None where it is."""
        if letter.died_at > self.began_at:
            return "died after this command began"  # else a packet that stays bad would come round again
        if not letter.is_whole:
            return "only the head of the packet was kept"
        if letter.attempts >= self.max_attempts:
            return f"sent again {self.max_attempts} times already"
        if not (self.to or letter.topic):
            return "nothing says where it came from; give --to"
        return None


@dataclass(slots=True)
class _Told:
    """What became of the packets."""

    n_sent: int = 0
    n_failed: int = 0
    left: Counter[str] = field(default_factory=Counter)
    places: set[str] = field(default_factory=set)


async def _requeue(
    settings: Settings, letters: Iterator[DeadLetter], rules: _Rules, *, dry_run: bool
) -> _Told:
    """Send packets in chunks, so that no more than one is held."""
    told = _Told()
    publisher = Publisher(
        settings.kafka.bootstrap,
        max_message_bytes=MAX_INPUT_BYTES,
        client_config=settings.kafka.client_config(),
    )
    async with publisher:
        while chunk := list(islice(letters, _CHUNK)):
            messages = []
            for letter in chunk:
                told.places.add(letter.place)
                objection = rules.objection(letter)
                if objection is None:
                    messages.append(letter.to_requeue(rules.to))
                else:
                    told.left[objection] += 1
            told.n_sent += len(messages)
            if dry_run:
                continue
            try:
                await publisher.publish(messages)
            except DeliveryFailed as error:
                told.n_sent -= error.n_failed
                told.n_failed += error.n_failed
                typer.echo(str(error), err=True)
    return told


def _read(settings: Settings, choice: Choice, since: str | None) -> Iterator[DeadLetter]:
    start = _parse_time(since, datetime.now(UTC)) if since else None
    for message in read_topic(settings.kafka, settings.topics.dlq, since=start):
        letter = read_dead_letter(message)
        if choice.holds(letter):
            yield letter


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
    return settings_with(kafka={"bootstrap": bootstrap}, topics={"dlq": dlq})


def _parse_place(text: str) -> tuple[int, int]:
    partition, colon, offset = text.partition(":")
    if not (colon and partition.isdecimal() and offset.isdecimal()):
        raise typer.BadParameter(f"{text!r} is not a place; one is written partition:offset, like 3:17")
    return int(partition), int(offset)


def _parse_time(text: str, now: datetime) -> datetime:
    """Return a time given as ISO 8601 (UTC where it names no zone) or as an age like 2h."""
    number, unit = text[:-1], text[-1:]
    if unit in _UNITS and number.isdecimal():
        return now - timedelta(**{_UNITS[unit]: int(number)})
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is no time; one is written 2026-11-20T03:00 or 2h") from None
    return time if time.tzinfo else time.replace(tzinfo=UTC)
