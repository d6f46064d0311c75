"""One picture per alert: the spectrum, the evidence for carbon in it, and the results.

Colours are those of Okabe & Ito (2008), safe for colour-blind readers; nothing is said by colour alone.
"""

from __future__ import annotations

import textwrap
from io import BytesIO
from pathlib import Path

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import FixedLocator, NullLocator

from cempstream.plain import shown
from cempstream.processors.grid import Array
from cempstream.streams.pictures.finding import Finding, Trace, flux_trace, named_windows, norm_trace
from cempstream.streams.pictures.windows import (
    BLACK,
    BLUE,
    DARK,
    GREY,
    LABEL_PT,
    LIGHT,
    ORANGE,
    ROW_IN,
    SKY,
    VERMILION,
    label_windows,
    mark_windows,
)
from cempstream.streams.wording import (
    MISSING,
    PARAMETER_TEXT,
    estimate_text,
    flag_text,
    probability_text,
    sexagesimal,
    signed,
    subclass_text,
)

#: Zooms: named window, and the range drawn in vacuum Å.
_ZOOMS = (("CH G", (4180.0, 4460.0)), ("C2 4737", (4600.0, 4800.0)), ("C2 5165", (4990.0, 5260.0)))

#: Other lines named in the zooms, vacuum Å.
_NEIGHBOURS = (
    ("Ca I", 4227.9),
    ("Hγ", 4341.7),
    ("Fe I", 4384.8),
    ("Mg I", 4704.4),
    ("Mg b", 5168.8),
    ("", 5174.1),
    ("", 5185.1),
)

_SIZE_IN = (13.0, 8.6)
_DPI = 110
_FLAG_CHARS = 48
_LONGEST_NAME = 60


class Picture(Figure):
    """A figure that a notebook shows by itself; pyplot, which keeps every figure, is not needed for it."""

    def _repr_png_(self) -> bytes:
        png = BytesIO()
        self.savefig(png, format="png")
        return png.getvalue()


def save_picture(finding: Finding, path: Path) -> None:
    """Draw a finding and write it as PNG."""
    draw_finding(finding).savefig(path, format="png", pil_kwargs={"compress_level": 2})


@rc_context({"text.parse_math": False})  # a name may hold $, which is not a formula
def draw_finding(finding: Finding) -> Picture:
    """Draw a finding."""
    figure = Picture(figsize=_SIZE_IN, dpi=_DPI)
    left = figure.add_gridspec(
        3, 1, left=0.055, right=0.745, bottom=0.385, top=0.825, height_ratios=(2.0, 1.0, 2.0), hspace=0.06
    )
    flux_axes = figure.add_subplot(left[0])
    evidence_axes = figure.add_subplot(left[1], sharex=flux_axes)
    norm_axes = figure.add_subplot(left[2], sharex=flux_axes)
    flux, norm = flux_trace(finding), norm_trace(finding)
    wide = _shown_range(finding, flux)
    _draw_flux(flux_axes, finding, flux)
    _draw_evidence(evidence_axes, finding)
    _draw_norm(norm_axes, norm, wide)
    for axes in (flux_axes, evidence_axes, norm_axes):
        axes.set_xscale("log")
        axes.set_xlim(*wide)
        axes.xaxis.set_major_locator(
            FixedLocator([w for w in range(3000, 11000, 500) if wide[0] < w < wide[1]])
        )
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter("{x:.0f}")
        mark_windows(axes, _drivers(finding))
        axes.tick_params(labelsize=LABEL_PT, labelbottom=axes is norm_axes)
    label_windows(flux_axes, wide, _drivers(finding))
    zooms = figure.add_gridspec(1, 3, left=0.055, right=0.745, bottom=0.07, top=0.31, wspace=0.16)
    for i, (name, span) in enumerate(_ZOOMS):
        _draw_zoom(figure.add_subplot(zooms[i]), finding, norm, name, span)
    _write_title(figure, finding)
    _write_facts(figure, finding)
    return figure


def _shown_range(finding: Finding, flux: Trace | None) -> tuple[float, float]:
    """Return the range that both the spectrum and its attribution fill."""
    low, high = (float(edge) for edge in finding.attribution_wave_aa[[0, -1]])
    if flux is not None and (seen := flux.wave_aa[np.isfinite(flux.raw)]).size:
        low, high = max(low, float(seen[0])), min(high, float(seen[-1]))
    return (low, high) if high > low else (3700.0, 9000.0)


def _draw_flux(axes: Axes, finding: Finding, trace: Trace | None) -> None:
    axes.set_ylabel("flux", fontsize=LABEL_PT)
    if trace is None:
        _say_nothing_to_draw(axes)
        return
    _draw_trace(axes, trace)
    low, high = np.nanpercentile(trace.smooth, [0.5, 99.5])
    axes.set_ylim(min(0.0, low), high + 0.12 * (high - min(0.0, low)))
    unit = finding.spectrum.flux_unit if finding.spectrum else "relative"
    axes.set_ylabel("flux\n" + ("1e-17 erg/s/cm²/Å" if unit == "absolute" else "relative"), fontsize=LABEL_PT)


def _draw_evidence(axes: Axes, finding: Finding) -> None:
    """Draw the evidence as a density: a bin's height does not depend on its width."""
    edges = finding.attribution_wave_aa
    axes.set_ylabel("evidence\n% / 100 Å", fontsize=LABEL_PT)
    if not finding.evidence.any():
        _write_within(axes, "none: nothing here speaks for carbon")
        axes.set_yticks([])
        return
    axes.stairs(_density(finding), edges, fill=True, color=ORANGE, zorder=2)
    axes.stairs(_density(finding), edges, color=BLACK, linewidth=0.6, zorder=3)
    axes.set_ylim(0, float(_density(finding).max()) * 1.1)


def _density(finding: Finding) -> Array:
    """Return the evidence in per cent per 100 Å."""
    return np.asarray(1e4 * finding.evidence / np.diff(finding.attribution_wave_aa))


def _draw_norm(axes: Axes, trace: Trace | None, wide: tuple[float, float]) -> None:
    axes.set_ylabel("flux / running mean", fontsize=LABEL_PT)
    axes.set_xlabel("rest-frame vacuum wavelength / Å", fontsize=LABEL_PT)
    if trace is None:
        _say_nothing_to_draw(axes)
        return
    _draw_trace(axes, trace)
    axes.set_ylim(*_limits(trace, wide))
    axes.axhline(1.0, color=GREY, linewidth=0.6, linestyle=":")


def _draw_zoom(
    axes: Axes, finding: Finding, trace: Trace | None, name: str, span: tuple[float, float]
) -> None:
    axes.set_xlim(*span)
    axes.tick_params(labelsize=LABEL_PT)
    low, high = named_windows()[name]
    axes.axvspan(low, high, color=SKY, alpha=0.22, linewidth=0)
    published = {band.name: band.weight for band in finding.telling_bands}  # bins differ by a percent
    share = _share(finding, low, high)
    share = published.get(name, share) if share > 0 else 0.0
    said = f"{100 * share:.0f} % of the evidence" if share > 0 else "no evidence"
    axes.set_title(f"{name}   {said}", fontsize=LABEL_PT + 1, loc="left")
    axes.set_xlabel("rest-frame vacuum wavelength / Å", fontsize=LABEL_PT)
    inside = (trace.wave_aa >= span[0]) & (trace.wave_aa <= span[1]) if trace else np.zeros(0, dtype=bool)
    if trace is None or not np.isfinite(trace.raw[inside]).any():
        _say_nothing_to_draw(axes)
        return
    _draw_trace(axes, trace)
    bottom, top = _limits(trace, span)
    bottom -= 0.3 * (top - bottom)  # room for the evidence
    top += 0.12 * (top - bottom)  # and for the names of lines
    axes.set_ylim(bottom, top)
    density = _density(finding)
    if density.any():
        height = 0.22 * (top - bottom) * density / float(density.max())
        axes.stairs(
            bottom + height, finding.attribution_wave_aa, baseline=bottom, fill=True, color=ORANGE, zorder=1
        )
    for label, wave in _NEIGHBOURS:
        if span[0] < wave < span[1]:
            axes.plot([wave, wave], [top - 0.1 * (top - bottom), top], color=BLUE, linewidth=1.0)
            if label:
                axes.annotate(
                    label,
                    (wave, top),
                    (-2, -3),
                    textcoords="offset points",
                    fontsize=LABEL_PT - 1,
                    color=BLUE,
                    ha="right",
                    va="top",
                )


def _draw_trace(axes: Axes, trace: Trace) -> None:
    axes.plot(trace.wave_aa, trace.raw, color=LIGHT, linewidth=0.6, zorder=1.5)
    axes.plot(trace.wave_aa, trace.smooth, color=BLACK, linewidth=0.8, zorder=2.5)


def _limits(trace: Trace, span: tuple[float, float]) -> tuple[float, float]:
    inside = (trace.wave_aa >= span[0]) & (trace.wave_aa <= span[1]) & np.isfinite(trace.smooth)
    if not inside.any():
        return 0.0, 1.5
    low, high = np.percentile(trace.smooth[inside], [0.3, 99.7])
    margin = 0.12 * max(high - low, 0.1)
    return float(low - margin), float(high + margin)


def _say_nothing_to_draw(axes: Axes) -> None:
    _write_within(axes, "no pixels here")


def _write_within(axes: Axes, text: str) -> None:
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", color=DARK, fontsize=9)


def _share(finding: Finding, low: float, high: float) -> float:
    edges = finding.attribution_wave_aa
    overlap = np.clip(np.minimum(edges[1:], high) - np.maximum(edges[:-1], low), 0.0, None)
    return float(np.sum(finding.evidence * overlap / np.diff(edges)))


def _drivers(finding: Finding) -> frozenset[str]:
    """Return the named bands that carry a tenth of the evidence or more."""
    return frozenset(band.name for band in finding.telling_bands if band.weight >= 0.1)


def _write_title(figure: Figure, finding: Finding) -> None:
    verdict = "candidate" if finding.decision.is_candidate else "no candidate"
    figure.text(
        0.015, 0.975, shown(finding.name, longest=_LONGEST_NAME), fontsize=14, fontweight="bold", va="top"
    )
    subtitle = (
        f"{finding.survey}   {finding.spectrum_id}" if finding.name != finding.spectrum_id else finding.survey
    )
    if finding.tense not in (None, "current"):
        subtitle += f"   [{finding.tense}]"
    figure.text(0.015, 0.94, shown(subtitle, longest=2 * _LONGEST_NAME), fontsize=9, color=DARK, va="top")
    figure.text(
        0.775,
        0.975,
        f"p(CEMP) {probability_text(finding.p_cemp)}",
        fontsize=14,
        fontweight="bold",
        va="top",
    )
    figure.text(
        0.775,
        0.94,
        f"{verdict}: threshold {finding.decision.threshold:.3g}\nat prior {finding.decision.prior:.3g}, "
        f"priority {finding.decision.priority:.2f}",
        fontsize=9,
        color=DARK,
        va="top",
        linespacing=1.35,
    )


def _write_facts(figure: Figure, finding: Finding) -> None:
    """Write parameters, subclass, evidence and observation into the right column."""
    left_in, value_in = 0.775 * _SIZE_IN[0], 0.852 * _SIZE_IN[0]
    y_in = 0.85 * _SIZE_IN[1]

    def write(x_in: float, text: str, color: str = BLACK, weight: str = "normal", size_pt: float = 9) -> None:
        figure.text(
            x_in / _SIZE_IN[0],
            y_in / _SIZE_IN[1],
            shown(text, longest=_LONGEST_NAME),
            fontsize=size_pt,
            color=color,
            fontweight=weight,
            va="baseline",
        )

    def head(text: str) -> None:
        nonlocal y_in
        y_in -= 0.1
        write(left_in, text, weight="bold")
        y_in -= ROW_IN + 0.02

    def row(name: str, value: str, color: str = BLACK) -> None:
        nonlocal y_in
        write(left_in, name, DARK)
        for line in value.split("\n"):
            write(value_in, line, color)
            y_in -= ROW_IN

    is_familiar = finding.is_familiar
    head("Parameters (1D LTE, 68 %)" if is_familiar else "Parameters: unlike any star known")
    for name, text, *_ in PARAMETER_TEXT:
        row(text, estimate_text(name, finding.parameters[name]) if is_familiar else MISSING)
    row("[C/Fe] cor.", f"{signed(finding.cfe_corrected)}  for evolution" if is_familiar else MISSING)
    row("p cor.", probability_text(finding.p_cemp_corrected))
    head(f"Subclass: {subclass_text(finding.subclass)}")
    for name, p in finding.subclass_p.items():
        bar = Rectangle(
            (value_in / _SIZE_IN[0], y_in / _SIZE_IN[1]),
            0.085 * p,
            0.011,
            transform=figure.transFigure,
            color=SKY,
        )
        figure.add_artist(bar)
        write(0.945 * _SIZE_IN[0], f"{100 * p:.0f} %")
        row(subclass_text(name), "")
    head("Bands that drove it")
    for band in finding.telling_bands:
        row(band.name, f"{100 * band.weight:.0f} % of the evidence")
    if not finding.telling_bands:
        row("none", "more than by chance")
    head("Observation")
    row("S/N", f"{finding.snr:.0f} a pixel")
    if finding.rv_kms is not None:
        error = "" if not finding.rv_error_kms else f" ± {finding.rv_error_kms:.0f}"
        row("rv", f"{signed(finding.rv_kms, '{:+.0f}')}{error} km/s")
    row("RA, Dec", position_rows(finding.ra, finding.dec))
    if finding.photometry:
        row("mag", ", ".join(f"{band} {mag:.2f}" for band, (mag, _) in list(finding.photometry.items())[:3]))
    row("novelty", f"{finding.ood_score:.2f}")
    row("models", finding.bundle)
    when = finding.published_at or finding.reduced_at
    row("published" if finding.published_at else "reduced", f"{when:%Y-%m-%d %H:%M:%S} UTC")
    row("flags", "" if finding.flags else "none")
    flags = ", ".join(map(flag_text, finding.flags))
    y_in += 0.03
    for line in textwrap.wrap(flags, _FLAG_CHARS):
        write(left_in, line, VERMILION, size_pt=LABEL_PT)
        y_in -= 0.7 * ROW_IN


def position_rows(ra: float | None, dec: float | None) -> str:
    """Return a position in degrees and, on a line below, as telescopes take it."""
    if ra is None or dec is None:
        return "no position"
    return f"{ra:.5f}  {dec:+.5f}\n{sexagesimal(ra, dec)}".replace("-", "−")
