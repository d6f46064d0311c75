"""Real stars of known parameters: errors and interval coverage, by the spectrum alone and with photometry.

Labels are the library's (Cenarro et al. 2007, MNRAS 374, 664) and, for [C/Fe] and the metal-poor benchmarks,
the median of the literature. These spectra must not be used for training; what is fitted on them is the error
of the model alone, see ``model_errors``.
"""

from __future__ import annotations

import csv
import gzip
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from cempstream.models.evaluation.real_sky import MILES_TEFF, ScoreSpectra, number, score_all
from cempstream.models.evaluation.report import Section, Table, Value
from cempstream.models.evaluation.slit import as_blue_slit
from cempstream.models.evaluation.slitless_sky import as_csst_gv
from cempstream.processors.grid import Array
from cempstream.processors.outcome import Classification
from cempstream.processors.readers import read_spectra
from cempstream.processors.spectrum import Spectrum

#: What is compared, and the 1σ error of one literature label: K and dex. Two papers differ by 0.16 dex in
#: [C/Fe] of a star on average, which is 0.14 for each.
COMPARED = ("teff", "logg", "feh", "cfe")
LABEL_ERROR = np.array([80.0, 0.15, 0.10, 0.14])
#: Libraries of real stars by their files' names.
LIBRARIES = ("miles_dev", "metal_poor_benchmarks")
#: Errors of the photometric Teff and log g that are drawn about the labels, K and dex.
PHOTOMETRY_ERROR = (100.0, 0.25)
#: Giants and dwarfs, metal-poor and not: the sets in which errors are told apart.
GIANT_LOGG, POOR_FEH = 3.5, -1.0
#: Its literature [C/Fe] is a mixture of upper limits and detections.
_NO_CARBON = ("cd-38_245",)
_SEEDS = {"as a blue slit": 1, "as GV": 2}


@dataclass(frozen=True, slots=True, eq=False)
class LabelledStars:
    """Real spectra with literature labels.

    Attributes
    ----------
    spectra
        At high S/N, as published.
    labels
        Columns of ``COMPARED``, NaN where not known, shape ``(n, 4)``.
    """

    spectra: Sequence[Spectrum]
    labels: Array

    def __len__(self) -> int:
        return len(self.spectra)

    @property
    def is_giant(self) -> Array:
        """Whether the labels are a giant's, shape ``(n,)``."""
        return np.asarray(self.labels[:, 1] < GIANT_LOGG)

    @property
    def is_poor(self) -> Array:
        """Whether the labels are a metal-poor star's, shape ``(n,)``."""
        return np.asarray(self.labels[:, 2] < POOR_FEH)


def read_labelled(folder: Path, abundances: Path | None = None) -> LabelledStars:
    """Read MILES and the benchmarks, as far as the folder has them.

    Parameters
    ----------
    abundances
        A table of literature abundances in JINAbase's layout (.csv or .csv.gz), for [C/Fe] of MILES stars.
    """
    carbon = {} if abundances is None else _carbon(abundances)
    spectra, labels = [], []
    for name in LIBRARIES:
        if not (folder / f"{name}.npz").is_file():
            continue
        with (folder / f"{name}.csv").open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        for spectrum, row in zip(read_spectra(folder / f"{name}.npz"), rows, strict=True):
            teff, logg, feh = (number(row[column]) for column in ("Teff", "logg", "FeH"))
            if not isinstance(spectrum, Spectrum) or not MILES_TEFF[0] <= teff <= MILES_TEFF[1]:
                continue
            cfe = carbon.get(_plain(row["name"]), np.nan) if "name" in row else number(row["CFe"])
            spectra.append(spectrum)
            labels.append((teff, logg, feh, np.nan if row["id"] in _NO_CARBON else cfe))
    return LabelledStars(spectra, np.array(labels, dtype=np.float64).reshape(-1, len(COMPARED)))


def _carbon(path: Path) -> dict[str, float]:
    """Return the median measured [C/Fe] of each star by its plain name."""
    found: dict[str, list[float]] = defaultdict(list)
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rt", encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if row["CFe"] and row["C_upper_limit"] != "True":
                for name in {_plain(row["name"]), _plain(row["simbad"])}:
                    found[name].append(float(row["CFe"]))
    return {name: float(np.median(values)) for name, values in found.items()}


def _plain(name: str) -> str:
    """Return ``HD122563`` of ``HD 122563`` and ``HD006229`` alike."""
    text = re.sub(r"[^A-Z0-9+-]", "", name.upper())
    match = re.fullmatch(r"(HD|HIP)0*(\d+)", text)
    return match[1] + match[2] if match else text


def with_photometry(spectra: Sequence[Spectrum], labels: Array, seed: int = 3) -> list[Spectrum]:
    """Give stars a photometric Teff and log g: the labels, with the errors that are stated."""
    rng = np.random.default_rng(seed)
    drawn = labels[:, :2] + np.array(PHOTOMETRY_ERROR) * rng.standard_normal((len(labels), 2))
    return [
        replace(
            spectrum,
            teff_phot=float(teff),
            teff_phot_error=PHOTOMETRY_ERROR[0],
            logg_phot=float(logg),
            logg_phot_error=PHOTOMETRY_ERROR[1],
        )
        for spectrum, (teff, logg) in zip(spectra, drawn, strict=True)
    ]


def seen_as(stars: LabelledStars, resolving_power: float) -> dict[str, list[Spectrum]]:
    """Return the stars as a bundle of this resolving power gets them, by the name of the view."""
    if resolving_power < 500:
        rng = np.random.default_rng(_SEEDS["as GV"])
        return {"as GV": [as_csst_gv(s, rng) for s in stars.spectra]}
    rng = np.random.default_rng(_SEEDS["as a blue slit"])
    return {
        "as published": list(stars.spectra),
        "as a blue slit": [as_blue_slit(s, rng) for s in stars.spectra],
    }


@dataclass(frozen=True, slots=True, eq=False)
class Residuals:
    """Found minus literature, and half of the 68 % interval; NaN where there is none, ``(n, 4)`` each.

    Attributes
    ----------
    estimate
        What was found, shape ``(n, 4)``: groups of stars follow from it, as in the service.
    """

    estimate: Array
    error: Array
    half: Array


def residuals(score: ScoreSpectra, spectra: Sequence[Spectrum], labels: Array) -> Residuals:
    """Score real stars and compare with their labels."""
    found = [_found(result) for result in score_all(score, spectra)]
    estimate, half = np.array(found).reshape(-1, 2, len(COMPARED)).transpose(1, 0, 2)
    return Residuals(estimate, estimate - labels, half)


def _found(result: Classification | None) -> tuple[list[float], list[float]]:
    """Return the values of ``COMPARED`` and half of their intervals."""
    if result is None:
        return [np.nan] * len(COMPARED), [np.nan] * len(COMPARED)
    found = [result.parameters[name] for name in COMPARED]
    return [one.value for one in found], [0.5 * (one.hi - one.lo) for one in found]


def labelled_stars(score: ScoreSpectra, stars: LabelledStars, resolving_power: float) -> Section:
    """Report errors and coverage of real stars, without and with photometry."""
    rows: list[list[Value]] = []
    for view, spectra in seen_as(stars, resolving_power).items():
        for how, given in (("", spectra), (", with photometry", with_photometry(spectra, stars.labels))):
            found = residuals(score, given, stars.labels)
            for group, chosen in _groups(stars).items():
                rows += _figures(f"{group}, {view}{how}", found, chosen)
    lead = (
        "Stars of the development half of MILES at 4000–6800 K and of the metal-poor benchmarks. Literature "
        "labels have errors themselves. Photometry is drawn: Teff and log g of the literature with errors of "
        f"{PHOTOMETRY_ERROR[0]:.0f} K and {PHOTOMETRY_ERROR[1]} dex. The model's error in the intervals is "
        "fitted on these stars, so that their coverage is not blind; nothing else is."
    )
    columns = ("sample", "parameter", "n", "bias", "mean absolute error", "share inside the 68 % interval")
    return Section("labelled", "Real stars of known parameters", lead, [Table("Labels", columns, rows)])


def _groups(stars: LabelledStars) -> dict[str, Array]:
    giant, poor = stars.is_giant, stars.is_poor
    return {
        "all": np.ones(len(stars), dtype=bool),
        "metal-poor giants": giant & poor,
        "metal-poor dwarfs": ~giant & poor,
        "other giants": giant & ~poor,
        "other dwarfs": ~giant & ~poor,
    }


def _figures(sample: str, found: Residuals, chosen: Array) -> list[list[Value]]:
    rows: list[list[Value]] = []
    for k, name in enumerate(COMPARED):
        error, half = found.error[chosen, k], found.half[chosen, k]
        known = np.isfinite(error)
        if known.sum() < 5:
            continue
        error, half = error[known], half[known]
        inside = float((np.abs(error) <= half).mean())
        rows.append(
            [sample, name, int(known.sum()), float(error.mean()), float(np.abs(error).mean()), inside]
        )
    return rows
