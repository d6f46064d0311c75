"""``cempstream simulate``: a night of a survey with truth, to a file or to Kafka."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError

from cempstream.models.simulator import SimulatedBatch, Strata, SurveyProfile, load_mix, load_profile
from cempstream.models.simulator.mix import Mix
from cempstream.models.simulator.night_files import TRUTH_SUFFIXES, TruthFile, write_night
from cempstream.models.simulator.simulator import simulate as simulate_night
from cempstream.schemas.stamp import Tense
from cempstream.streams.commands.options import Bootstrap, progress_bar
from cempstream.streams.kafka.feed import feed_publisher, send_at_rate, spectrum_message
from cempstream.streams.kafka.messages import OutMessage
from cempstream.streams.kafka.publisher import Publisher
from cempstream.streams.kafka.schema_registry import use_registry
from cempstream.streams.kafka.topics import TopicAdmin
from cempstream.streams.settings import read_settings


def simulate(
    n: Annotated[int, typer.Option(min=1, help="Spectra.")] = 1000,
    survey: Annotated[
        str, typer.Option(help="Profile: lamost, sdss, desi, csst, or the path of a TOML file.")
    ] = "lamost",
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same bytes.")] = 1,
    mix: Annotated[
        str, typer.Option(help="Mix of stars: galaxy, halo, or the path of a TOML file.")
    ] = "galaxy",
    visits: Annotated[
        int, typer.Option(min=1, max=99, help="Nights on which each star is observed; --n counts spectra.")
    ] = 1,
    stratified: Annotated[
        bool, typer.Option(help="Mostly hard stars, with importance weights in the truth.")
    ] = False,
    out: Annotated[Path | None, typer.Option(help="Write the night here, as .npz; else to Kafka.")] = None,
    truth: Annotated[
        Path | None, typer.Option(help="Where to write the truth, .csv or .parquet; else beside the night.")
    ] = None,
    bootstrap: Bootstrap = None,
    topic: Annotated[str | None, typer.Option(help="Topic to send to; else <survey>.spectra.v1.")] = None,
    rate: Annotated[
        float, typer.Option(min=0.0, help="Spectra a second; 0: as fast as they are made.")
    ] = 0.0,
    tense: Annotated[Tense, typer.Option(help="What results are marked as.")] = "test",
    exposure_size: Annotated[
        int, typer.Option(min=0, help="Spectra in one exposure, to Kafka; 0 means no exposures.")
    ] = 0,
) -> None:
    """Simulate a night of spectra with truth: write it with --out, or publish it."""
    try:
        profile, stars = load_profile(survey), load_mix(mix)
    except FileNotFoundError as error:
        raise typer.BadParameter(str(error)) from None
    except ValidationError as error:
        fault = error.errors()[0]
        place = ".".join(map(str, fault["loc"]))
        raise typer.BadParameter(f"{error.title}: {place}: {fault['msg']}") from None
    truth_path = truth or (
        out.with_suffix(".truth.csv") if out else Path(f"{profile.survey}-{seed}.truth.csv")
    )
    if truth_path.suffix not in TRUTH_SUFFIXES:
        raise typer.BadParameter(f"{truth_path}: the truth's name must end in {', '.join(TRUTH_SUFFIXES)}")
    for path in filter(None, (out, truth_path)):
        if not path.parent.is_dir():
            raise typer.BadParameter(f"{path}: there is no folder {path.parent}")
    batches = simulate_night(profile, n, seed, stars, strata=Strata() if stratified else None, visits=visits)
    if out is not None:
        if out.suffix != ".npz":
            raise typer.BadParameter(f"{out}: the night's name must end in .npz")
        _to_file(out, truth_path, profile, n, batches, stars, visits)
        return
    topic = topic or f"{profile.survey}.spectra.v1"
    _to_kafka(bootstrap, topic, truth_path, n, batches, rate, tense, exposure_size)


def _to_file(
    out: Path,
    truth_path: Path,
    profile: SurveyProfile,
    n: int,
    batches: Iterator[SimulatedBatch],
    mix: Mix,
    visits: int,
) -> None:
    began_s = time.monotonic()
    with progress_bar() as progress, TruthFile(truth_path) as truth_file:
        task = progress.add_task("spectra", total=n)

        def watched() -> Iterator[SimulatedBatch]:
            for batch in batches:
                yield batch
                truth_file.write(batch.truth)
                progress.advance(task, len(batch))

        truth = write_night(out, profile, n, watched(), visits=visits)
    elapsed_s = time.monotonic() - began_s
    typer.echo(
        f"{n} spectra of {profile.survey} ({mix.name}) in {out}, truth in {truth_path}: "
        f"{int(truth['is_cemp'].sum())} CEMP; {elapsed_s:.1f} s, {n / elapsed_s:.0f} spectra/s"
    )


def _to_kafka(
    bootstrap: str | None,
    topic: str,
    truth_path: Path,
    n: int,
    batches: Iterator[SimulatedBatch],
    rate: float,
    tense: Tense,
    exposure_size: int,
) -> None:
    settings = read_settings(kafka={"bootstrap": bootstrap})
    if topic not in TopicAdmin(settings.kafka).metadata().topics:
        raise typer.BadParameter(f"there is no topic {topic!r}; `cempstream topics create` makes ours")
    use_registry(settings)
    publisher = feed_publisher(settings.kafka)
    began_s = time.monotonic()
    with progress_bar() as progress, TruthFile(truth_path) as truth_file:
        task = progress.add_task("spectra", total=n)

        night = f"{datetime.now(UTC):%Y%m%dT%H%M%S}"

        def messages() -> Iterator[OutMessage]:
            n_before = 0
            for batch in _one_ahead(batches):
                # The truth is on disk before the first packet can be scored.
                truth_file.write(batch.truth)
                for i, spectrum in enumerate(batch.spectra(), start=n_before):
                    # Latency counts from here: this is when the spectrum was made.
                    now = replace(
                        spectrum, reduced_at=datetime.now(UTC), **_exposure(night, i, n, exposure_size)
                    )
                    yield spectrum_message(now, topic, tense)
                    progress.advance(task)
                n_before += len(batch)

        n_failed, complaints = asyncio.run(_send(publisher, messages(), rate))
    elapsed_s = time.monotonic() - began_s
    for complaint in complaints:
        typer.echo(complaint, err=True)
    typer.echo(
        f"{n - n_failed} sent to {topic}, {n_failed} failed, truth in {truth_path}; "
        f"{elapsed_s:.1f} s, {n / elapsed_s:.0f} spectra/s"
    )
    if n_failed:
        raise typer.Exit(1)


def _exposure(night: str, i: int, n: int, size: int) -> dict[str, Any]:
    """Return what the packet of spectrum ``i`` of ``n`` says about its exposure."""
    if size == 0:
        return {}
    first = i - i % size
    return {"exposure_id": f"{night}-{first // size:04d}", "exposure_size": min(size, n - first)}


def _one_ahead(batches: Iterator[SimulatedBatch]) -> Iterator[SimulatedBatch]:
    """Simulate the next batch in a thread while this one is sent."""
    with ThreadPoolExecutor(max_workers=1) as pool:
        coming = pool.submit(next, batches, None)
        while (batch := coming.result()) is not None:
            coming = pool.submit(next, batches, None)
            yield batch


async def _send(publisher: Publisher, messages: Iterator[OutMessage], rate: float) -> tuple[int, list[str]]:
    n_failed = 0
    complaints = []
    async with publisher:
        async for _, error in send_at_rate(publisher, messages, rate):
            if error:
                n_failed += error.n_failed
                complaints.append(str(error))
    return n_failed, complaints
