"""Pages that load nothing else: the index of a night's alerts, and one spectrum explained."""

from __future__ import annotations

import math
import re
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import compress, groupby
from pathlib import Path
from typing import TypeAlias

import numpy as np
from jinja2 import Environment, FileSystemLoader, Template
from markupsafe import Markup

from cempstream.schemas.alert import Alert
from cempstream.schemas.star import StarPacket
from cempstream.streams.pictures.finding import Finding, named_windows, norm_trace
from cempstream.streams.pictures.page_tables import Table, life_table, tables_of, warnings_of
from cempstream.streams.pictures.picture import save_picture
from cempstream.streams.pictures.star_picture import save_star
from cempstream.streams.pictures.windows import ORANGE, SKY
from cempstream.streams.wording import (
    MISSING,
    flag_text,
    probability_text,
    signed,
    sky_links,
    subclass_text,
)

#: Name of an index page within its folder.
INDEX = "index.html"

#: File systems take names of 255 bytes, and a letter may be four.
_LONGEST_STEM_BYTES = 100
_TEMPLATES = Path(__file__).parent / "templates"
_THUMB_RANGE_AA = (3800.0, 5700.0)
_THUMB_SIZE = (260, 72)
_THUMB_WINDOWS = ("CH G", "C2 4737", "C2 5165")
_THUMB_POINTS = 240


@dataclass(frozen=True, slots=True)
class IndexCell:
    """One value of a row: the name of its column, as it is shown, and what it is sorted by."""

    label: str
    text: str
    key: str | float


@dataclass(frozen=True, slots=True)
class IndexRow:
    """One spectrum on an index page, without its arrays: thousands of rows stay small.

    Attributes
    ----------
    page
        Name of the spectrum's page beside the index.
    links
        Name and address of catalogue pages at its position.
    """

    name: str
    page: str
    p_cemp: float
    thumbnail: Markup
    cells: tuple[IndexCell, ...]
    links: tuple[tuple[str, str], ...]


#: A star that is followed, and the alerts of it in the order in which they were sent.
Followed: TypeAlias = tuple[StarPacket, Sequence[Alert]]


@dataclass(frozen=True, slots=True)
class _Life:
    """A followed star on its page: its picture, PNG in base64, and its alerts."""

    picture: str
    alerts: Table


def write_star(folder: Path, stem: str, finding: Finding, followed: Followed | None = None) -> str:
    """Draw a finding and write its page, beside an index; return the page's name.

    Parameters
    ----------
    followed
        The star of the finding with its life, which is then drawn too; the finding is its last alert.
    """
    picture, page = folder / f"{stem}.png", folder / f"{stem}.html"
    save_picture(finding, picture)
    life = None
    if followed is not None:
        drawn = folder / f"{stem}.life.png"
        state, alerts = followed
        save_star(state.star, state.survey, alerts, drawn)
        life = _Life(b64encode(drawn.read_bytes()).decode(), life_table(alerts))
    write_explanation(page, finding, picture.read_bytes(), index=INDEX, life=life)
    return page.name


def index_row(
    finding: Finding,
    page: str,
    truth: str | None = None,
    latency_s: float | None = None,
    life: str | None = None,
) -> IndexRow:
    """Return a spectrum's row of an index page.

    Parameters
    ----------
    page
        Name of the spectrum's page beside the index.
    truth
        What the star is, if that is known.
    latency_s
        From reduction to publication, for what went through a stream.
    life
        Which alerts there were of the star, where it is followed.
    """
    return IndexRow(
        finding.name,
        page,
        finding.p_cemp,
        Markup(thumbnail_svg(finding)),
        _cells(finding, truth, latency_s, life),
        sky_links(finding.ra, finding.dec),
    )


def write_index(
    path: Path,
    rows: Sequence[IndexRow],
    *,
    title: str,
    lead: str,
    summary: Sequence[tuple[str, str]] = (),
    nothing: str = "No alerts.",
) -> None:
    """Write the index page of a night, or of a folder of files.

    Parameters
    ----------
    rows
        Spectra in the order in which they are first shown.
    summary
        The night in numbers: name and value.
    nothing
        What the page says where there are no rows.
    """
    # A column that is empty in every row is left out: files have no latency, real stars no known truth.
    told = [
        any(cell.text != MISSING for cell in column)
        for column in zip(*(row.cells for row in rows), strict=True)
    ]
    rows = [replace(row, cells=tuple(compress(row.cells, told))) for row in rows]
    page = _template("night.html.j2").render(
        title=title,
        lead=lead,
        summary=summary,
        columns=["star", *(cell.label for cell in rows[0].cells)] if rows else [],
        rows=rows,
        nothing=nothing,
        style=_style(),
    )
    path.write_text(page, encoding="utf-8")


def write_explanation(
    path: Path, finding: Finding, picture: bytes, index: str | None = None, life: _Life | None = None
) -> None:
    """Write one spectrum's page, with its picture inside.

    Parameters
    ----------
    picture
        PNG.
    index
        Name of the index page beside it, where there is one.
    life
        Of the star, where it is followed.
    """
    decision = finding.decision
    page = _template("explain.html.j2").render(
        finding=finding,
        p_cemp=probability_text(finding.p_cemp),
        lead=f"{'A candidate' if decision.is_candidate else 'No candidate'} at the threshold "
        f"{decision.threshold:.3g} (prior {decision.prior:.3g}, policy {decision.policy_version}). "
        f"{finding.survey}, {finding.spectrum_id}, S/N {finding.snr:.0f} a pixel{_expected(finding)}.",
        warnings=warnings_of(finding),
        links=sky_links(finding.ra, finding.dec),
        index=index,
        alt=f"Spectrum of {finding.name} with the evidence over wavelength, named bands and parameters",
        picture=b64encode(picture).decode(),
        life=life,
        tables=tables_of(finding),
        style=_style(),
        footer=f"Models {finding.bundle}. Indices are measured on the raw spectrum in the rest frame; "
        "parameters are 1D LTE on the solar scale of Asplund et al. 2009, intervals 68 %.",
    )
    path.write_text(page, encoding="utf-8")


def life_text(alerts: Sequence[Alert]) -> str:
    """Return the types of a star's alerts in their order, one that comes several times in a row once."""
    runs = [(name, len(list(run))) for name, run in groupby(alert.alert_type for alert in alerts)]
    return " → ".join(name if n == 1 else f"{n} × {name}" for name, n in runs)


def unique_stem(spectrum_id: str, taken: set[str]) -> str:
    """Return a file name made of a spectrum's id, unlike any in ``taken``, and add it there."""
    stem = re.sub(r"[^\w.+-]+", "_", spectrum_id).strip("._-")
    stem = stem.encode()[:_LONGEST_STEM_BYTES].decode(errors="ignore") or "spectrum"
    name, n = stem, 1
    while name.lower() in taken:
        n += 1
        name = f"{stem}-{n}"
    taken.add(name.lower())
    return name


def thumbnail_svg(finding: Finding) -> str:
    """Return a small drawing of the blue half of the spectrum."""
    width, height = _THUMB_SIZE
    low, high = _THUMB_RANGE_AA

    def x(wave: float) -> float:
        return float(np.clip((wave - low) / (high - low), 0, 1)) * width

    parts = [
        f'<rect x="{x(a):.1f}" y="0" width="{x(b) - x(a):.1f}" height="{height}" '
        f'fill="{SKY}" fill-opacity=".3"/>'
        for a, b in (named_windows()[name] for name in _THUMB_WINDOWS)
    ]
    edges = finding.attribution_wave_aa
    density = finding.evidence / np.diff(edges)
    tall = 0.4 * height / max(float(density.max()), 1e-12)
    parts += [
        f'<rect x="{x(a):.1f}" y="{height - tall * d:.1f}" width="{x(b) - x(a):.1f}" height="{tall * d:.1f}" '
        f'fill="{ORANGE}"/>'
        for a, b, d in zip(edges[:-1].tolist(), edges[1:].tolist(), density.tolist(), strict=True)
        if b > low and a < high and tall * d > 0.3
    ]
    trace = norm_trace(finding)
    if trace is not None:
        wave = np.linspace(low, high, _THUMB_POINTS)
        level = np.interp(wave, trace.wave_aa, trace.smooth)
        points = [
            f"{x(w):.1f},{height * (1 - 0.62 * min(max(v, 0.0), 1.6)):.1f}"
            for w, v in zip(wave.tolist(), level.tolist(), strict=True)
            if math.isfinite(v)
        ]
        parts.append(f'<polyline points="{" ".join(points)}" fill="none" stroke="currentColor"/>')
    return (
        f'<svg class="thumb" viewBox="0 0 {width} {height}" role="img" aria-label="spectrum">'
        f"{''.join(parts)}</svg>"
    )


def _cells(
    finding: Finding, truth: str | None, latency_s: float | None, life: str | None
) -> tuple[IndexCell, ...]:
    bands = ", ".join(f"{band.name} {100 * band.weight:.0f} %" for band in finding.telling_bands[:3])
    flags = ", ".join(map(flag_text, finding.flags))
    return (
        IndexCell("p(CEMP)", probability_text(finding.p_cemp), finding.p_cemp),
        IndexCell("alerts", life or MISSING, life or ""),
        _parameter_cell("[Fe/H]", finding, "feh"),
        _parameter_cell("[C/Fe]", finding, "cfe"),
        IndexCell("subclass", subclass_text(finding.subclass), finding.subclass),
        IndexCell("S/N", f"{finding.snr:.0f}", finding.snr),
        IndexCell("bands that drove it", bands or MISSING, bands),
        _number_cell("RA", "{:.4f}", finding.ra),
        _number_cell("Dec", "{:+.4f}", finding.dec),
        IndexCell("truth", truth or MISSING, truth or ""),
        _number_cell("latency", "{:.3f} s", latency_s),
        IndexCell("flags", flags or MISSING, flags),
    )


def _parameter_cell(label: str, finding: Finding, name: str) -> IndexCell:
    return _number_cell(label, "{:+.2f}", finding.parameters[name].value if finding.is_familiar else None)


def _number_cell(label: str, form: str, value: float | None) -> IndexCell:
    """Return a number's cell; what is missing sorts below every number."""
    if value is None or not math.isfinite(value):
        return IndexCell(label, MISSING, -1e9)
    return IndexCell(label, signed(value, form), value)


def _expected(finding: Finding) -> str:
    """Return how many of the alerts of this S/N are right, where that was measured."""
    if finding.expected_purity is None:
        return ""
    return f"; of all alerts of this S/N {100 * finding.expected_purity:.0f} % are right by the bundle's card"


def _template(name: str) -> Template:
    environment = Environment(loader=FileSystemLoader(_TEMPLATES), autoescape=True, trim_blocks=False)
    return environment.get_template(name)


def _style() -> Markup:
    return Markup((_TEMPLATES / "style.css").read_text(encoding="utf-8"))
