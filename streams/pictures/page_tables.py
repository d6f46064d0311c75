"""The tables and warnings of a spectrum's page."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from cempstream.processors.spectrum import Flag
from cempstream.schemas.alert import Alert
from cempstream.streams.pictures.finding import Finding
from cempstream.streams.wording import (
    FLAG_MEANING,
    MISSING,
    PARAMETER_TEXT,
    estimate_text,
    flag_text,
    index_text,
    probability_text,
    sexagesimal,
    signed,
    subclass_text,
)


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of a page; ``columns`` is empty where the first cell names the others."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def warnings_of(finding: Finding) -> list[str]:
    """Return what a person must know first."""
    told = []
    if finding.ra is None or finding.dec is None:
        told.append("No position: the survey did not say where this star is.")
    if not finding.is_familiar:
        told.append(
            "This spectrum is unlike every star of the training. "
            "Its parameters mean nothing and are not shown."
        )
    if Flag.BELOW_TRAINED_SNR in finding.flags:
        told.append(f"S/N {finding.snr:.1f} is below that of every training spectrum: its p is a guess.")
    return told


def tables_of(finding: Finding) -> tuple[Table, ...]:
    """Return the tables of a spectrum's page."""
    return (
        *((_parameter_table(finding),) if finding.is_familiar else ()),
        Table("Observation", (), _observation(finding)),
        *((_known_table(finding),) if finding.matches else ()),
        Table(
            "Subclass",
            ("", "probability"),
            tuple((subclass_text(name), f"{100 * p:.1f} %") for name, p in finding.subclass_p.items()),
        ),
        Table(
            "Evidence by band",
            ("band", "share"),
            tuple((band.name, f"{100 * band.weight:.1f} %") for band in finding.telling_bands)
            or (("none", "more than by chance"),),
        ),
        Table(
            "Line indices",
            ("index", "value", "1σ"),
            tuple(
                (f"{label} / {unit}" if unit else label, signed(value, "{:.3f}"), f"{error:.3f}")
                for (label, unit), value, error in (
                    (index_text(name), value, error) for name, (value, error) in finding.lines.items()
                )
                if math.isfinite(value)
            ),
        ),
        Table(
            "Models",
            ("graph", "sha256", "runs on"),
            tuple((f"{m.name}/{m.version}", m.sha256[:12], m.provider) for m in finding.models),
        ),
    )


def _known_table(finding: Finding) -> Table:
    rows = (
        (
            match.name or ("the region" if match.kind == "region" else MISSING),
            match.catalogue,
            f"{match.separation_arcsec:.1f}″" if math.isfinite(match.separation_arcsec) else MISSING,
            ", ".join(f"{key} {value}" for key, value in match.labels.items()) or MISSING,
        )
        for match in finding.matches
    )
    return Table("Known here", ("star", "catalogue", "separation", "labels"), tuple(rows))


def life_table(alerts: Sequence[Alert]) -> Table:
    """Return the alerts of a followed star."""
    rows = (
        (
            alert.alert_type,
            f"{alert.published_at:%H:%M:%S}",
            str(alert.n_observations),
            f"{alert.snr:.0f}",
            probability_text(alert.p_cemp),
        )
        for alert in alerts
    )
    return Table("Alerts of this star", ("type", "UTC", "spectra", "S/N", "p(CEMP)"), tuple(rows))


def _parameter_table(finding: Finding) -> Table:
    rows = [(text, estimate_text(name, finding.parameters[name])) for name, text, *_ in PARAMETER_TEXT]
    rows += [
        ("[C/Fe] corrected for evolution", signed(finding.cfe_corrected)),
        ("p(CEMP) corrected for evolution", probability_text(finding.p_cemp_corrected)),
    ]
    return Table("Parameters", ("", "value, 68 % interval"), tuple(rows))


def _observation(finding: Finding) -> tuple[tuple[str, str], ...]:
    template = finding.template
    nearest = (
        f"{template.teff:.0f} K, log g {template.logg:.1f}, [Fe/H] {signed(template.feh, '{:+.1f}')}, "
        f"[C/Fe] {signed(template.cfe, '{:+.1f}')}; χ² {template.chi2:.2f}"
    )
    rows = [
        ("position", sexagesimal(finding.ra, finding.dec)),
        ("RV", "not measured" if finding.rv_kms is None else f"{signed(finding.rv_kms, '{:+.0f}')} km/s"),
        ("nearest template", nearest),
        ("novelty (0 to 1)", f"{finding.ood_score:.2f}"),
    ]
    rows += [(f"flag: {flag_text(flag)}", FLAG_MEANING.get(flag, "")) for flag in finding.flags]
    return tuple(rows)
