"""``cempstream replay``: publish the spectra of files as their survey would, or score a night again."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import Progress

from cempstream.plain import shown
from cempstream.processors.outcome import Rejected
from cempstream.processors.readers import ReadOptions, UnreadableFile, expand_paths, read_spectra
from cempstream.processors.spectrum import Spectrum
from cempstream.schemas.stamp import Tense
from cempstream.streams.commands.options import (
    Bootstrap,
    ColumnsOption,
    FrameOption,
    MediumOption,
    ResolvingPower,
    Survey,
    WaveUnitOption,
    progress_bar,
    read_options,
    time_option,
)
from cempstream.streams.commands.replay_topic import RecordedNight, replay_night
from cempstream.streams.kafka.feed import feed_publisher, send_at_rate, spectrum_message
from cempstream.streams.kafka.messages import OutMessage
from cempstream.streams.kafka.publisher import Publisher
from cempstream.streams.kafka.schema_registry import use_registry
from cempstream.streams.kafka.topics import TopicAdmin
from cempstream.streams.settings import read_settings


@dataclass(slots=True)
class ReplayTally:
    """What became of the spectra of a replay."""

    n_sent: int = 0
    n_failed: int = 0
    n_unreadable: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    complaints: list[str] = field(default_factory=list)


def replay(
    files: Annotated[
        list[Path] | None, typer.Argument(help="Files of spectra, or folders of them.", show_default=False)
    ] = None,
    bootstrap: Bootstrap = None,
    topic: Annotated[
        str | None, typer.Option(help="Topic to send files to; else the first of CEMP_TOPICS__SPECTRA.")
    ] = None,
    from_topic: Annotated[
        str | None, typer.Option(help="Score a recorded night again: the packets of this topic.")
    ] = None,
    start: Annotated[datetime | None, time_option("When the night begins")] = None,
    end: Annotated[datetime | None, time_option("When the night ends, else now")] = None,
    bundle: Annotated[
        list[str] | None,
        typer.Option(help="Bundle that scores the night: mid, mid/1.1.0; may be given again."),
    ] = None,
    against: Annotated[
        list[str] | None,
        typer.Option(help="Compare --bundle with this bundle on the night, and publish nothing."),
    ] = None,
    report: Annotated[Path | None, typer.Option(help="Write the comparison to this file, as JSON.")] = None,
    rate: Annotated[
        float, typer.Option(min=0.0, help="Spectra a second; 0: as fast as the broker takes them.")
    ] = 0.0,
    tense: Annotated[
        Tense, typer.Option(help="What results are marked as; current ones are stamped as reduced now.")
    ] = "archival",
    medium: MediumOption = None,
    frame: FrameOption = None,
    resolving_power: ResolvingPower = None,
    survey: Survey = None,
    wave_unit: WaveUnitOption = None,
    columns: ColumnsOption = None,
) -> None:
    """Publish the spectra of files as packets, or score a recorded night again without live alerts."""
    if (files is None) == (from_topic is None):
        raise typer.BadParameter("give files, or --from-topic with --start: one of the two")
    options = read_options(medium, frame, resolving_power, survey, wave_unit, columns)
    if from_topic is not None:
        night = _night(from_topic, start, end)
        replay_night(night, bootstrap, tense, bundle=bundle, against=against, report=report)
        return
    if start or end or bundle or against or report:
        raise typer.BadParameter("--start, --end, --bundle, --against and --report go with --from-topic")
    _replay_files(files or [], bootstrap, topic, rate, tense, options)


def _night(topic: str, start: datetime | None, end: datetime | None) -> RecordedNight:
    if start is None:
        raise typer.BadParameter("--from-topic needs --start: the night's first time")
    night = RecordedNight(topic, start, end or datetime.now(UTC))
    if night.start >= night.end:
        raise typer.BadParameter(f"the night ends ({night.end:%FT%TZ}) before it starts")
    return night


def _replay_files(
    files: Sequence[Path],
    bootstrap: str | None,
    topic: str | None,
    rate: float,
    tense: Tense,
    options: ReadOptions,
) -> None:
    settings = read_settings(kafka={"bootstrap": bootstrap})
    target = topic or settings.topics.spectra[0]
    if target not in TopicAdmin(settings.kafka).metadata().topics:
        raise typer.BadParameter(
            f"there is no topic {target!r}; `cempstream topics create --topic {target}` makes it"
        )
    use_registry(settings)
    publisher = feed_publisher(settings.kafka)
    paths = expand_paths(files)
    tally = ReplayTally()
    began_s = time.monotonic()
    with progress_bar() as progress:
        spectra = _read(paths, options, tally, progress)
        asyncio.run(_send(publisher, (spectrum_message(s, target, tense) for s in spectra), rate, tally))
    elapsed_s = time.monotonic() - began_s
    for complaint in tally.complaints:
        typer.echo(shown(complaint), err=True)
    for problem, count in tally.refused.items():
        typer.echo(f"{count} spectra not sent: {shown(problem)}", err=True)
    typer.echo(
        f"{tally.n_sent} sent to {target}, {tally.n_failed} failed, {tally.refused.total()} unfit, "
        f"{tally.n_unreadable} files unreadable; {elapsed_s:.1f} s, {tally.n_sent / elapsed_s:.0f} spectra/s"
    )
    if tally.n_failed or tally.n_unreadable or not tally.n_sent:
        raise typer.Exit(1)


async def _send(
    publisher: Publisher, messages: Iterator[OutMessage], rate: float, tally: ReplayTally
) -> None:
    async with publisher:
        async for n_messages, error in send_at_rate(publisher, messages, rate):
            n_failed = error.n_failed if error else 0
            tally.n_sent += n_messages - n_failed
            tally.n_failed += n_failed
            if error:
                tally.complaints.append(str(error))


def _read(
    paths: Sequence[Path], options: ReadOptions, tally: ReplayTally, progress: Progress
) -> Iterator[Spectrum]:
    """Read file after file; spectra that cannot be sent are counted."""
    task = progress.add_task("files", total=len(paths))
    for path in paths:
        try:
            for read in read_spectra(path, options):
                if isinstance(read, Rejected):
                    tally.refused[f"{read.reason.value}: {read.detail}"] += 1
                else:
                    yield read
        except UnreadableFile as error:
            tally.n_unreadable += 1
            tally.complaints.append(str(error))
        progress.advance(task)
