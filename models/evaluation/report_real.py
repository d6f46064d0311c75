"""The section on real spectra: libraries, surveys, and degraded spectra of real stars."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np

from cempstream.models.emulator.emulator import Emulator
from cempstream.models.evaluation.real_sky import (
    MILES_CEMP,
    MILES_TEFF,
    Figure,
    ScoreSpectra,
    check_real_sky,
    mean_figure,
    number,
    score_all,
    share_figure,
)
from cempstream.models.evaluation.report import NoInput, Section, Table, Value
from cempstream.models.evaluation.slit_sky import check_slits
from cempstream.models.evaluation.slitless_sky import as_csst_gv
from cempstream.processors.outcome import Classification
from cempstream.processors.readers import read_spectra
from cempstream.processors.spectrum import Spectrum

_NOTE = (
    "No spectrum here was trained on, and no threshold fitted to one; but the sizes of the errors that "
    "training adds to computed spectra, and the purity that sets the threshold, were chosen with the "
    "development half of MILES in view: its figures are not blind. "
    "Candidates: at the card's threshold and the natural prior. Errors are 1σ (of a mean by its scatter, of "
    "a share Wilson's half interval). Nothing is claimed for Gaia XP or CSST on the real sky. "
)
_SLIT_NOTE = (
    "'As a blue slit' is the same star at 3300–5100 Å, R = 900, S/N 30, in counts, at an unknown velocity; "
    "in the samples of slits carbon is put into real carbon-normal metal-poor stars, beside the real CEMP "
    "stars."
)
_GV_NOTE = (
    "Real stars degraded to what CSST's GV would give: R = 230, 5.25 Å pixels, S/N 30, the wavelength zero "
    "point wrong by up to three pixels. MILES ends at 7410 Å and covers the band; no CSST spectrum exists."
)


def real_sky(
    score: ScoreSpectra, folder: Path | None, emulator: Emulator, resolving_power: float, kept: Path
) -> Section:
    """Report the results on real spectra; figures are stored in a file and not measured twice."""
    if folder is None:
        raise NoInput("real spectra, with --real")
    is_low = resolving_power < 500
    if not kept.is_file():
        figures = _as_gv(score, folder) if is_low else _as_they_are(score, folder, emulator)
        kept.parent.mkdir(parents=True, exist_ok=True)
        rows = [[f.sample, f.name, f.value, f.error, f.n, f.detail] for f in figures]
        kept.write_text(json.dumps(rows), encoding="utf-8")
    table_rows: list[list[Value]] = json.loads(kept.read_text(encoding="utf-8"))
    columns = ("sample", "figure", "value", "1σ", "n", "detail")
    lead = _NOTE + (_GV_NOTE if is_low else _SLIT_NOTE)
    return Section("real", "The real sky", lead, [Table("Real spectra", columns, table_rows)])


def _as_they_are(score: ScoreSpectra, folder: Path, emulator: Emulator) -> list[Figure]:
    figures = check_real_sky(score, folder)
    if (folder / "miles_dev.npz").is_file():
        figures += check_slits(score, folder, emulator)
    return figures


def _as_gv(score: ScoreSpectra, folder: Path) -> list[Figure]:
    path = folder / "miles_dev.npz"
    if not path.is_file():
        raise NoInput("miles_dev.npz among the real spectra")
    with path.with_suffix(".csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    rng = np.random.default_rng(1)
    seen = [as_csst_gv(s, rng) if isinstance(s, Spectrum) else s for s in read_spectra(path)]
    results = score_all(score, seen)
    teff, feh = (np.array([number(row[name]) for row in rows]) for name in ("Teff", "FeH"))
    found = np.array([np.nan if r is None else r.parameters["feh"].value for r in results])
    kept = np.isfinite(feh) & np.isfinite(found) & (teff >= MILES_TEFF[0]) & (teff <= MILES_TEFF[1])
    is_cemp = np.array([row["name"] == MILES_CEMP for row in rows])
    alarm = np.array([r is not None and r.decision.is_candidate for r in results])
    names = [row["name"] for row, on in zip(rows, alarm & ~is_cemp, strict=True) if on]
    error = (found - feh)[kept]
    figures = [
        mean_figure("MILES as GV", "feh_mae", np.abs(error)),
        mean_figure("MILES as GV", "feh_bias", error),
        share_figure("MILES as GV", "false_alarms", alarm[~is_cemp], " ".join(names)),
        share_figure("MILES as GV", "rejected", np.array([r is None for r in results])),
    ]
    figures += [
        _one("MILES as GV", MILES_CEMP, result)
        for result, on in zip(results, is_cemp, strict=True)
        if on and result is not None
    ]
    return figures


def _one(sample: str, name: str, result: Classification) -> Figure:
    said = "candidate" if result.decision.is_candidate else "not a candidate"
    return Figure(sample, f"p {name}", result.p_cemp, float("nan"), 1, said)
