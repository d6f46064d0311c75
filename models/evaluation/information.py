"""The best accuracy with which any method can measure labels from a spectrum: the Cramér–Rao bound."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.interpolate import BSpline

from cempstream.models.emulator.emulator import Emulator
from cempstream.models.emulator.labels import LABEL_NAMES, LABELS, move_into_range
from cempstream.models.evaluation.observed_sample import is_cemp, is_metal_poor
from cempstream.models.evaluation.report import Section, Table, Value
from cempstream.models.statistics import Measured, statistic
from cempstream.processors.grid import Array, LogGrid

#: Half of the step over which a derivative is taken, ``LABEL_NAMES`` in order.
_STEPS = np.array([40.0, 0.1, 0.05, 0.05, 0.05, 0.05, 0.05, 0.05, 0.05, 1.0, 0.1])
#: A label that the others restrict to less than this share of its step has no separate derivative.
_HELD = 0.5
#: Prior standard deviation of the coefficients of the unknown continuum, in units of the continuum.
_CONTINUUM_PRIOR = 1.0
#: Mean |x| of a normal distribution of unit variance.
_MAE_OF_SIGMA = np.sqrt(2.0 / np.pi)
_FEH, _CFE = LABEL_NAMES.index("feh"), LABEL_NAMES.index("cfe")


@dataclass(frozen=True, slots=True)
class Sight:
    """The observation of a star: normalised pixels at one resolving power and constant noise.

    Attributes
    ----------
    knots_aa
        Distance of the spline knots of the unknown continuum.
    """

    grid: LogGrid
    resolving_power: float
    knots_aa: float


def derivatives(emulator: Emulator, labels: Array, sight: Sight) -> tuple[Array, Array]:
    """Return normalised spectra and their change with each label.

    Labels on which others depend (oxygen follows the α elements) change these too; one that cannot change
    alone has no derivative.

    Returns
    -------
    tuple
        Flux over continuum, shape ``(n, n_pix)``, and its derivatives, each by the unit of its label, shape
        ``(n, n_pix, n_labels)``.
    """
    seen = emulator.at(sight.resolving_power, sight.grid)
    norm = seen(labels).norm.astype(np.float64)
    change = np.zeros((*norm.shape, len(LABEL_NAMES)))
    for k, step in enumerate(_STEPS):
        aside = np.zeros(len(LABEL_NAMES))
        aside[k] = step
        high, low = move_into_range(labels + aside), move_into_range(labels - aside)
        moved = high[:, k] - low[:, k]
        free = moved > _HELD * step
        difference = seen(high[free]).norm.astype(np.float64) - seen(low[free]).norm
        change[free, :, k] = difference / moved[free, None]
    return norm, change


def standard_errors(norm: Array, change: Array, sight: Sight, snr: float, prior: Array) -> Array:
    """Return the smallest standard errors that an unbiased measurement can have.

    The Cramér–Rao bound with a normal prior (van Trees 1968, *Detection, Estimation, and Modulation Theory*,
    part I, section 2.4): the inverse of the Fisher information of all labels and of a spline continuum
    together, plus that of the prior.

    Parameters
    ----------
    norm, change
        From ``derivatives``.
    snr
        Per Å, of the continuum, at every wavelength.
    prior
        Covariance of the labels of such stars, shape ``(n_labels, n_labels)``.

    Returns
    -------
    Array
        Shape ``(n, n_labels)``.
    """
    wave = sight.grid.wave
    weight = snr * np.sqrt(np.gradient(wave))
    knots = np.arange(wave[0], wave[-1] + sight.knots_aa, sight.knots_aa)
    padded = np.concatenate([[knots[0]] * 3, knots, [knots[-1]] * 3])
    splines = BSpline.design_matrix(np.minimum(wave, knots[-1] * (1 - 1e-12)), padded, 3).toarray()
    n_labels = change.shape[2]
    known = np.zeros((n_labels + splines.shape[1],) * 2)
    known[:n_labels, :n_labels] = np.linalg.inv(prior)
    known[n_labels:, n_labels:] = np.eye(splines.shape[1]) / _CONTINUUM_PRIOR**2
    errors = np.empty((len(norm), n_labels))
    for i, (flux, slopes) in enumerate(zip(norm, change, strict=True)):
        response = np.concatenate([slopes, splines * flux[:, None]], axis=1) * weight[:, None]
        covariance = np.linalg.inv(response.T @ response + known)
        errors[i] = np.sqrt(np.diag(covariance)[:n_labels])
    return errors


def information(emulator: Emulator, labels: Array, sight: Sight, snrs: tuple[float, ...]) -> Section:
    """Answer how small the errors of [Fe/H] and [C/Fe] of these stars could be."""
    norm, change = derivatives(emulator, labels, sight)
    width = np.array([label.high - label.low for label in LABELS])
    priors: Mapping[str, Array] = {
        "of any star": np.diag(width**2 / 12.0),
        # Labels equal in all stars get a small variance, so that the covariance can be inverted.
        "of one of these": np.cov(labels, rowvar=False) + np.diag((1e-3 * width) ** 2),
    }
    poor, rich = is_metal_poor(labels), is_cemp(labels)
    rows: list[list[Value]] = []
    for snr in snrs:
        row: list[Value] = [f"S/N {snr:g}"]
        for prior in priors.values():
            least = _MAE_OF_SIGMA * standard_errors(norm, change, sight, snr, prior)
            row += [_mean(least[poor, _FEH]), _mean(least[rich, _CFE])]
        rows.append(row)
    columns = ["sample"]
    for name in priors:
        columns += [f"[Fe/H] MAE, metal-poor, {name}", f"[C/Fe] MAE, CEMP, {name}"]
    wave = sight.grid.wave
    lead = (
        f"The Cramér–Rao bound on the same {len(labels)} stars at R = {sight.resolving_power:g} from "
        f"{wave[0]:.0f} to {wave[-1]:.0f} Å, at the same S/N per Å everywhere: velocity known, the continuum "
        f"free on a scale of {sight.knots_aa:.0f} Å, all eleven labels free within what is known before: "
        "that it is any star, with labels anywhere in the library's box, or one of this halo sample, whose "
        "labels go together. No method that sees the normalised spectrum alone can be expected to do better; "
        "what lies between this and the errors above is lost to faults of the instruments, to lines that the "
        "networks are taught not to trust, and to the networks."
    )
    return Section("information", "What a spectrum can tell", lead, [Table("Least errors", columns, rows)])


def _mean(least: Array) -> Measured:
    return statistic(lambda values: float(values.mean()), least, unit="dex")
