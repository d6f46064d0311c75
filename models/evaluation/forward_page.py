"""The page of ``make report-forward``: the forward model compared with observed spectra, with figures.

python -m cempstream.models.evaluation.forward_page --real FOLDER --out runs/forward
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cempstream.models.emulator.emulator import Emulator
from cempstream.models.evaluation.forward import (
    FEH_BINS,
    GRID,
    TEFF_BINS,
    BinScore,
    StarComparison,
    compare_stars,
    members_of,
    read_stars,
    score_bins,
)
from cempstream.models.training.emulator.evaluate import BANDS

#: Stars of the page's overlays, by what they show.
_SHOWN = (
    ("HD122563", "metal-poor giant"),
    ("hd140283", "metal-poor subgiant"),
    ("cs22892-52", "CEMP giant"),
    ("g64-12", "metal-poor turn-off star"),
    ("he1523-0901", "metal-poor giant at the tip of the branch"),
)

_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem;color:#1d2733}"
    "table{border-collapse:collapse;font-variant-numeric:tabular-nums;font-size:.9rem}"
    "td,th{padding:.2rem .6rem;text-align:right;border-bottom:1px solid #d5dbe1}"
    "td.large{background:#fbe3d6}img{max-width:100%}caption{text-align:left;font-weight:600;padding:.5rem 0}"
)

#: A band residual above this is shaded: training can make networks ignore smaller ones.
_LARGE = 0.03


def write_page(comparisons: Sequence[StarComparison], n_outside: int, emulator: Emulator, out: Path) -> Path:
    """Write ``index.html`` with its pictures into a folder and return its path."""
    out.mkdir(parents=True, exist_ok=True)
    parts = [
        "<h1>The forward model against the sky</h1>",
        _introduction(comparisons, n_outside, emulator),
        _bin_table(score_bins(comparisons)),
        "<h2>Residual spectra</h2>",
        "<p>Median of observed minus emulated over the stars of a bin of MILES, with the middle two thirds "
        "of them shaded; flux over running mean, R = 1800 or blunter.</p>",
    ]
    for feh in FEH_BINS:
        name = f"residual_{feh[0]:g}_{feh[1]:g}.png"
        if _draw_residuals(comparisons, feh, out / name):
            parts.append(f"<h3>[Fe/H] {feh[0]:g} to {feh[1]:g}</h3><img src='{name}' alt='residual spectra'>")
    parts.append("<h2>Stars with known labels</h2>")
    parts.append(_star_table([c for c in comparisons if c.star.sample != "miles_dev"]))
    for name, what in _SHOWN:
        for comparison in (c for c in comparisons if c.star.name == name):
            file = f"star_{name}.png"
            _draw_overlay(comparison, f"{name}: {what}", out / file)
            parts.append(f"<img src='{file}' alt='{escape(name)}, observed and emulated'>")
    parts.append(_KNOWN)
    page = out / "index.html"
    page.write_text(
        "<!doctype html><html lang='en'><meta charset='utf-8'><title>cempstream: forward model</title>"
        f"<style>{_STYLE}</style><body>{''.join(parts)}</body></html>\n",
        encoding="utf-8",
    )
    return page


def _introduction(comparisons: Sequence[StarComparison], n_outside: int, emulator: Emulator) -> str:
    miles = [c for c in comparisons if c.star.sample == "miles_dev"]
    held_out = emulator.card["held_out"][0]
    velocity = np.array([c.velocity_kms for c in comparisons])
    return (
        f"<p>{len(miles)} stars of MILES and {len(comparisons) - len(miles)} metal-poor benchmarks within "
        f"the emulator's range ({n_outside} more are outside it), at the Teff, log g and [Fe/H] of their "
        "tables. Carbon, nitrogen and α are those of ordinary stars unless a table gives [C/Fe], so single "
        "stars may differ for good reasons; whole bins may not. Both sides went through the service's "
        "rebinning and running-mean continuum. Median rms of the residual "
        f"{100 * float(np.median([c.rms for c in miles])):.1f} %; velocities agree within "
        f"{float(np.median(np.abs(velocity))):.0f} km/s (median). The emulator itself adds "
        f"{100 * float(held_out['median']):.2f} % (median) on held-out spectra.</p>"
    )


def _bin_table(scores: Sequence[BinScore]) -> str:
    head = "".join(f"<th>{escape(name)}</th>" for name in BANDS)
    rows = []
    for score in scores:
        cells = "".join(_cell(score.bands[name]) for name in BANDS)
        rows.append(
            f"<tr><td>{score.teff[0]:.0f}–{score.teff[1]:.0f}</td>"
            f"<td>{score.feh[0]:g} to {score.feh[1]:g}</td><td>{score.n}</td>"
            f"<td>{100 * score.rms:.1f}</td>{cells}</tr>"
        )
    return (
        "<table><caption>Band strengths, MILES: median observed minus emulated flux in the band, per cent of "
        "the running mean; positive where the model absorbs too much</caption>"
        f"<tr><th>Teff / K</th><th>[Fe/H]</th><th>n</th><th>rms</th>{head}</tr>{''.join(rows)}</table>"
    )


def _star_table(comparisons: Sequence[StarComparison]) -> str:
    head = "".join(f"<th>{escape(name)}</th>" for name in BANDS)
    rows = []
    for c in comparisons:
        teff, logg, feh, cfe = c.star.labels[:4]
        cells = "".join(_cell(c.band_residual(name)) for name in BANDS)
        rows.append(
            f"<tr><td>{escape(c.star.name)}</td><td>{teff:.0f}</td><td>{logg:.1f}</td><td>{feh:.2f}</td>"
            f"<td>{cfe:.2f}</td><td>{100 * c.rms:.1f}</td>{cells}</tr>"
        )
    return (
        "<table><caption>Metal-poor benchmarks, residuals in per cent</caption><tr><th>star</th><th>Teff</th>"
        f"<th>log g</th><th>[Fe/H]</th><th>[C/Fe]</th><th>rms</th>{head}</tr>{''.join(rows)}</table>"
    )


def _cell(value: float) -> str:
    if not np.isfinite(value):
        return "<td>–</td>"
    is_large = " class='large'" if abs(value) > _LARGE else ""
    return f"<td{is_large}>{100 * value:+.1f}</td>"


def _draw_residuals(comparisons: Sequence[StarComparison], feh: tuple[float, float], path: Path) -> bool:
    """Draw the residual spectra of one range of metallicity; False where no bin has three stars."""
    miles = [c for c in comparisons if c.star.sample == "miles_dev"]
    bins = [(teff, members_of(miles, teff, feh)) for teff in TEFF_BINS]
    bins = [(teff, members) for teff, members in bins if len(members) >= 3]
    if not bins:
        return False
    figure = Figure(figsize=(13, 1.8 * len(bins) + 0.8), layout="constrained")
    axes = figure.subplots(len(bins), 1, sharex=True, squeeze=False)[:, 0]
    for axis, (teff, members) in zip(axes, bins, strict=True):
        residuals = np.stack([c.residual for c in members])
        # Ends that most stars lack are left out.
        seen = np.isfinite(residuals).sum(axis=0) >= 3
        low, middle, high = np.nanpercentile(residuals[:, seen], [16, 50, 84], axis=0)
        axis.fill_between(GRID.wave[seen], low, high, color="#9bb8d3", linewidth=0)
        axis.plot(GRID.wave[seen], middle, color="#1d3557", linewidth=0.7)
        _mark(axis)
        axis.set(ylim=(-0.25, 0.25), ylabel=f"{teff[0]:.0f}–{teff[1]:.0f} K")
        axis.set_title(f"{len(members)} stars", loc="right", fontsize=8)
    axes[-1].set(xlabel="vacuum wavelength / Å", xlim=(3715, 7420))
    figure.savefig(path)
    return True


def _draw_overlay(comparison: StarComparison, title: str, path: Path) -> None:
    figure = Figure(figsize=(13, 4.2), layout="constrained")
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=[2, 1])
    top.plot(GRID.wave, comparison.observed, color="#1d2733", linewidth=0.7, label="observed")
    top.plot(GRID.wave, comparison.emulated, color="#d1495b", linewidth=0.7, label="emulated")
    top.legend(loc="lower right", fontsize=8)
    top.set(ylabel="flux / running mean", title=title)
    bottom.plot(GRID.wave, comparison.residual, color="#1d3557", linewidth=0.7)
    bottom.set(xlabel="vacuum wavelength / Å", ylabel="residual", ylim=(-0.2, 0.2), xlim=(3715, 7420))
    for axis in (top, bottom):
        _mark(axis)
    figure.savefig(path)


def _mark(axis: Axes) -> None:
    for low, high in BANDS.values():
        axis.axvspan(low, high, color="#f4a261", alpha=0.25, linewidth=0)


_KNOWN = """
<h2>What the physics gets wrong, and what is done about it</h2>
<ul>
<li><b>CH lines that cannot exist.</b> The line list holds CH lines from levels above the molecule's
dissociation. In cool metal-poor stars, and the more carbon the more, they draw narrow features at (air)
4626, 4962, 5136, 5454, 5669, 6214, 6253, 6503 and 6806 Å that no star has (see
CS 22892-052). They look like a carbon indicator and are none. The synthesis leaves them out, and the card
of an emulator that was trained with them says so.</li>
<li><b>Cores of Balmer lines</b> of cool giants are too shallow in LTE. Training perturbs them.</li>
<li><b>CN 3883 and the blue of disc giants.</b> Weak lines missing from the lists, and nitrogen that is not
known star by star, leave too much light bluewards of 4000 Å; the running mean carries that on to Ca II K,
which then seems too strong in the model. Metallicities of disc stars must not hang on this region; training
perturbs line strengths region by region.</li>
<li><b>Carbon stars below 4500 K.</b> Atmospheres without extra carbon make C2 too strong where carbon
outnumbers oxygen. Intervals are wider there.</li>
<li><b>TiO</b> is not in the library: metal-rich stars below about 4000 K are not real. They are drawn from
empirical shapes as contaminants.</li>
</ul>
"""


def main(
    real: Annotated[Path, typer.Option(help="folder with miles_dev and metal_poor_benchmarks")],
    out: Annotated[Path, typer.Option(help="folder of the page")] = Path("runs/forward"),
) -> None:
    """Compare the emulator with observed spectra and write the page."""
    emulator = Emulator.load()
    stars, n_outside = read_stars(real)
    typer.echo(write_page(compare_stars(stars, emulator), n_outside, emulator, out))


if __name__ == "__main__":
    typer.run(main)
