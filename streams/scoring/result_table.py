"""Results as a table: one row per spectrum, and each column's name, content and unit."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from cempstream.plain import shown
from cempstream.processors.outcome import Classification, Outcome
from cempstream.processors.spectrum import Spectrum
from cempstream.schemas.results import code_provenance, short_provenance

if TYPE_CHECKING:
    from astropy.table import QTable

#: None for a missing value; never NaN, which JSON does not have.
ResultCell: TypeAlias = str | float | bool | None
ResultRow: TypeAlias = Mapping[str, ResultCell]


class Column(NamedTuple):
    """One column.

    Attributes
    ----------
    kind
        ``str``, ``float``, ``int`` or ``bool``.
    unit
        As astropy writes it; also empty for dex, which is not a unit in VOTable.
    ucd
        Its meaning, as a UCD1+.
    """

    name: str
    kind: type
    unit: str
    ucd: str
    description: str


def _text(name: str, ucd: str, description: str) -> Column:
    return Column(name, str, "", ucd, description)


def _number(name: str, unit: str, ucd: str, description: str) -> Column:
    return Column(name, float, unit, ucd, description)


def _estimate(name: str, unit: str, ucd: str, description: str) -> tuple[Column, ...]:
    return (
        _number(name, unit, ucd, description),
        _number(f"{name}_lo", unit, f"{ucd};stat.min", f"lower end of the 68 % interval of {name}"),
        _number(f"{name}_hi", unit, f"{ucd};stat.max", f"upper end of the 68 % interval of {name}"),
    )


_CARBON = "phys.abund;phys.atmol.element"

#: The columns in the order in which they are written; users rely on names and order.
COLUMN_INFO = (
    _text("spectrum_id", "meta.id;meta.main", "the survey's name of the spectrum"),
    _text("survey", "meta.id;meta.dataset", "short name of the survey"),
    _text("status", "meta.code.status", "scored or rejected"),
    _text("reason", "meta.code.error", "why it was rejected"),
    _number("snr", "", "stat.snr", "median signal-to-noise ratio per pixel"),
    _number("rv_kms", "km / s", "spect.dopplerVeloc", "radial velocity"),
    *_estimate("teff", "K", "phys.temperature.effective", "effective temperature"),
    *_estimate("logg", "", "phys.gravity", "log10 of the surface gravity in cm/s2, dex"),
    *_estimate("feh", "", "phys.abund.Fe", "[Fe/H], dex, 1D LTE"),
    *_estimate("cfe", "", _CARBON, "[C/Fe], dex, 1D LTE"),
    *_estimate("ac", "", _CARBON, "A(C) = log10 of C/H + 12, dex, 1D LTE"),
    *_estimate("bafe", "", _CARBON, "[Ba/Fe], dex, 1D LTE"),
    _number("cfe_corrected", "", _CARBON, "[C/Fe] corrected for evolution (Placco et al. 2014), dex"),
    _number("p_cemp", "", "stat.probability", "probability of [Fe/H] < -1 and [C/Fe] >= 0.7, at the prior"),
    _number("p_cemp_corrected", "", "stat.probability", "the same with [C/Fe] corrected for evolution"),
    _text("subclass", "src.class", "most probable subclass, given that the star is a CEMP star"),
    _number(
        "ood_score",
        "",
        "stat.value",
        "how unlike the training spectra it is; the bundle's card has the limit",
    ),
    Column("is_candidate", bool, "", "meta.code", "whether p_cemp reaches the threshold"),
    _text("flags", "meta.code.qual", "what was assumed or noticed, separated by semicolons"),
    _text("bundle", "meta.version", "name and version of the models"),
    _number("priority", "", "stat.weight", "urgency of a follow-up, 0 to 1"),
    _number(
        "rv_error_kms", "km / s", "stat.error;spect.dopplerVeloc", "1 sigma error of the radial velocity"
    ),
    _number("template_teff", "K", "phys.temperature.effective;meta.modelled", "of the nearest template"),
    _number("template_logg", "", "phys.gravity;meta.modelled", "of the nearest template, dex"),
    _number("template_feh", "", "phys.abund.Fe;meta.modelled", "of the nearest template, dex"),
    _number("template_cfe", "", f"{_CARBON};meta.modelled", "of the nearest template, dex"),
    _number("template_chi2", "", "stat.fit.chi2", "reduced chi2 of the nearest template"),
    _text("bands", "meta.note", "named bands and their share of the evidence"),
    _text("lines", "meta.note", "line indices, in Angstrom or mag as their definitions say"),
    _number("ra", "deg", "pos.eq.ra;meta.main", "right ascension, ICRS"),
    _number("dec", "deg", "pos.eq.dec;meta.main", "declination, ICRS"),
    _text("object_id", "meta.id", "the survey's name of the star"),
    _text("grating", "instr.setup", "grating of a slitless spectrum"),
    _text("file", "meta.id;meta.file", "file that the spectrum was read from"),
    _text("detail", "meta.note", "why it was rejected, in words"),
    _number("teff_phot", "K", "phys.temperature.effective", "effective temperature by photometry"),
    _number("teff_phot_error", "K", "stat.error;phys.temperature.effective", "1 sigma error of teff_phot"),
    _number("logg_phot", "", "phys.gravity", "surface gravity by parallax and photometry, dex"),
    _number("logg_phot_error", "", "stat.error;phys.gravity", "1 sigma error of logg_phot, dex"),
    Column("phot_used", bool, "", "meta.code", "whether the star was judged by its photometry as well"),
)

COLUMNS = tuple(column.name for column in COLUMN_INFO)


def table_row(source: str | None, spectrum: Spectrum | None, outcome: Outcome) -> dict[str, ResultCell]:
    """Return one spectrum's row; a value that is not finite is None.

    Parameters
    ----------
    source
        The spectrum's file; None if it comes from memory.
    spectrum
        None if it could not be read; the outcome then says what is known.
    """
    row: dict[str, ResultCell] = dict.fromkeys(COLUMNS)
    # a file's name may not be valid text
    row["file"] = None if source is None else source.encode("utf-8", "backslashreplace").decode()
    if spectrum is not None:
        row |= {
            "spectrum_id": spectrum.spectrum_id,
            "survey": spectrum.survey,
            "object_id": spectrum.object_id,
            "grating": spectrum.grating,
            "ra": spectrum.ra,
            "dec": spectrum.dec,
            "flags": ";".join(spectrum.flags),
        }
    if isinstance(outcome, Classification):
        row |= {"status": "scored", **scored_cells(outcome)}
    else:
        row |= {"status": "rejected", "reason": outcome.reason.value, "detail": outcome.detail}
        if spectrum is None:
            row |= {"spectrum_id": outcome.spectrum_id, "survey": outcome.survey}
    return finite_cells(row)


def finite_cells(row: ResultRow) -> dict[str, ResultCell]:
    """Return a row whose numbers are all finite; what is not is None."""
    return {name: None if _is_not_finite(value) else value for name, value in row.items()}


def quantity_table(
    rows: Sequence[ResultRow], metadata: Mapping[str, Any], columns: Sequence[Column] = COLUMN_INFO
) -> QTable:
    """Return rows as an astropy table with units, UCDs and descriptions.

    A missing value is NaN, an empty text, 0 for a count, or False for a yes or no. Non-printing
    characters are escaped: XML and FITS cannot hold them.
    """
    import numpy as np
    from astropy.table import Column as TableColumn
    from astropy.table import QTable
    from astropy.units import Unit

    table = QTable(meta=dict(metadata))
    for column in columns:
        cells = [row[column.name] for row in rows]
        if column.kind is float:
            values = np.array([np.nan if cell is None else cell for cell in cells], dtype=np.float64)
        elif column.kind is int:
            values = np.array([cell or 0 for cell in cells], dtype=np.int64)
        elif column.kind is bool:
            values = np.array([cell is True for cell in cells], dtype=bool)
        else:
            values = np.array([shown(cell or "") for cell in cells], dtype=str)
        table[column.name] = values * Unit(column.unit) if column.unit else TableColumn(values)
        table[column.name].info.description = column.description
        table[column.name].info.meta = {"ucd": column.ucd}
    return table


def table_metadata(outcomes: Iterable[Outcome | None]) -> dict[str, Any]:
    """Return the software, models and policies that made some outcomes.

    Returns
    -------
    dict
        ``cempstream``: version of the code. ``bundles``: name and version of the models. ``models``: their
        graphs and where they ran. ``policies``: per bundle and survey the prior, the threshold and the
        policy's version.
    """
    policies: dict[tuple[str, str], dict[str, Any]] = {}
    models: dict[str, None] = {}
    for outcome in outcomes:
        if isinstance(outcome, Classification):
            key = outcome.bundle, outcome.spectrum.survey
            if key not in policies:
                decision = outcome.decision
                policies[key] = {
                    "bundle": outcome.bundle,
                    "survey": outcome.spectrum.survey,
                    "prior": decision.prior,
                    "threshold": decision.threshold,
                    "policy_version": decision.policy_version,
                }
                models |= dict.fromkeys(short_provenance(outcome.provenance))
    return {
        "cempstream": code_provenance().version,
        "bundles": sorted({bundle for bundle, _ in policies}),
        "models": list(models),
        "policies": list(policies.values()),
    }


def scored_cells(outcome: Classification) -> dict[str, ResultCell]:
    """Return the cells that the pipeline fills."""
    template = outcome.template
    scores: dict[str, ResultCell] = {
        "snr": outcome.snr,
        "rv_kms": outcome.rv_kms,
        "rv_error_kms": outcome.rv_error_kms,
        "cfe_corrected": outcome.cfe_corrected,
        "p_cemp": outcome.p_cemp,
        "p_cemp_corrected": outcome.p_cemp_corrected,
        "subclass": outcome.subclass,
        "ood_score": outcome.ood_score,
        "is_candidate": outcome.decision.is_candidate,
        "priority": outcome.decision.priority,
        "flags": ";".join(outcome.flags),
        "bundle": outcome.bundle,
        "template_teff": template.teff,
        "template_logg": template.logg,
        "template_feh": template.feh,
        "template_cfe": template.cfe,
        "template_chi2": template.chi2,
        "bands": ";".join(f"{band.name}={band.weight:.3f}" for band in outcome.bands),
        "lines": ";".join(
            f"{name}={value:.4g}" for name, (value, _) in outcome.lines.items() if math.isfinite(value)
        ),
    }
    for name, estimate in outcome.parameters.items():
        scores |= {name: estimate.value, f"{name}_lo": estimate.lo, f"{name}_hi": estimate.hi}
    if (by_colour := outcome.photometric) is not None:
        scores |= {
            "teff_phot": by_colour.teff,
            "teff_phot_error": by_colour.teff_error,
            "logg_phot": by_colour.logg,
            "logg_phot_error": by_colour.logg_error,
            "phot_used": by_colour.is_used,
        }
    return scores


def _is_not_finite(value: ResultCell) -> bool:
    return isinstance(value, float) and not math.isfinite(value)
