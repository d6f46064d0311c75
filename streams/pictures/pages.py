"""Pages that need nothing beside them: the index of a night's alerts, and one spectrum explained."""

from __future__ import annotations

import math
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jinja2 import Environment, FileSystemLoader, Template
from markupsafe import Markup

from cempstream.processors.outcome import PARAMETERS
from cempstream.streams.pictures.finding import Finding, named_windows, norm_trace
from cempstream.streams.pictures.picture import BLACK, ORANGE, SKY
from cempstream.streams.pictures.wording import estimate_text, position_text, probability_text, subclass_text

_TEMPLATES = Path(__file__).parent / "templates"
_THUMB_RANGE_AA = (3800.0, 5700.0)
_THUMB_SIZE = (260, 72)
_THUMB_WINDOWS = ("CH G", "C2 4737", "C2 5165")
_THUMB_POINTS = 240


@dataclass(frozen=True, slots=True)
class Entry:
    """One row of a night's index.

    Attributes
    ----------
    picture
        Name of the picture's file beside the page.
    truth
        What the star is where that is known; a dash for real ones.
    latency_s
        From reduction to publication.
    """

    finding: Finding
    picture: str
    truth: str
    latency_s: float | None


@dataclass(frozen=True, slots=True)
class _Cell:
    text: str
    key: str | float


@dataclass(frozen=True, slots=True)
class _Row:
    name: str
    picture: str
    thumbnail: Markup
    cells: tuple[_Cell, ...]


@dataclass(frozen=True, slots=True)
class _Table:
    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


_COLUMNS = (
    "star", "p(CEMP)", "[Fe/H]", "[C/Fe]", "subclass", "S/N", "bands that drove it", "RA", "Dec", "truth",
    "latency", "flags",
)  # fmt: skip


def write_index(
    path: Path, entries: Sequence[Entry], *, title: str, lead: str, summary: Sequence[tuple[str, str]]
) -> None:
    """Write the index page of a night.

    Parameters
    ----------
    entries
        Alerts in the order in which they are first shown.
    summary
        The night in numbers: name and value.
    """
    page = _template("night.html.j2").render(
        title=title,
        lead=lead,
        summary=summary,
        columns=_COLUMNS,
        entries=[
            _Row(e.finding.name, e.picture, Markup(thumbnail_svg(e.finding)), _cells(e)) for e in entries
        ],
        style=_style(),
    )
    path.write_text(page, encoding="utf-8")


def write_explanation(path: Path, finding: Finding, picture: bytes) -> None:
    """Write one spectrum's page, with its picture inside.

    Parameters
    ----------
    picture
        PNG.
    """
    decision = finding.decision
    page = _template("explain.html.j2").render(
        finding=finding,
        p_cemp=probability_text(finding.p_cemp),
        lead=f"{'A candidate' if decision.is_candidate else 'No candidate'} at the threshold "
        f"{decision.threshold:.3g} (prior {decision.prior:.3g}, policy {decision.policy_version}). "
        f"{finding.survey}, {finding.spectrum_id}, S/N {finding.snr:.0f} a pixel.",
        alt=f"Spectrum of {finding.name} with the evidence over wavelength, named bands and parameters",
        picture=b64encode(picture).decode(),
        tables=_tables(finding),
        style=_style(),
        footer=f"Models {finding.bundle}. Indices are measured on the raw spectrum in the rest frame; "
        "parameters are 1D LTE on the solar scale of Asplund et al. 2009, intervals 68 %.",
    )
    path.write_text(page, encoding="utf-8")


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
    density = finding.attribution / np.diff(edges)
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
        parts.append(f'<polyline points="{" ".join(points)}" fill="none" stroke="{BLACK}" stroke-width="1"/>')
    return (
        f'<svg class="thumb" viewBox="0 0 {width} {height}" role="img" aria-label="spectrum">'
        f"{''.join(parts)}</svg>"
    )


def _cells(entry: Entry) -> tuple[_Cell, ...]:
    finding = entry.finding
    feh, cfe = finding.parameters["feh"].value, finding.parameters["cfe"].value
    ra, dec = finding.ra, finding.dec
    bands = ", ".join(f"{band.name} {100 * band.weight:.0f} %" for band in finding.telling_bands[:3])
    return (
        _Cell(finding.name, finding.name),
        _Cell(probability_text(finding.p_cemp), finding.p_cemp),
        _Cell(f"{feh:+.2f}", feh),
        _Cell(f"{cfe:+.2f}", cfe),
        _Cell(subclass_text(finding.subclass), finding.subclass),
        _Cell(f"{finding.snr:.0f}", finding.snr),
        _Cell(bands, bands),
        _Cell("—" if ra is None else f"{ra:.4f}", -1.0 if ra is None else ra),
        _Cell("—" if dec is None else f"{dec:+.4f}", -91.0 if dec is None else dec),
        _Cell(entry.truth, entry.truth),
        _Cell("—", -1.0) if entry.latency_s is None else _Cell(f"{entry.latency_s:.3f} s", entry.latency_s),
        _Cell(", ".join(flag.replace("_", " ") for flag in finding.flags) or "—", len(finding.flags)),
    )


def _tables(finding: Finding) -> tuple[_Table, ...]:
    parameters = [(name, estimate_text(name, finding.parameters[name])) for name in PARAMETERS]
    template = finding.template
    return (
        _Table(
            "Parameters",
            ("", "value and 68 % interval"),
            (
                *parameters,
                ("cfe corrected for evolution", f"{finding.cfe_corrected:+.2f}"),
                ("p(CEMP) corrected", probability_text(finding.p_cemp_corrected)),
                (
                    "nearest template",
                    f"{template.teff:.0f} K, {template.logg:.1f}, {template.feh:+.1f}, {template.cfe:+.1f}; "
                    f"χ² {template.chi2:.2f}",
                ),
                ("rv", "not measured" if finding.rv_kms is None else f"{finding.rv_kms:+.0f} km/s"),
                ("position", position_text(finding.ra, finding.dec)),
                ("flags", ", ".join(finding.flags) or "none"),
            ),
        ),
        _Table(
            "Evidence by band",
            ("band", "share"),
            tuple((band.name, f"{100 * band.weight:.1f} %") for band in finding.telling_bands)
            or (("none", "more than by chance"),),
        ),
        _Table(
            "Subclass",
            ("", "probability"),
            tuple((subclass_text(name), f"{100 * p:.1f} %") for name, p in finding.subclass_p.items()),
        ),
        _Table(
            "Line indices",
            ("index", "value", "1σ"),
            tuple(
                (name, f"{value:.3f}", f"{error:.3f}")
                for name, (value, error) in finding.lines.items()
                if math.isfinite(value)
            ),
        ),
        _Table(
            "Models",
            ("graph", "sha256", "runs on"),
            tuple((f"{m.name}/{m.version}", m.sha256[:12], m.provider) for m in finding.models),
        ),
    )


def _template(name: str) -> Template:
    environment = Environment(loader=FileSystemLoader(_TEMPLATES), autoescape=True, trim_blocks=False)
    return environment.get_template(name)


def _style() -> Markup:
    return Markup((_TEMPLATES / "style.css").read_text(encoding="utf-8"))
