"""A picture of the night: airmass against time, each star bold while it is observed, and the Moon."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.dates import DateFormatter
from matplotlib.figure import Figure

from cempstream.plain import shown
from cempstream.processors.grid import Array
from cempstream.streams.observing.night import airmass
from cempstream.streams.observing.target_list import Target, TargetList

_LONGEST_NAME = 24
#: Colours that the colour-blind tell apart (Okabe & Ito 2008), in turn.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_MOST_NAMED = 30


def draw_airmass(plan: TargetList, path: Path) -> None:
    """Write the picture; the name's ending says the format, such as ``.png`` or ``.svg``."""
    height_inch = max(5.0, 1.5 + 0.2 * min(len(plan.targets), _MOST_NAMED))
    figure = Figure(figsize=(10.5, height_inch), dpi=130, layout="constrained")
    axes = figure.add_subplot()
    night = plan.night
    worst = plan.instrument.limits.max_airmass
    for i, target in enumerate(plan.targets):
        curve = airmass(plan.altitude_deg[i])
        _draw_star(axes, i, target, night.middle_unix_s, np.where(curve <= worst + 0.5, curve, np.nan))
    _draw_moon(axes.twinx(), plan)
    axes.axhline(worst, color="#888888", linewidth=0.8, linestyle="--")
    axes.set(ylim=(worst + 0.3, 0.95), xlim=(night.begin, night.end), ylabel="airmass", xlabel="UTC")
    axes.xaxis.set_major_formatter(DateFormatter("%H:%M", tz=UTC))  # type: ignore[no-untyped-call]
    axes.grid(alpha=0.25)
    title = (
        f"{shown(night.site.name)}, night of {night.date}: {len(plan.targets)} stars, "
        f"{plan.expected_cemp:.1f} CEMP expected, {plan.expected_emp:.1f} of them with [Fe/H] < −3"
    )
    axes.set_title(title, fontsize=11, loc="left", parse_math=False)
    if plan.targets:
        style = {"family": "monospace", "size": 7.5}
        legend = axes.legend(loc="upper left", bbox_to_anchor=(1.07, 1.0), frameon=False, prop=style)
        for text in legend.get_texts():
            text.set_parse_math(False)
    else:
        axes.text(0.5, 0.5, "no star can be observed", transform=axes.transAxes, ha="center")
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)


def _draw_star(axes: Any, i: int, target: Target, middle_unix_s: Array, curve: Array) -> None:
    """Draw a star's airmass: thin all the time, bold while it is observed, with its number."""
    colour = _COLOURS[i % len(_COLOURS)]
    axes.plot(_times(middle_unix_s), curve, color=colour, linewidth=0.7, alpha=0.5)
    observed = np.linspace(target.begin.timestamp(), target.end.timestamp(), 21)
    bold = np.interp(observed, middle_unix_s, curve)
    label = f"{i + 1:>2} {target.begin:%H:%M} {shown(target.star.name, longest=_LONGEST_NAME)}"
    label = f"{label} {target.star.band} {target.star.magnitude:.1f}" if i < _MOST_NAMED else "_"
    axes.plot(_times(observed), bold, color=colour, linewidth=4.5, solid_capstyle="butt", label=label)
    at = (_times(observed[10:11])[0], float(bold[10]))
    axes.annotate(
        str(i + 1), at, xytext=(0, 6), textcoords="offset points", ha="center", fontsize=8, color=colour
    )


def _draw_moon(axes: Any, plan: TargetList) -> None:
    """Draw the Moon's altitude, while it is up, on an axis of degrees."""
    moon = np.where(plan.moon_altitude_deg > 0.0, plan.moon_altitude_deg, np.nan)
    axes.plot(_times(plan.night.middle_unix_s), moon, color="#999999", linestyle=":", linewidth=1.6)
    axes.set_ylim(0, 90)
    axes.set_ylabel(f"altitude of the Moon (dotted, {plan.moon_illumination:.0%} lit), °", color="#777777")


def _times(unix_s: Iterable[float]) -> list[datetime]:
    return [datetime.fromtimestamp(s, UTC) for s in unix_s]
