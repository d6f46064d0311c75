"""``cempstream targets``: which stars to observe tonight, from a site, in some hours."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console
from rich.table import Table

from cempstream.plain import shown
from cempstream.schemas.sky import RADIUS_ARCSEC
from cempstream.streams.commands.options import progress_bar
from cempstream.streams.commands.subscriber_options import (
    KnownFiles,
    MatchRadius,
    RegionFiles,
    Tenses,
    WatchlistFiles,
    Where,
    check,
    read_known,
)
from cempstream.streams.observing.airmass_plot import draw_airmass
from cempstream.streams.observing.candidates import WHY_TEXT
from cempstream.streams.observing.exposure_time import QUESTIONS
from cempstream.streams.observing.instrument import Instrument, load_instrument
from cempstream.streams.observing.lco_requests import request_groups, write_requests
from cempstream.streams.observing.night import from_now, plan_night
from cempstream.streams.observing.sites import Site, parse_site
from cempstream.streams.observing.star_value import parse_weights
from cempstream.streams.observing.target_files import write_targets
from cempstream.streams.observing.target_list import TargetList, check_question, make_target_list
from cempstream.streams.observing.yield_report import COUNTS, WAYS, Rate, YieldReport, compare, read_truth
from cempstream.streams.subscriber.alert_file import AlertFile
from cempstream.streams.subscriber.sieve import TENSES
from cempstream.streams.subscriber.where import compile_where
from cempstream.streams.times import TimeError

_LONGEST_NAME = 18


def targets(
    site: Annotated[str, typer.Option(help="A name, such as La Palma, or latitude,longitude,metres.")],
    alerts: Annotated[Path, typer.Option("--from", help="Alerts as `listen --json` writes them, also .gz.")],
    instrument: Annotated[
        str, typer.Option(help="TOML file, or an example: echelle-8m, goodman-soar.")
    ] = "echelle-8m",
    night: Annotated[
        str | None, typer.Option(help="Date of its evening at the site, such as 2027-01-10; else the next.")
    ] = None,
    hours: Annotated[float, typer.Option(min=0.05, max=24.0, help="How many there are.")] = 4.0,
    begin: Annotated[
        str | None, typer.Option(help="When they begin, UTC, such as 21:30; else when it is dark.")
    ] = None,
    question: Annotated[
        Literal["cfe", "ba", "eu"], typer.Option(help="What a spectrum shall tell: [C/Fe], Ba or Eu.")
    ] = "cfe",
    snr: Annotated[
        float | None, typer.Option(min=1.0, max=10_000.0, help="S/N a pixel; else what the question needs.")
    ] = None,
    weight: Annotated[
        list[str] | None,
        typer.Option(help="NAME=NUMBER, with emp, no, r or learn: what is worth more; may be given again."),
    ] = None,
    where: Where = None,
    tense: Tenses = None,
    known_stars: KnownFiles = None,
    watchlist: WatchlistFiles = None,
    region: RegionFiles = None,
    match_radius: MatchRadius = RADIUS_ARCSEC,
    twilight: Annotated[
        float, typer.Option(min=-18.0, max=0.0, help="Darkness begins with the Sun at this altitude.")
    ] = -18.0,
    slot: Annotated[float, typer.Option(min=1.0, max=60.0, help="Minutes to which the plan is made.")] = 5.0,
    out: Annotated[Path, typer.Option(help="Folder for tables, picture and requests.")] = Path("targets"),
    proposal: Annotated[
        str | None, typer.Option(help="LCO's code of a proposal: also write requests for its queue.")
    ] = None,
    truth: Annotated[
        Path | None,
        typer.Option(
            "--compare", help="Truth of the alerts (CSV): instead, say what plans yield on simulated nights."
        ),
    ] = None,
    nights: Annotated[int, typer.Option(min=2, max=10_000, help="With --compare: at most so many.")] = 100,
    each: Annotated[int, typer.Option(min=1, max=5000, help="With --compare: alerts in each night.")] = 60,
    seed: Annotated[int, typer.Option(min=0, help="With --compare: which nights are drawn.")] = 1,
) -> None:
    """Choose stars for the hours of a night: the best use of them by value and time, with a time for each."""
    check("--where", lambda: where and compile_where(where))
    place, weights = parse_site(site), parse_weights(weight or [])
    tool = load_instrument(instrument)
    asked = QUESTIONS[question]
    check_question(asked, tool)
    stars = read_known(known_stars, watchlist, region, match_radius)
    found = AlertFile(alerts, where=where, tenses=tuple(tense or TENSES), known=stars)
    day = _day(night, place)
    if truth is not None:
        known = read_truth(truth)
        with progress_bar() as progress:
            task = progress.add_task("nights", total=nights)
            report = compare(
                found, known, place, day, hours, tool, asked, weights,
                n_night=nights, n_alert=each, seed=seed, snr=snr, twilight_deg=twilight, slot_s=60.0 * slot,
                on_night=lambda: progress.advance(task),
            )  # fmt: skip
            progress.update(task, total=report.n_night)
        _show_report(report, place, tool)
        return
    window = plan_night(place, day, hours, begin=_moment(begin), twilight_deg=twilight, slot_s=60.0 * slot)
    window = from_now(window, hours, datetime.now(UTC))
    plan = make_target_list(found, window, tool, asked, weights, snr=snr)
    if proposal is not None:
        request_groups(plan, proposal)  # refuse before anything is written
    out.mkdir(parents=True, exist_ok=True)
    paths = write_targets(plan, out)
    for ending in ("png", "svg"):
        paths.append(out / f"airmass.{ending}")
        draw_airmass(plan, paths[-1])
    if proposal is not None:
        paths.append(out / "lco.json")
        write_requests(plan, proposal, paths[-1])
    _show_plan(plan, hours)
    typer.echo("written      " + ", ".join(shown(path) for path in paths))


def _day(text: str | None, site: Site) -> date:
    """Return the date of the evening that is meant: that of the site's clock by the Sun."""
    if text is None:
        now = datetime.now(UTC) + timedelta(hours=site.lon_deg / 15.0)
        return (now - timedelta(hours=12)).date() if now.hour < 6 else now.date()
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise TimeError(
            f"{shown(text, longest=40)!r} is not the date of a night; write the day of its evening, such as "
            f"{datetime.now(UTC):%Y-%m-%d}"
        ) from None


def _moment(text: str | None) -> datetime | time | None:
    if text is None:
        return None
    for read in (time.fromisoformat, datetime.fromisoformat):
        try:
            return read(text)
        except ValueError:
            continue
    raise TimeError(
        f"{shown(text, longest=40)!r} is not a time; write UTC, such as 21:30 or 2027-01-10T21:30"
    )


def _show_plan(plan: TargetList, hours: float) -> None:
    console = Console(highlight=False)
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    for heading in ("", "UTC", "star"):
        table.add_column(heading, no_wrap=True)
    for heading in ("mag", "expose", "S/N", "X", "p", "[Fe/H]", "[C/Fe]", "value"):
        table.add_column(heading, justify="right", no_wrap=True)
    for order, target in enumerate(plan.targets, start=1):
        star = target.star
        table.add_row(
            str(order),
            f"{target.begin:%H:%M}",
            shown(star.name, longest=_LONGEST_NAME),
            f"{star.band} {star.magnitude:.1f}",
            f"{target.n_exposures}×{target.exposure_s:.0f}s",
            f"{target.snr:.0f}",
            f"{target.airmass:.2f}",
            f"{star.p_cemp:.3f}",
            _number(star.parameters["feh"].value),
            _number(star.parameters["cfe"].value),
            f"{target.worth.value:.2f}",
        )
    if plan.targets:
        console.print(table)
    else:
        typer.echo("no star can be observed in these hours")
    night = plan.night
    less = "" if night.hours > hours - 0.1 else f", not {hours:g}: the night ends"
    lines = {
        "site": f"{shown(night.site.name)}, dark from {night.dark_from:%Y-%m-%d %H:%M} to "
        f"{night.dark_until:%H:%M} UTC",
        "hours": f"{night.hours:.1f} from {night.begin:%H:%M} UTC{less}; {plan.used_hours:.1f} h are used",
        "question": f"{plan.question.text}: S/N {plan.snr:.0f} a pixel with {shown(plan.instrument.name)}",
        "Moon": f"{plan.moon_illumination:.0%} lit, {plan.moon_altitude_deg.max():.0f}° at its highest",
        "expected": f"{plan.expected_cemp:.1f} CEMP stars, {plan.expected_emp:.1f} of them with [Fe/H] < −3",
        "plan": "by value for time: the solver found none in its time"
        if plan.gap is None
        else f"no better one by more than {max(plan.gap, 0.002):.1%}",
        "left out": f"{len(plan.left_out)} stars",
    }
    for name, text in lines.items():
        typer.echo(f"{name:12} {text}")
    for why, n in plan.reasons.most_common():
        typer.echo(f"{n:12}   {WHY_TEXT[why]}")


def _show_report(report: YieldReport, site: Site, instrument: Instrument) -> None:
    """Print the report as a table of Markdown, so that it can go into a page as it is."""
    typer.echo(
        f"{report.n_night} simulated nights, {report.hours:g} hours each at {shown(site.name)} with "
        f"{shown(instrument.name)}, {report.n_alert} alerts waiting; 95 % intervals over nights.\n"
    )
    typer.echo("| way | " + " | ".join(COUNTS.values()) + " |")
    typer.echo("|---" * (1 + len(COUNTS)) + "|")
    for way, name in WAYS.items():
        cells = (_interval(report.rate(way, count)) for count in COUNTS)
        typer.echo(f"| {name} | " + " | ".join(cells) + " |")
    typer.echo("\n| the plan, times | " + " | ".join(COUNTS.values()) + " |")
    typer.echo("|---" * (1 + len(COUNTS)) + "|")
    for way in ("by_rate", "by_p", "random"):
        cells = (_interval(report.ratio("plan", count, than=way)) for count in COUNTS)
        typer.echo(f"| {WAYS[way]} | " + " | ".join(cells) + " |")
    if report.n_unknown:
        typer.echo(f"\n{report.n_unknown} alerts of stars that the truth does not know were not used.")


def _interval(rate: Rate) -> str:
    return f"{rate.mean:.2f} [{rate.lo:.2f}, {rate.hi:.2f}]"


def _number(value: float) -> str:
    return f"{value:+.2f}".replace("-", "−") if math.isfinite(value) else "–"
