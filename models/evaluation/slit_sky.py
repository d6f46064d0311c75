"""Recall and errors for CEMP stars in poor slit spectra.

Negatives are real metal-poor stars, positives real CEMP stars (two, where the sets are all there) and real
metal-poor stars with carbon added. These spectra must not be used for training or tuning.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np

from cempstream.models.emulator.emulator import Emulator
from cempstream.models.evaluation.injection import StellarLabels, with_carbon
from cempstream.models.evaluation.real_sky import (
    Figure,
    ScoreSpectra,
    mean_figure,
    number,
    score_all,
    share_figure,
)
from cempstream.models.evaluation.slit import as_blue_slit
from cempstream.models.simulator.sources import SOLAR_CARBON
from cempstream.models.training.calibrate import roc_auc
from cempstream.processors.grid import Array
from cempstream.processors.outcome import Classification
from cempstream.processors.readers import read_spectra
from cempstream.processors.spectrum import Spectrum

RESOLVING_POWERS = (850.0, 1300.0, 2000.0)
SNRS = (15.0, 30.0, 80.0)
#: CH cannot be seen in hotter stars at these resolutions.
TEFF = (4100.0, 6000.0)
HIGHEST_FEH = -1.3
#: Two typical errors of [Fe/H] below the border of the definition, which few stars then cross by error alone.
FAR_FROM_BORDER = -1.6
#: Values of [C/Fe] to add, one per star in turn.
CARBON = (1.0, 1.3, 1.6, 2.0, 2.4)
_HIGHEST_AC = 8.9
_MIN_CFE, _GIANT_LOGG = 0.7, 2.0


@dataclass(frozen=True, slots=True, eq=False)
class _Case:
    spectrum: Spectrum
    truth: StellarLabels
    resolving_power: float
    snr: float

    @property
    def is_cemp(self) -> bool:
        return self.truth.cfe >= _MIN_CFE


def check_slits(score: ScoreSpectra, folder: Path, emulator: Emulator, *, seed: int = 1) -> list[Figure]:
    """Measure carbon-normal and carbon-rich stars in blue slit spectra without errors.

    Parameters
    ----------
    folder
        Folder of the real spectra.
    emulator
        Without false lines; gives the carbon.
    """
    cases = list(_cases(folder, emulator, np.random.default_rng(seed)))
    results = score_all(score, [case.spectrum for case in cases])
    power, snr = (np.array([getattr(case, name) for case in cases]) for name in ("resolving_power", "snr"))
    figures = _figures("slit", cases, results, np.ones(len(cases), dtype=bool))
    poor = np.array([case.truth.feh < FAR_FROM_BORDER for case in cases])
    figures += _figures(f"slit [Fe/H] < {FAR_FROM_BORDER}", cases, results, poor)
    for value in RESOLVING_POWERS:
        figures += _figures(f"slit R {value:.0f}", cases, results, power == value)
    for value in SNRS:
        figures += _figures(f"slit S/N {value:.0f}", cases, results, snr == value)
    return figures


def _cases(folder: Path, emulator: Emulator, rng: np.random.Generator) -> Iterator[_Case]:
    """Yield every star, unchanged and with added carbon, in every condition."""
    conditions = list(product(RESOLVING_POWERS, SNRS))
    for i, (spectrum, star) in enumerate(_metal_poor(folder)):
        for j, (power, snr) in enumerate(conditions):
            truths = [star]
            cfe = CARBON[(i + j) % len(CARBON)]
            if star.cfe < _MIN_CFE and cfe + star.feh + SOLAR_CARBON < _HIGHEST_AC:
                truths.append(StellarLabels(star.teff, star.logg, star.feh, cfe))
            for truth in truths:
                seen = spectrum if truth is star else with_carbon(spectrum, star, truth.cfe, emulator)
                slit = as_blue_slit(seen, rng, resolving_power=power, snr=snr, knows_noise=False)
                yield _Case(slit, truth, power, snr)


def _metal_poor(folder: Path) -> Iterator[tuple[Spectrum, StellarLabels]]:
    for name in ("miles_dev", "metal_poor_benchmarks"):
        if not (folder / f"{name}.npz").is_file():
            continue
        with (folder / f"{name}.csv").open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        for spectrum, row in zip(read_spectra(folder / f"{name}.npz"), rows, strict=True):
            teff, logg, feh = (number(row[column]) for column in ("Teff", "logg", "FeH"))
            usable = isinstance(spectrum, Spectrum) and TEFF[0] <= teff <= TEFF[1] and feh <= HIGHEST_FEH
            # A library's "HD187216" is a CEMP star of unknown [C/Fe]; the others are carbon-normal.
            if not usable or not isinstance(spectrum, Spectrum) or row.get("name") == "HD187216":
                continue
            cfe = number(row["CFe"]) if "CFe" in row else (-0.3 if logg < _GIANT_LOGG else 0.0)
            # CD-38 245's literature [C/Fe] is a mixture of limits.
            yield spectrum, StellarLabels(teff, logg, feh, max(cfe, -0.4))


def _figures(
    sample: str, cases: list[_Case], results: list[Classification | None], chosen: Array
) -> list[Figure]:
    rows = [i for i in np.flatnonzero(chosen) if results[i] is not None]
    found = [r for i in rows if (r := results[i]) is not None]
    is_cemp = np.array([cases[i].is_cemp for i in rows])
    p = np.array([r.p_cemp for r in found])
    alarm = np.array([r.decision.is_candidate for r in found])
    feh, cfe, teff = (
        np.array(
            [
                r.parameters[name].value - getattr(cases[i].truth, name)
                for i, r in zip(rows, found, strict=True)
            ]
        )
        for name in ("feh", "cfe", "teff")
    )
    missed = sorted(
        {
            f"{cases[i].spectrum.spectrum_id}({cases[i].truth.cfe:+.1f})"
            for i, a, c in zip(rows, alarm, is_cemp, strict=True)
            if c and not a
        }
    )
    wrong = sorted(
        {cases[i].spectrum.spectrum_id for i, a, c in zip(rows, alarm, is_cemp, strict=True) if a and not c}
    )
    return [
        Figure(sample, "auc", roc_auc(p, is_cemp), float("nan"), len(rows)),
        share_figure(sample, "recall", alarm[is_cemp], " ".join(missed)),
        share_figure(sample, "false_alarms", alarm[~is_cemp], " ".join(wrong)),
        mean_figure(sample, "feh_mae normal", np.abs(feh[~is_cemp])),
        mean_figure(sample, "feh_mae cemp", np.abs(feh[is_cemp])),
        mean_figure(sample, "feh_bias normal", feh[~is_cemp]),
        mean_figure(sample, "feh_bias cemp", feh[is_cemp]),
        mean_figure(sample, "cfe_mae cemp", np.abs(cfe[is_cemp])),
        mean_figure(sample, "cfe_bias cemp", cfe[is_cemp]),
        mean_figure(sample, "cfe_bias normal", cfe[~is_cemp]),
        mean_figure(sample, "teff_bias", teff),
    ]
