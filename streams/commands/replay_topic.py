"""``cempstream replay --from-topic``: score a recorded night with another bundle, or compare two."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import typer
from rich.console import Console

from cempstream.schemas.stamp import Tense
from cempstream.streams.kafka.outputs import MessageWriter
from cempstream.streams.kafka.publisher import Publisher
from cempstream.streams.kafka.schema_registry import use_registry
from cempstream.streams.kafka.topic_reader import read_topic
from cempstream.streams.kafka.topics import TopicAdmin
from cempstream.streams.operations.compare import Comparer, print_comparison
from cempstream.streams.operations.rescore import Again, compare_again, publish_again, recorded_packets
from cempstream.streams.scoring.assemble import load_pipeline
from cempstream.streams.scoring.pipeline import Pipeline
from cempstream.streams.settings import Settings, read_settings


@dataclass(frozen=True, slots=True)
class RecordedNight:
    """The packets of a topic from one time until before another, by the messages' times."""

    topic: str
    start: datetime
    end: datetime

    def __str__(self) -> str:
        return f"{self.topic} {self.start:%FT%TZ} – {self.end:%FT%TZ}"


def replay_night(
    night: RecordedNight,
    bootstrap: str | None,
    tense: Tense,
    *,
    bundle: Sequence[str] | None,
    against: Sequence[str] | None,
    report: Path | None,
) -> None:
    """Score a night again and publish it as archival, or compare two bundles on it and publish nothing."""
    if tense not in ("archival", "test"):
        raise typer.BadParameter(f"a recorded night is never {tense}; --tense archival marks it")
    if report is not None and not against:
        raise typer.BadParameter("--report is for a comparison; name the other bundle with --against")
    if report is not None and not report.parent.is_dir():
        raise typer.BadParameter(f"{report}: there is no folder {report.parent}")
    settings = _settings(bootstrap, bundle)
    again = Again()
    began_s = time.monotonic()
    packets = recorded_packets(
        read_topic(settings.kafka, night.topic, since=night.start, until=night.end), again
    )
    if against:
        old, new = load_pipeline(_settings(bootstrap, against)), load_pipeline(settings)
        comparer = Comparer(_name(old), _name(new))
        compare_again(packets, old, new, comparer, again, batch_size=settings.batch.size)
        found = comparer.report()
        if report is not None:
            head = {"topic": night.topic, "start": night.start.isoformat(), "end": night.end.isoformat()}
            text = json.dumps({**head, **found.to_json()}, indent=1, allow_nan=False, ensure_ascii=False)
            report.write_text(text + "\n", encoding="utf-8")
        print_comparison(found, Console())
    else:
        _check_topics(settings)
        publisher = Publisher(settings.kafka.bootstrap, client_config=settings.kafka.client_config())
        asyncio.run(
            publish_again(
                packets,
                load_pipeline(settings),
                MessageWriter(settings.topics, settings.limits),
                publisher,
                again,
                tense=tense,
                batch_size=settings.batch.size,
            )
        )
    elapsed_s = time.monotonic() - began_s
    rejected = ", ".join(f"{count} {reason}" for reason, count in again.rejected.items())
    typer.echo(
        f"{night}: {again.n_read} packets, {again.n_scored} scored, {again.n_candidates} candidates, "
        f"{again.rejected.total()} rejected{f' ({rejected})' if rejected else ''}, {again.n_planted} planted "
        f"left out; {'compared' if against else f'published as {tense}'} in {elapsed_s:.1f} s"
    )


def _settings(bootstrap: str | None, bundles: Sequence[str] | None) -> Settings:
    settings = read_settings(
        kafka={"bootstrap": bootstrap}, models={"bundles": tuple(bundles) if bundles else None}
    )
    use_registry(settings)
    return settings


def _name(pipeline: Pipeline) -> str:
    return " + ".join(route.chain.name for route in pipeline.routes)


def _check_topics(settings: Settings) -> None:
    known = TopicAdmin(settings.kafka).metadata().topics
    missing = [t for t in (settings.topics.scores, settings.topics.alerts_archival) if t not in known]
    if missing:
        raise typer.BadParameter(
            f"there is no topic {', '.join(missing)}; `cempstream topics create` makes it"
        )
