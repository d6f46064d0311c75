"""What a picture or a page shows of one spectrum, from an alert or from a classification."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime

import numpy as np

from cempstream.processors.bands import NAMED_WINDOWS
from cempstream.processors.classify import BandNamer
from cempstream.processors.constants import LIGHT_KMS
from cempstream.processors.continuum import BLOCK_PIX, Normaliser
from cempstream.processors.grid import Array, LogGrid, air_to_vacuum
from cempstream.processors.outcome import (
    PARAMETERS,
    SUBCLASSES,
    Classification,
    Decision,
    Estimate,
    NamedBand,
    Provenance,
    TemplateMatch,
)
from cempstream.processors.rebin import Rebinner, good_pixels
from cempstream.processors.spectrum import BadSpectrum, Flag, Spectrum
from cempstream.schemas.alert import Alert
from cempstream.schemas.sky import Match

#: Pixel of the drawn normalised spectrum, and the width of its running mean, as the `mid` models have them.
_LOG10_STEP = 1e-4
_SIGMA_PIX = 96.0

#: Where nothing speaks for carbon the networks spread the attribution evenly, to a few per cent.
_MORE_THAN_CHANCE = 1.1


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Finding:
    """One scored spectrum.

    Attributes
    ----------
    name
        The star's name if the survey gave one, else the spectrum's.
    spectrum
        None if it was too large for the alert.
    lines
        Index name to (value, 1σ error).
    attribution, attribution_wave_aa
        Weight per bin, sum 1, and the bins' edges in Å (vacuum, rest frame).
    reduced_at, published_at
        UTC; ``published_at`` is None for a spectrum from a file.
    tense
        Why it was scored; None for a file.
    expected_purity
        Share of CEMP stars among all alerts of its S/N; None where it was not measured.
    """

    name: str
    spectrum_id: str
    survey: str
    spectrum: Spectrum | None = field(repr=False)
    ra: float | None
    dec: float | None
    photometry: Mapping[str, tuple[float, float]]
    snr: float
    flags: tuple[str, ...]
    p_cemp: float
    p_cemp_corrected: float
    subclass: str
    subclass_p: Mapping[str, float]
    parameters: Mapping[str, Estimate]
    cfe_corrected: float
    template: TemplateMatch
    lines: Mapping[str, tuple[float, float]] = field(repr=False)
    rv_kms: float | None
    rv_error_kms: float | None
    ood_score: float
    attribution: Array = field(repr=False)
    attribution_wave_aa: Array = field(repr=False)
    bands: tuple[NamedBand, ...]
    decision: Decision
    bundle: str
    models: tuple[Provenance, ...]
    reduced_at: datetime
    published_at: datetime | None = None
    tense: str | None = None
    expected_purity: float | None = None
    matches: tuple[Match, ...] = ()
    alert_id: str | None = None

    @property
    def is_familiar(self) -> bool:
        """Whether the models know stars like this one; for others their results mean nothing."""
        return Flag.OUT_OF_DISTRIBUTION not in self.flags

    @property
    def evidence(self) -> Array:
        """Attribution per bin, 0 where a bin has no more than an even attribution would give it."""
        is_more = self.attribution * self.attribution.size > _MORE_THAN_CHANCE
        return np.where(is_more, self.attribution, 0.0)

    @property
    def telling_bands(self) -> tuple[NamedBand, ...]:
        """Bands that have more of the attribution than an even one would give them."""
        chance = BandNamer(self.attribution_wave_aa).chance
        return tuple(b for b in self.bands if b.weight > _MORE_THAN_CHANCE * chance.get(b.name, 0.0))


_SAME_NAME = (
    "spectrum_id",
    "survey",
    "ra",
    "dec",
    "snr",
    "flags",
    "p_cemp",
    "p_cemp_corrected",
    "subclass",
    "cfe_corrected",
    "template",
    "rv_kms",
    "rv_error_kms",
    "ood_score",
    "bands",
    "decision",
    "expected_purity",
    "bundle",
)


def finding_of_alert(alert: Alert) -> Finding:
    """Return the finding of an alert."""
    return Finding(
        **{name: getattr(alert, name) for name in _SAME_NAME},
        name=alert.name,
        spectrum=alert.spectrum,
        photometry={band: (m.mag, m.error) for band, m in alert.photometry.items()},
        subclass_p={name: getattr(alert.subclass_p, name) for name in SUBCLASSES},
        parameters={name: getattr(alert.parameters, name) for name in PARAMETERS},
        lines={name: (line.value, line.error) for name, line in alert.lines.items()},
        attribution=np.array(alert.attribution.weight),
        attribution_wave_aa=np.array(alert.attribution.wave_aa),
        models=alert.models,
        reduced_at=alert.reduced_at,
        published_at=alert.published_at,
        tense=alert.alert_tense,
        matches=alert.matches,
        alert_id=alert.alert_id,
    )


def finding_of_classification(result: Classification) -> Finding:
    """Return the finding of a classified spectrum."""
    spectrum = result.spectrum
    own = {f.name for f in fields(Classification)} | {"subclass"}
    return Finding(
        **{name: getattr(result if name in own else spectrum, name) for name in _SAME_NAME},
        name=spectrum.object_id or spectrum.spectrum_id,
        spectrum=spectrum,
        photometry=spectrum.photometry,
        subclass_p=result.subclass_p,
        parameters=result.parameters,
        lines=result.lines,
        attribution=result.attribution,
        attribution_wave_aa=result.attribution_wave_aa,
        models=result.provenance,
        reduced_at=spectrum.reduced_at,
    )


@dataclass(frozen=True, slots=True, eq=False)
class Trace:
    """A curve over rest-frame vacuum wavelength, NaN where there are no good pixels.

    Attributes
    ----------
    raw, smooth
        The pixels, and their running mean weighted by ivar, shape ``(n_pix,)``.
    """

    wave_aa: Array
    raw: Array
    smooth: Array


def flux_trace(finding: Finding) -> Trace | None:
    """Return the flux on the survey's own pixels, moved to the rest frame."""
    spectrum = finding.spectrum
    if spectrum is None:
        return None
    wave = rest_wave(finding, spectrum)
    good = good_pixels(spectrum)
    ivar = np.where(good, spectrum.ivar, 0.0)
    flux = np.where(good, spectrum.flux, 0.0)
    return Trace(
        wave, np.where(good, flux, np.nan), _smooth(flux, ivar, _smoothing_pix(finding, spectrum, wave))
    )


def norm_trace(finding: Finding) -> Trace | None:
    """Return the flux over its running mean, as the models see it, in the rest frame.

    None where the alert carries no spectrum or nothing of it lies on the attribution's range.
    """
    spectrum = finding.spectrum
    if spectrum is None:
        return None
    rv_kms = _applied_rv_kms(finding, spectrum)
    low, high = finding.attribution_wave_aa[[0, -1]] * (1 + rv_kms / LIGHT_KMS)
    n_pix = int(np.log10(high / low) / _LOG10_STEP) // BLOCK_PIX * BLOCK_PIX
    grid = LogGrid(float(np.log10(low)), _LOG10_STEP, n_pix)
    try:
        batch = Rebinner(grid, resolving_power=1e6)([spectrum])
    except BadSpectrum:
        return None
    normalised = Normaliser(_SIGMA_PIX)(batch)
    ivar = normalised.ivar[0].astype(np.float64)
    if not ivar.any():
        return None
    norm = normalised.norm[0].astype(np.float64)
    wave = grid.wave / (1 + rv_kms / LIGHT_KMS)
    smooth = _smooth(norm, ivar, _smoothing_pix(finding, spectrum, wave))
    return Trace(wave, np.where(ivar > 0, norm, np.nan), smooth)


def rest_wave(finding: Finding, spectrum: Spectrum) -> Array:
    """Return the survey's pixels as vacuum wavelengths in the star's rest frame."""
    wave = spectrum.grid.wave if spectrum.medium == "vacuum" else air_to_vacuum(spectrum.grid.wave)
    return np.asarray(wave / (1 + _applied_rv_kms(finding, spectrum) / LIGHT_KMS))


def named_windows() -> dict[str, tuple[float, float]]:
    """Return the named windows, in vacuum Å."""
    return {
        name: (float(low), float(high))
        for name, (low, high) in ((name, air_to_vacuum(np.array(w))) for name, w in NAMED_WINDOWS)
    }


def _applied_rv_kms(finding: Finding, spectrum: Spectrum) -> float:
    return 0.0 if spectrum.frame == "rest" or finding.rv_kms is None else finding.rv_kms


def _smoothing_pix(finding: Finding, spectrum: Spectrum, wave: Array) -> float:
    """Return the smoothing σ in pixels: half a resolution element's, four times that at S/N 15."""
    step = float(np.median(np.diff(np.log(wave)))) if wave.size > 1 else 1.0
    resolution_pix = 1 / spectrum.typical_resolving_power / 2.355 / step
    return float(np.clip(np.clip(30 / max(finding.snr, 1.0), 0.5, 2.0) * resolution_pix, 0.5, 50.0))


def _smooth(values: Array, ivar: Array, sigma_pix: float) -> Array:
    """Gaussian mean weighted by ivar; NaN where no pixel is good within reach."""
    reach = int(np.ceil(3 * sigma_pix))
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma_pix) ** 2)
    weight = np.convolve(ivar, kernel, mode="same")
    total = np.convolve(ivar * values, kernel, mode="same")
    is_seen = weight > 1e-6 * np.max(weight, initial=0.0)
    return np.where(is_seen, total / np.where(is_seen, weight, 1.0), np.nan)
