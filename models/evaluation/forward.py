"""The forward model against the sky: emulated and observed spectra of stars with known labels.

Both go through the service's own processors (rebinning, running-mean continuum), so the
differences are those that the networks see.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from cempstream.models.emulator.emulator import Emulator
from cempstream.models.emulator.grids import line_spread_matrix
from cempstream.models.emulator.labels import LABEL_NAMES, label_limits, move_into_range
from cempstream.models.training.emulator.evaluate import BANDS
from cempstream.processors.constants import LIGHT_KMS
from cempstream.processors.continuum import Normaliser
from cempstream.processors.grid import Array, LogGrid
from cempstream.processors.readers import ReadOptions, read_spectra
from cempstream.processors.rebin import Rebinner
from cempstream.processors.spectrum import Spectrum

#: Grid, resolving power and continuum of the ``mid`` models.
GRID = LogGrid(3.57, 1e-4, 3840)
_RESOLVING_POWER = 1800.0
_SIGMA_PIX = 96

#: FWHM of MILES in Å (Falcón-Barroso et al. 2011), and λ/FWHM of the smoothed echelle spectra.
_MILES_FWHM_AA = 2.5
_BENCHMARK_POWER = 2000.0

#: O2 and water, left in the echelle spectra and imperfectly removed from the others, vacuum Å.
_AIR_BANDS = (
    (6275.0, 6325.0),
    (6865.0, 6960.0),
    (7160.0, 7340.0),
    (7590.0, 7710.0),
    (8120.0, 8370.0),
    (8900.0, 9300.0),
)

#: Bins of the tables.
TEFF_BINS = ((3900.0, 4500.0), (4500.0, 5000.0), (5000.0, 5700.0), (5700.0, 6300.0), (6300.0, 7000.0))
FEH_BINS = ((-4.0, -1.5), (-1.5, -0.6), (-0.6, -0.2), (-0.2, 0.5))


@dataclass(frozen=True, slots=True, eq=False)
class ObservedStar:
    """A star with literature labels; missing labels are filled in by rule.

    Attributes
    ----------
    labels
        In the order of ``LABEL_NAMES``, shape ``(11,)``.
    """

    name: str
    sample: str
    labels: Array
    spectrum: Spectrum = field(repr=False)


@dataclass(frozen=True, slots=True, eq=False)
class StarComparison:
    """Observed and emulated flux over running mean on ``GRID``, NaN where the star was not observed.

    Attributes
    ----------
    velocity_kms
        Measured shift of the observed spectrum against the emulated one, already removed.
    """

    star: ObservedStar
    observed: Array = field(repr=False)
    emulated: Array = field(repr=False)
    velocity_kms: float

    @property
    def residual(self) -> Array:
        """Observed minus emulated, shape ``(GRID.n_pix,)``."""
        return self.observed - self.emulated

    @property
    def rms(self) -> float:
        """Root mean square of the residual."""
        return float(np.sqrt(np.nanmean(self.residual**2)))

    def band_residual(self, name: str) -> float:
        """Mean residual in one of ``BANDS``; positive: the model absorbs too much. NaN where unobserved."""
        low, high = BANDS[name]
        inside = self.residual[(GRID.wave >= low) & (GRID.wave <= high)]
        return float(np.nanmean(inside)) if np.isfinite(inside).mean() > 0.7 else float("nan")


def read_stars(folder: Path) -> tuple[list[ObservedStar], int]:
    """Read MILES and the metal-poor benchmarks.

    Returns
    -------
    list
        Stars within the emulator's range of Teff, log g and [Fe/H].
    int
        How many were outside.
    """
    stars: list[ObservedStar] = []
    n_outside = 0
    for sample, medium in (("miles_dev", "air"), ("metal_poor_benchmarks", None)):
        with (folder / f"{sample}.csv").open(newline="") as stream:
            rows = list(csv.DictReader(stream))
        power = _BENCHMARK_POWER if medium is None else 2000.0
        options = ReadOptions(medium="air" if medium else None, frame="rest", resolving_power=power)
        for row, spectrum in zip(rows, read_spectra(folder / f"{sample}.npz", options), strict=True):
            labels = _labels(row)
            if labels is None or not isinstance(spectrum, Spectrum):
                n_outside += 1
                continue
            stars.append(ObservedStar(row.get("name") or row["id"], sample, labels, spectrum))
    return stars, n_outside


def _labels(row: dict[str, str]) -> Array | None:
    """Return the labels of a row of a table; None outside the emulator's range.

    Carbon, nitrogen and α are those of an ordinary star of that metallicity, unless the table gives [C/Fe].
    """
    try:
        teff, logg, feh = float(row["Teff"]), float(row["logg"]), float(row["FeH"])
        cfe = float(row["CFe"]) if row.get("CFe") else (-0.15 if logg < 3.3 else 0.0)
    except ValueError:
        return None
    if not np.isfinite([teff, logg, feh]).all():
        return None
    alpha = float(np.interp(feh, [-1.0, 0.0], [0.35, 0.0]))
    values = {
        "teff": teff,
        "logg": logg,
        "feh": feh,
        "cfe": cfe,
        "nfe": 0.3 if logg < 3.3 else 0.0,
        "ofe": alpha + 0.2 * max(0.0, cfe - 0.5),
        "afe": alpha,
        "sfe": 0.0,
        "rfe": 0.2 if feh < -1 else 0.0,
        "r1213": 20.0 if logg < 3.3 else 89.0,
        "vmic": max(0.7, 2.13 - 0.23 * logg),
    }
    labels = np.array([[values[name] for name in LABEL_NAMES]])
    moved = move_into_range(labels)
    low, high = label_limits(moved)
    # Half a bin beyond the edge counts as the edge; further out is another star.
    reach = np.array([60.0, 0.15, 0.1])
    inside = (labels[0, :3] >= low[0, :3] - reach) & (labels[0, :3] <= high[0, :3] + reach)
    return np.asarray(moved[0]) if inside.all() else None


def compare_stars(stars: Sequence[ObservedStar], emulator: Emulator) -> list[StarComparison]:
    """Compare each star with the emulator's spectrum at its labels, observed as it was."""
    spectra = emulator(np.stack([star.labels for star in stars]))
    return [_compare(star, flux) for star, flux in zip(stars, spectra.flux, strict=True)]


def _compare(star: ObservedStar, flux: Array) -> StarComparison:
    seen = star.spectrum
    is_miles = star.sample == "miles_dev"
    power = seen.grid.wave / _MILES_FWHM_AA if is_miles else np.full(seen.n_pix, _BENCHMARK_POWER)
    matrix = line_spread_matrix(seen.grid, power, medium=seen.medium)
    model = np.asarray(matrix @ flux, dtype=np.float32)
    ivar = np.where(model > 0, seen.ivar, 0.0).astype(np.float32)
    if not is_miles:
        # These are normalised to their continuum, so the model's colour must not appear as a residual.
        model *= _smooth(seen.flux, seen.grid.wave) / _smooth(model, seen.grid.wave)
    pair = [_published(seen, values, ivar, power) for values in (seen.flux, model.astype(np.float32))]
    batch = Normaliser(_SIGMA_PIX)(Rebinner(GRID, _RESOLVING_POWER)(pair))
    bad = batch.ivar[0] == 0
    for low, high in _AIR_BANDS:
        bad |= (GRID.wave > low) & (GRID.wave < high)
    observed, emulated = (np.where(bad, np.nan, row.astype(np.float64)) for row in batch.norm)
    velocity_kms = _velocity(observed, emulated)
    pixels = np.arange(GRID.n_pix)
    step_kms = LIGHT_KMS * GRID.log10_step * np.log(10.0)
    moved = np.interp(pixels + velocity_kms / step_kms, pixels, observed)
    return StarComparison(star, moved, emulated, velocity_kms)


def _published(seen: Spectrum, flux: Array, ivar: Array, power: Array) -> Spectrum:
    return Spectrum(
        spectrum_id=seen.spectrum_id,
        survey=seen.survey,
        grid=seen.grid,
        flux=flux,
        ivar=ivar,
        medium=seen.medium,
        frame="rest",
        resolving_power=power.astype(np.float32),
        reduced_at=seen.reduced_at,
    )


def _smooth(flux: Array, wave: Array) -> Array:
    """Return a parabola through the flux, the colour of a spectrum."""
    good = np.isfinite(flux) & (flux > 0)
    x = (wave - wave.mean()) / np.ptp(wave)
    return np.maximum(np.polyval(np.polyfit(x[good], flux[good], 2), x), 1e-30).astype(np.float32)


def _velocity(observed: Array, emulated: Array) -> float:
    """Return the shift that the residual's projection on the spectrum's slope gives (two steps of Newton)."""
    step_kms = LIGHT_KMS * GRID.log10_step * np.log(10.0)
    pixels = np.arange(GRID.n_pix)
    total = 0.0
    for _ in range(2):
        moved = np.interp(pixels + total, pixels, observed)
        slope = np.gradient(emulated)
        good = np.isfinite(moved) & np.isfinite(slope)
        # observed(x) = emulated(x - shift) ≈ emulated - shift * slope
        total -= float(((moved - emulated)[good] * slope[good]).sum() / (slope[good] ** 2).sum())
    return float(np.clip(total, -3.0, 3.0) * step_kms)


@dataclass(frozen=True, slots=True)
class BinScore:
    """Median residuals of the stars of one bin of temperature and metallicity."""

    teff: tuple[float, float]
    feh: tuple[float, float]
    n: int
    rms: float
    bands: dict[str, float]


def score_bins(comparisons: Sequence[StarComparison]) -> list[BinScore]:
    """Score bins that hold at least three stars of MILES."""
    miles = [c for c in comparisons if c.star.sample == "miles_dev"]
    scores = []
    for teff in TEFF_BINS:
        for feh in FEH_BINS:
            members = members_of(miles, teff, feh)
            if len(members) >= 3:
                bands = {name: _median([c.band_residual(name) for c in members]) for name in BANDS}
                scores.append(BinScore(teff, feh, len(members), _median([c.rms for c in members]), bands))
    return scores


def members_of(
    comparisons: Sequence[StarComparison], teff: tuple[float, float], feh: tuple[float, float]
) -> list[StarComparison]:
    """Return the comparisons of a bin."""
    return [
        c
        for c in comparisons
        if teff[0] <= c.star.labels[0] < teff[1] and feh[0] <= c.star.labels[2] < feh[1]
    ]


def _median(values: Sequence[float]) -> float:
    known = [v for v in values if np.isfinite(v)]
    return float(np.median(known)) if known else float("nan")
