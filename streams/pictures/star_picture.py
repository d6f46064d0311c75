"""One picture per star: its spectra and their sum, and how what is known of it grew with them.

Nothing is said by colour alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.ticker import FixedFormatter, FixedLocator, MaxNLocator, NullLocator

from cempstream.plain import shown
from cempstream.processors.continuum import BLOCK_PIX, Normaliser
from cempstream.processors.grid import Array, LogGrid
from cempstream.processors.rebin import Rebinner
from cempstream.processors.spectrum import BadSpectrum
from cempstream.processors.stars.coadd import clipped_mean, visits_at_rest
from cempstream.processors.stars.life import KEPT_ODDS, growth
from cempstream.processors.stars.observation import Observation, Said
from cempstream.processors.stars.star import Star
from cempstream.schemas.alert import Alert
from cempstream.streams.pictures.picture import Picture
from cempstream.streams.pictures.windows import (
    BLACK,
    BLUE,
    DARK,
    GREY,
    LABEL_PT,
    LIGHT,
    ORANGE,
    VERMILION,
    label_windows,
    mark_windows,
)
from cempstream.streams.wording import PARAMETER_TEXT, probability_text, subclass_text

#: Endings of the names of pictures, which say the format.
SUFFIXES = (".pdf", ".png", ".svg")

_SIZE_IN = (13.0, 8.6)
_DPI = 110
_LONGEST_NAME = 60
_LONGEST_LIFE = 8
#: Width of the running mean that spectra are divided by, and the step in log10 λ up to which it is meant: as
#: the bundles of each resolution have it.
_FINE_SIGMA_PIX, _FINE_STEP, _COARSE_SIGMA_PIX = 96.0, 2e-4, 40.0

#: Marker of each type of alert, and its colour.
_MARKS = {
    "initial": ("^", VERMILION),
    "subsequent": ("o", BLUE),
    "update": ("D", ORANGE),
    "retraction": ("v", BLACK),
}
_P_TICKS = (1e-4, 1e-3, 0.01, 0.1, 0.5, 0.9, 0.99, 0.999)
_P_LIMITS = (2e-5, 1.0 - 2e-4)


@dataclass(frozen=True, slots=True, eq=False)
class _Sum:
    """The spectra of one grating and their sum, at rest, NaN where there are no good pixels.

    Attributes
    ----------
    visits
        Shape ``(n_visits, n_pix)``.
    """

    grating: str
    wave_aa: Array
    visits: Array
    mean: Array


def save_star(star: Star, survey: str, alerts: Sequence[Alert], path: Path) -> None:
    """Draw a star and write it as PDF, PNG or SVG: the name's ending is one of ``SUFFIXES``."""
    draw_star(star, survey, alerts).savefig(path)


@rc_context({"text.parse_math": False})  # a name may hold $, which is not a formula
def draw_star(star: Star, survey: str, alerts: Sequence[Alert]) -> Picture:
    """Draw a star.

    Parameters
    ----------
    survey
        Whose name the star bears.
    alerts
        That were sent of it, in any order and with repeats; each is drawn after as many spectra as it
        was made of.
    """
    life = sorted({alert.alert_id: alert for alert in alerts}.values(), key=lambda alert: alert.revision)
    figure = Picture(figsize=_SIZE_IN, dpi=_DPI)
    top = figure.add_gridspec(1, 1, left=0.055, right=0.985, bottom=0.535, top=0.8)
    _draw_spectra(figure.add_subplot(top[0]), star)
    below = figure.add_gridspec(
        2,
        4,
        left=0.055,
        right=0.985,
        bottom=0.065,
        top=0.455,
        hspace=0.32,
        wspace=0.24,
        width_ratios=(2, 1, 1, 1),
    )
    said = star.spokesmen()
    growing = below[:, 0].subgridspec(2, 1, height_ratios=(4.2, 1), hspace=0.35)
    p_axes = figure.add_subplot(growing[0])
    _draw_growth(p_axes, star, said, life)
    legend_axes = figure.add_subplot(growing[1])
    legend_axes.set_axis_off()
    legend_axes.legend(
        *p_axes.get_legend_handles_labels(),
        fontsize=LABEL_PT,
        loc="lower left",
        frameon=False,
        ncols=3,
        columnspacing=1.0,
    )
    for i, (name, label, _, unit) in enumerate(PARAMETER_TEXT):
        axes = figure.add_subplot(below[divmod(i, 3)[0], 1 + i % 3])
        _draw_parameter(axes, name, said)
        axes.set_title(f"{label} / {unit}" if unit else label, fontsize=LABEL_PT + 1, loc="left")
        if i >= 3:
            axes.set_xlabel("spectra", fontsize=LABEL_PT)
    _write_title(figure, star, survey, life)
    return figure


def _draw_spectra(axes: Axes, star: Star) -> None:
    sums = list(_sums(star))
    axes.set_ylabel("flux / running mean", fontsize=LABEL_PT)
    axes.set_xlabel("rest-frame vacuum wavelength / Å", fontsize=LABEL_PT)
    axes.tick_params(labelsize=LABEL_PT)
    seen = [part.wave_aa[np.isfinite(part.mean)] for part in sums]
    if not any(wave.size for wave in seen):
        axes.text(0.5, 0.5, "no pixels here", transform=axes.transAxes, ha="center", color=DARK)
        return
    wide = min(float(w[0]) for w in seen if w.size), max(float(w[-1]) for w in seen if w.size)
    for part in sums:
        axes.plot(part.wave_aa, part.visits.T, color=LIGHT, linewidth=0.5, alpha=0.7, zorder=1.5)
        axes.plot(part.wave_aa, part.mean, color=BLACK, linewidth=0.7, zorder=2.5)
    values = np.concatenate([part.mean[np.isfinite(part.mean)] for part in sums])
    low, high = np.percentile(values, [0.2, 99.8])
    axes.set_ylim(low - 0.15 * (high - low), high + 0.15 * (high - low))
    axes.set_xscale("log")
    axes.set_xlim(*wide)
    axes.xaxis.set_major_locator(FixedLocator([w for w in range(3000, 11000, 500) if wide[0] < w < wide[1]]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter("{x:.0f}")
    mark_windows(axes)
    label_windows(axes, wide)


def _sums(star: Star) -> Iterable[_Sum]:
    """Yield the spectra of each grating that can be added up, and their sum."""
    for series, group in groupby(sorted(star.observations, key=_series), key=_series):
        observations = list(group)
        grid = observations[-1].spectrum.grid
        assert isinstance(grid, LogGrid), "every bundle's is one"
        grid = replace(grid, n_pix=grid.n_pix // BLOCK_PIX * BLOCK_PIX)
        sigma_pix = _FINE_SIGMA_PIX if grid.log10_step < _FINE_STEP else _COARSE_SIGMA_PIX
        try:
            batch = visits_at_rest(observations, Rebinner(grid, 1e6, min_pixels=1), Normaliser(sigma_pix))
        except BadSpectrum:
            continue
        mean, ivar = clipped_mean(batch.norm, batch.ivar)
        visits = np.where(batch.ivar > 0, batch.norm, np.nan)
        yield _Sum(series[1], grid.wave, visits, np.where(ivar > 0, mean, np.nan))


def _series(observation: Observation) -> tuple[str, str, str]:
    return observation.series


def _draw_growth(axes: Axes, star: Star, said: Sequence[Said | None], life: Sequence[Alert]) -> None:
    """Draw p of the star after each spectrum, p of each alone, the threshold, and the alerts."""
    count = np.arange(1, len(said) + 1)
    alone = [observation.said.p_cemp for observation in star.observations]
    together = [math.nan if one is None else one.p_cemp for one in said]
    limits = np.array([math.nan if one is None else one.decision.threshold for one in said])
    kept = KEPT_ODDS * limits / (1.0 - limits + KEPT_ODDS * limits)
    axes.plot(count, _within(alone), "x", color=GREY, markersize=5, label="alone")
    axes.plot(count, _within(together), "-", color=BLACK, marker=".", label="the star")
    is_refused = np.isfinite(together) & np.isnan([p for p, _ in growth(said)])
    if is_refused.any():
        axes.plot(
            count[is_refused],
            _within(together)[is_refused],
            "s",
            color=GREY,
            markersize=8,
            markerfacecolor="none",
            label="does not count",
        )
    axes.plot(count, _within(limits), "--", color=VERMILION, linewidth=0.9, label="threshold")
    axes.plot(count, _within(kept), ":", color=VERMILION, linewidth=0.9, label="retracted below")
    for alert_type, (marker, color) in _MARKS.items():
        of_type = [alert for alert in life if alert.alert_type == alert_type]
        if of_type:
            axes.plot(
                [alert.n_observations for alert in of_type],
                _within([alert.p_cemp for alert in of_type]),
                marker,
                color=color,
                markersize=9,
                markerfacecolor="none",
                markeredgewidth=1.6,
                label=f"{alert_type} alert",
                zorder=4,
            )
    axes.set_yscale("logit")
    axes.set_ylim(*_P_LIMITS)
    axes.yaxis.set_major_locator(FixedLocator(list(_P_TICKS)))
    axes.yaxis.set_major_formatter(FixedFormatter([f"{p:g}" for p in _P_TICKS]))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.set_title("p(CEMP)", fontsize=LABEL_PT + 1, loc="left")
    axes.set_xlabel("spectra, in the order of observation", fontsize=LABEL_PT)
    _count_spectra(axes, len(said))


def _within(p: Sequence[float] | Array) -> Array:
    """Return probabilities as far as the axis reaches."""
    return np.clip(np.asarray(p, dtype=np.float64), _P_LIMITS[0] * 1.2, 1.0 - (1.0 - _P_LIMITS[1]) * 1.2)


def _draw_parameter(axes: Axes, name: str, said: Sequence[Said | None]) -> None:
    known = [
        (i, one.parameters[name])
        for i, one in enumerate(said, 1)
        if one is not None and math.isfinite(one.parameters[name].value)
    ]
    _count_spectra(axes, len(said))
    if not known:
        axes.text(0.5, 0.5, "not known", transform=axes.transAxes, ha="center", fontsize=9, color=DARK)
        axes.set_yticks([])
        return
    value = np.array([e.value for _, e in known])
    spread = [value - [e.lo for _, e in known], [e.hi for _, e in known] - value]
    count = [i for i, _ in known]
    axes.errorbar(count, value, np.maximum(spread, 0.0), fmt="o", color=BLACK, markersize=3, elinewidth=1.0)
    axes.yaxis.set_major_locator(MaxNLocator(4))


def _count_spectra(axes: Axes, n_spec: int) -> None:
    axes.set_xlim(0.5, max(n_spec, 1) + 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    axes.tick_params(labelsize=LABEL_PT)
    axes.grid(axis="y", color=LIGHT, linewidth=0.4)


def _write_title(figure: Picture, star: Star, survey: str, life: Sequence[Alert]) -> None:
    said = star.said
    name = shown(star.object_id, longest=_LONGEST_NAME)
    figure.text(0.015, 0.975, name, fontsize=14, fontweight="bold", va="top")
    tense = "" if star.tense == "current" else f"   [{star.tense}]"
    gratings = f"   {', '.join(star.gratings)}" if star.gratings else ""
    n_spec = len(star.observations)
    lines = [f"{survey}{tense}   {n_spec} {'spectrum' if n_spec == 1 else 'spectra'}{gratings}"]
    if life:
        words = [f"{alert.alert_type} {alert.published_at:%m-%d %H:%M:%S}" for alert in life]
        if len(words) > _LONGEST_LIFE:
            words = ["…", *words[-_LONGEST_LIFE:]]
        lines.append("alerts (UTC): " + " → ".join(words))
    else:
        lines.append("no alerts")
    for i, line in enumerate(lines):
        text = shown(line, longest=4 * _LONGEST_NAME)
        figure.text(0.015, 0.94 - 0.022 * i, text, fontsize=9, color=DARK, va="top")
    if said is None:
        return
    verdict = "candidate" if star.is_candidate else "no candidate"
    facts = [
        f"{verdict}: threshold {said.decision.threshold:.3g}",
        f"S/N {said.snr:.0f} a pixel, {subclass_text(said.subclass)}",
    ]
    figure.text(
        0.775, 0.975, f"p(CEMP) {probability_text(said.p_cemp)}", fontsize=14, fontweight="bold", va="top"
    )
    figure.text(0.775, 0.94, "\n".join(facts), fontsize=9, color=DARK, va="top", linespacing=1.35)
