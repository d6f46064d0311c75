"""``cempstream demo``: a simulated night on its own broker, from spectra to alerts, and its accounts."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from cempstream.models.sessions import Provider
from cempstream.models.simulator import load_mix
from cempstream.streams.commands.options import OwnBroker
from cempstream.streams.interrupts import end_on_sigterm_too
from cempstream.streams.rehearsal.demo import Night, Report, rehearse
from cempstream.streams.rehearsal.local_stream import LocalStream
from cempstream.streams.settings import read_settings

_CHECK_EVERY_S = 0.5


def demo(
    files: Annotated[
        list[Path] | None, typer.Option(help="Files or folders of spectra to feed as well.")
    ] = None,
    bootstrap: OwnBroker = None,
    out: Annotated[Path, typer.Option(help="Folder for the pictures and the index page.")] = Path(
        "demo-output"
    ),
    n: Annotated[int, typer.Option(min=1, max=2000, help="Simulated spectra.")] = 500,
    rate: Annotated[float, typer.Option(min=1.0, help="Spectra a second.")] = 25.0,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same night.")] = 1,
    survey: Annotated[str, typer.Option(help="Survey of the spectra: lamost, sdss or desi.")] = "lamost",
    mix: Annotated[
        str, typer.Option(help="Mix of stars: halo (a programme for metal-poor stars) or galaxy.")
    ] = "halo",
    provider: Annotated[Provider | None, typer.Option(help="Where the networks run.")] = None,
    stars: Annotated[
        bool,
        typer.Option("--stars", help="Observe each star several times, and follow it with `stars run`."),
    ] = False,
    stay: Annotated[
        bool, typer.Option("--stay", help="Keep the stream up for subscribers, until Ctrl-C.")
    ] = False,
) -> None:
    """Stream a simulated night through a worker, watch the alerts, and compare them with the truth."""
    began_s = time.monotonic()
    end_on_sigterm_too()
    try:
        sources = load_mix(mix)
    except FileNotFoundError as error:
        raise typer.BadParameter(str(error)) from None
    for path in files or []:
        if not path.exists():
            raise typer.BadParameter(f"{path}: there is no such file or folder")
    out.mkdir(parents=True, exist_ok=True)
    settings = read_settings(models={"provider": provider})
    night = Night(
        survey=survey,
        mix=sources,
        n_spec=n,
        rate=rate,
        seed=seed,
        prior=settings.policy.prior_of(survey),
        files=tuple(files or ()),
        out=out,
        bootstrap=bootstrap,
        provider=settings.models.provider,
        stars=stars,
    )
    with rehearse(night, began_s) as (report, stream):
        _tell(report)
        if stay:
            _stay(stream)
    if report.failures:
        raise typer.Exit(1)


def _tell(report: Report) -> None:
    width = max(len(name) for name, _ in report.facts)
    for name, value in report.facts:
        typer.echo(f"{name:>{width}}  {value}")
    for line in (*report.remarks, *report.failures):
        typer.echo(f"demo: {line}", err=True)


def _stay(stream: LocalStream) -> None:
    """Keep the stream up; Ctrl-C ends it and is no failure."""
    typer.echo("\nthe stream stays up until Ctrl-C; to subscribe, in another terminal:")
    typer.echo(stream.listen_command("test", "archival"))
    try:
        while True:
            stream.check()
            time.sleep(_CHECK_EVERY_S)
    except KeyboardInterrupt:
        typer.echo("interrupted: broker and worker end", err=True)
