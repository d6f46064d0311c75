"""``cempstream bench``: how fast, at what cost, on which machine."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from cempstream.models.sessions import Provider
from cempstream.streams.commands.options import OwnBroker, progress_bar
from cempstream.streams.rehearsal.bench_known import measure_known
from cempstream.streams.rehearsal.bench_load import PixelLayout
from cempstream.streams.rehearsal.bench_pipeline import PipelineReport, measure_pipeline
from cempstream.streams.rehearsal.bench_stream import StreamReport, Unaccounted, measure_stream
from cempstream.streams.rehearsal.machine import Machine
from cempstream.streams.rehearsal.worker_process import WorkerFailed
from cempstream.streams.settings import read_settings

bench_app = typer.Typer(no_args_is_help=True, help="Measure rate, latency and memory.")

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
ProviderOption = Annotated[Provider | None, typer.Option(help="Where the networks run.")]
Threads = Annotated[int | None, typer.Option(min=1, help="ONNX Runtime's threads.")]
LayoutOption = Annotated[PixelLayout, typer.Option(help="Survey whose pixels the packets have.")]
BatchSize = Annotated[int | None, typer.Option(min=1, max=1024, help="Spectra in a batch.")]


@bench_app.command("pipeline")
def bench_pipeline(
    as_json: AsJson = False,
    layout: LayoutOption = PixelLayout.LAMOST,
    batches: Annotated[int, typer.Option(min=1, help="Batches in a repeat.")] = 8,
    repeats: Annotated[int, typer.Option(min=1, help="Repeats, of which the median is taken.")] = 7,
    batch_size: BatchSize = None,
    threads: Threads = None,
    provider: ProviderOption = None,
) -> None:
    """Measure the bare networks and the whole pipeline, without Kafka, and show where the time goes."""
    settings = read_settings(models={"provider": provider, "threads": threads}, batch={"size": batch_size})
    with progress_bar() as progress:
        task = progress.add_task("repeats", total=repeats)
        report = measure_pipeline(
            settings,
            layout,
            n_batches=batches,
            repeats=repeats,
            on_repeat=lambda: progress.advance(task),
        )
    if as_json:
        typer.echo(json.dumps(asdict(report)))
    else:
        _print_pipeline(report)


@bench_app.command("stream")
def bench_stream(
    as_json: AsJson = False,
    layout: LayoutOption = PixelLayout.LAMOST,
    bootstrap: OwnBroker = None,
    burst: Annotated[int, typer.Option(min=1, help="Spectra in a burst.")] = 5000,
    repeats: Annotated[int, typer.Option(min=1, help="Bursts, of which the median is taken.")] = 3,
    rate: Annotated[
        float, typer.Option(min=1.0, help="Spectra a second at which latency is measured.")
    ] = 100,
    seconds: Annotated[float, typer.Option(min=1.0, help="How long latency is measured.")] = 20,
    batch_size: BatchSize = None,
    threads: Threads = None,
    provider: ProviderOption = None,
) -> None:
    """Measure rate, CPU, latency, drain and memory of one worker process, from Kafka to Kafka."""
    settings = read_settings(models={"provider": provider, "threads": threads}, batch={"size": batch_size})
    try:
        report = measure_stream(
            settings,
            layout,
            bootstrap=bootstrap,
            burst=burst,
            repeats=repeats,
            latency_rate=rate,
            latency_s=seconds,
            worker_settings={
                "CEMP_MODELS__PROVIDER": settings.models.provider.value,
                "CEMP_MODELS__THREADS": str(settings.models.threads),
                "CEMP_BATCH__SIZE": str(settings.batch.size),
            },
            say=lambda line: typer.echo(line, err=True),
        )
    except (WorkerFailed, Unaccounted) as error:
        typer.echo(f"bench stream: {error}", err=True)
        raise typer.Exit(1) from None
    if as_json:
        typer.echo(json.dumps(asdict(report)))
    else:
        _print_stream(report)
    if report.n_in != report.n_scored + report.n_dead:
        typer.echo(
            f"{report.n_in} in, {report.n_scored} scored + {report.n_dead} dead letters: they differ",
            err=True,
        )
        raise typer.Exit(1)


@bench_app.command("known")
def bench_known(
    as_json: AsJson = False,
    stars: Annotated[int, typer.Option(min=1, help="Stars in the catalogue.")] = 1_000_000,
    alerts: Annotated[int, typer.Option(min=1, help="Alerts that are compared with it.")] = 10_000,
    strip: Annotated[
        float | None,
        typer.Option(min=0.01, max=180, help="All stars in a strip of declination so wide, in degrees."),
    ] = None,
    repeats: Annotated[int, typer.Option(min=1, help="Repeats, of which the median is taken.")] = 5,
) -> None:
    """Measure how many alerts a second are compared with a catalogue of known stars."""
    report = measure_known(stars, alerts, strip_deg=strip, repeats=repeats)
    if as_json:
        typer.echo(json.dumps(asdict(report)))
        return
    console = Console()
    console.print(
        f"{report.n_stars:,} stars in {report.layout}, {100 * report.fast_share:.2g} % faster than "
        f"0.3 arcsec/yr; ready after {report.ready_s:.1f} s",
        soft_wrap=True,
    )
    _print_machine(console, report.machine)
    table = Table("", "measured")
    table.add_row("alerts compared, one core", f"{report.rate:,.0f}/s")
    table.add_row("an alert takes, p50 / p99", f"{report.us_p50:.0f} / {report.us_p99:.0f} µs")
    table.add_row("stars found", f"{report.n_found:,} of {report.n_alerts:,}")
    console.print(table)


def _print_stream(report: StreamReport) -> None:
    console = Console()
    console.print(
        f"{report.bundle} on {report.provider}, {report.threads} threads, batches of {report.batch_size}; "
        f"broker {report.broker}; {report.layout} packets of {report.packet_bytes / 1000:.1f} KB; "
        f"bursts of {report.burst} × {len(report.drains_s)}, medians",
        soft_wrap=True,
    )
    _print_machine(console, report.machine)
    latency = report.latency
    table = Table("", "measured")
    table.add_row("rate, Kafka to Kafka", f"{report.rate:.0f} spectra/s")
    table.add_row("worker CPU per 1,000 spectra", f"{report.cpu_s_per_1000:.2f} s")
    table.add_row(f"burst of {report.burst} drained in", f"{report.drain_s:.1f} s")
    at = f"at {latency.rate:g}/s"
    table.add_row(
        f"latency reduced → published {at}",
        f"p50 {latency.published_p50_s:.3f} s, p99 {latency.published_p99_s:.3f} s",
    )
    table.add_row(
        f"latency reduced → received {at}",
        f"p50 {latency.received_p50_s:.3f} s, p99 {latency.received_p99_s:.3f} s",
    )
    table.add_row(
        "resident memory of the worker",
        f"{report.memory_mib:.0f} MiB, at most {report.memory_peak_mib:.0f} MiB",
    )
    table.add_row(
        "ledger",
        f"{report.n_in} in = {report.n_scored} scored + {report.n_dead} dead; {report.n_alerts} alerts",
    )
    console.print(table)


def _print_pipeline(report: PipelineReport) -> None:
    console = Console()
    console.print(
        f"{report.bundle} on {report.provider}, ONNX Runtime {report.onnxruntime}, {report.threads} threads, "
        f"batches of {report.batch_size}; {report.layout} packets of {report.packet_bytes / 1000:.1f} KB, "
        f"{report.n_spectra} × {report.repeats}, medians; {report.n_alerts} of {report.n_spectra} are alerts",
        soft_wrap=True,
    )
    _print_machine(console, report.machine)
    rates = Table("", "spectra/s", "of bare")
    rates.add_row("bare networks", f"{report.bare:.0f}", "1.00")
    rates.add_row("packets to outcomes", f"{report.pipeline:.0f}", f"{report.ratio:.2f}")
    rates.add_row("packets to messages", f"{report.with_outputs:.0f}", f"{report.ratio_with_outputs:.2f}")
    console.print(rates)
    stages = Table("stage", "µs a spectrum", "of it networks", "share")
    for column in stages.columns[1:]:
        column.justify = "right"
    total_us = sum(stage.total_us for stage in report.stages)
    for stage in report.stages:
        stages.add_row(
            stage.stage,
            f"{stage.total_us:.0f}",
            f"{stage.networks_us:.0f}" if stage.networks_us else "",
            f"{100 * stage.total_us / total_us:.0f} %",
        )
    networks_us = sum(stage.networks_us for stage in report.stages)
    stages.add_row("all", f"{total_us:.0f}", f"{networks_us:.0f}", "100 %", style="bold")
    console.print(stages)


def _print_machine(console: Console, machine: Machine) -> None:
    console.print(
        f"{machine.cores} cores, {machine.cpu}, {machine.memory_gib:g} GiB, {machine.system}, "
        f"Python {machine.python}, BLAS threads {machine.blas_threads or 'as many as cores'}; "
        f"load {machine.load_1min:g} before",
        soft_wrap=True,
    )
