"""What the photometry of spectra says of their stars, beside what the spectra say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from cempstream.processors.outcome import Estimate, PhotometricEstimate
from cempstream.processors.photometry import StarPhotometry, photometric_parameters
from cempstream.processors.spectrum import Spectrum

#: Names of magnitudes in a spectrum.
_BANDS = {"g": "G", "bp": "BP", "rp": "RP", "ks": "Ks"}
#: Intervals are doubled before they are compared: two 68 % intervals part by chance once in six stars.
_TIMES = 2.0
_NAN = float("nan")


def photometric_estimates(spectra: Sequence[Spectrum]) -> list[PhotometricEstimate | None]:
    """Return Teff and log g by photometry of each star; None where nothing is known of it.

    What the survey gives as ``teff_phot`` and ``logg_phot`` with an error stands; else magnitudes, E(B-V) and
    parallax are used.
    """
    found: list[PhotometricEstimate | None] = [None] * len(spectra)
    rows = [i for i, s in enumerate(spectra) if _has_colour(s)]
    if rows:
        computed = photometric_parameters(_photometry([spectra[i] for i in rows]))
        columns = (computed.teff, computed.teff_error, computed.logg, computed.logg_error)
        for row, *values in zip(rows, *(column.tolist() for column in columns), strict=True):
            found[row] = PhotometricEstimate(*values)
    for row, spectrum in enumerate(spectra):
        best = _of_survey(spectrum, found[row])
        found[row] = best if _says_something(best) else None
    return found


def photometry_disagrees(estimate: PhotometricEstimate | None, parameters: Mapping[str, Estimate]) -> bool:
    """Return whether Teff or log g by photometry is beyond both intervals, each doubled."""
    if estimate is None:
        return False
    return _apart(estimate.teff, estimate.teff_error, parameters["teff"]) or _apart(
        estimate.logg, estimate.logg_error, parameters["logg"]
    )


def _apart(value: float, error: float, spectroscopic: Estimate) -> bool:
    above = value - _TIMES * error > spectroscopic.value + _TIMES * (spectroscopic.hi - spectroscopic.value)
    below = value + _TIMES * error < spectroscopic.value - _TIMES * (spectroscopic.value - spectroscopic.lo)
    return above or below  # false for NaN


def _has_colour(spectrum: Spectrum) -> bool:
    return "BP" in spectrum.photometry and "RP" in spectrum.photometry and spectrum.ebv is not None


def _says_something(estimate: PhotometricEstimate) -> bool:
    return bool(np.isfinite(estimate.teff) or np.isfinite(estimate.logg))


def _of_survey(spectrum: Spectrum, computed: PhotometricEstimate | None) -> PhotometricEstimate:
    """Return the survey's own values where it gives any with an error, beside what was computed."""
    base = computed or PhotometricEstimate(_NAN, _NAN, _NAN, _NAN)
    teff = _pair(spectrum.teff_phot, spectrum.teff_phot_error) or (base.teff, base.teff_error)
    logg = _pair(spectrum.logg_phot, spectrum.logg_phot_error) or (base.logg, base.logg_error)
    return PhotometricEstimate(*teff, *logg)


def _pair(value: float | None, error: float | None) -> tuple[float, float] | None:
    if value is None or error is None or not np.isfinite([value, error]).all() or error <= 0:
        return None
    return value, error


def _photometry(spectra: Sequence[Spectrum]) -> StarPhotometry:
    known: dict[str, list[float]] = {}
    for name, band in _BANDS.items():
        pairs = [s.photometry.get(band, (_NAN, _NAN)) for s in spectra]
        known[name], known[f"{name}_error"] = [mag for mag, _ in pairs], [error for _, error in pairs]
    for name, fact in (
        ("ebv", "ebv"),
        ("ebv_error", "ebv_error"),
        ("parallax_mas", "parallax_mas"),
        ("parallax_mas_error", "parallax_error_mas"),
    ):
        facts = [getattr(s, fact) for s in spectra]
        known[name] = [_NAN if value is None else value for value in facts]
    return StarPhotometry.of(len(spectra), **{name: np.array(values) for name, values in known.items()})
