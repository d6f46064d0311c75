"""``cempstream night``: a worker, a simulated night and Prometheus, and one picture of the night."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated

import typer

from cempstream.models.simulator import load_mix
from cempstream.streams.commands.options import OwnBroker
from cempstream.streams.interrupts import end_on_sigterm_too
from cempstream.streams.rehearsal.local_stream import LocalStream
from cempstream.streams.rehearsal.prometheus_server import find_prometheus, find_rules
from cempstream.streams.rehearsal.watched_night import Plan, watch_night


def night(
    minutes: Annotated[float, typer.Option(min=0.1, help="How long spectra are sent.")] = 3.0,
    rate: Annotated[float, typer.Option(min=1.0, help="Spectra a second.")] = 25.0,
    bootstrap: OwnBroker = None,
    out: Annotated[Path, typer.Option(help="Folder for picture, logs and data.")] = Path("night-output"),
    survey: Annotated[str, typer.Option(help="Survey of the spectra: lamost, sdss or desi.")] = "lamost",
    mix: Annotated[
        str, typer.Option(help="Mix of stars: halo (a programme for metal-poor stars) or galaxy.")
    ] = "halo",
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same night.")] = 1,
    stars: Annotated[
        bool,
        typer.Option("--stars", help="Observe each star several times, and follow it with `stars run`."),
    ] = False,
    stay: Annotated[bool, typer.Option("--stay", help="Stay up after the feed, until Ctrl-C.")] = False,
) -> None:
    """Watch a simulated night with a real Prometheus; Ctrl-C or SIGTERM ends it early, with its picture."""
    end_on_sigterm_too()
    find_prometheus()  # check both before anything is started
    find_rules()
    try:
        load_mix(mix)
    except FileNotFoundError as error:
        raise typer.BadParameter(str(error)) from None
    shutil.rmtree(out / "prometheus", ignore_errors=True)  # else the last night would be on the picture too
    out.mkdir(parents=True, exist_ok=True)
    for name in ("worker.log", "feed.log", "exposures.log", "stars.log"):
        (out / name).unlink(missing_ok=True)
    plan = Plan(survey, mix, seed, minutes, rate, out, stars)
    with LocalStream(
        *("night", bootstrap, {}),
        worker_log=out / "worker.log",
        follows_stars=stars,
        follower_log=out / "stars.log",
    ) as stream:
        watch_night(plan, stream, stay=stay)
