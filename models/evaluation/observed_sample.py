"""Chosen stars observed with a survey's profile at a chosen S/N or resolving power."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from cempstream.models.emulator.emulator import Emulator
from cempstream.models.emulator.labels import LABEL_NAMES
from cempstream.models.simulator import (
    Mix,
    Observed,
    SimulatedBatch,
    Sources,
    SurveyProfile,
    draw_sources,
    model_flux,
    observe,
    scale_to_magnitude,
)
from cempstream.models.simulator.profile import Faults, Grating, GridTable, Nodes, Slitless
from cempstream.models.simulator.simulator import TRUTH_DTYPE
from cempstream.models.training.star_labels import label_truth
from cempstream.processors.batch import NormalisedBatch
from cempstream.processors.chain import ProcessorChain
from cempstream.processors.grid import Array
from cempstream.processors.outcome import SUBCLASSES
from cempstream.processors.spectrum import Spectrum
from cempstream.processors.velocity import shift_to_rest

#: Magnitudes at which the S/N is computed, to interpolate the magnitude for a given S/N.
_TRIED = np.arange(8.0, 23.1, 2.5)
_NEVER = Slitless(extended=0.0, contaminated=0.0)


@dataclass(frozen=True, slots=True, eq=False)
class CleanStars:
    """Noise-free stars.

    Attributes
    ----------
    labels
        Columns ``LABEL_NAMES``, float64, shape ``(n, 11)``.
    flux
        At rest on ``EMULATOR_GRID``, any scale, float32.
    rv_kms
        Shape ``(n,)``.
    """

    labels: Array = field(repr=False)
    flux: Array = field(repr=False)
    rv_kms: Array = field(repr=False)

    def __len__(self) -> int:
        return len(self.labels)


def draw_stars(
    n: int, mix: Mix, emulator: Emulator, seed: int, wanted: Callable[[Array], Array]
) -> CleanStars:
    """Draw stars of a mix that a selection accepts, and compute their spectra."""
    rng = np.random.default_rng(seed)
    found: list[Sources] = []
    while sum(map(len, found)) < n:
        drawn = draw_sources(20_000, mix, rng)
        found.append(drawn.take(np.flatnonzero(drawn.is_star & wanted(drawn.labels))))
    joined = Sources(*(np.concatenate([getattr(s, name) for s in found])[:n] for name in Sources.__slots__))
    return CleanStars(joined.labels, model_flux(joined, emulator, rng), joined.rv_kms)


def repeat(stars: CleanStars, times: int) -> CleanStars:
    """Return several copies of all stars, one set after the other."""
    rv_kms = 150.0 * np.random.default_rng(times).standard_normal(times * len(stars))
    return CleanStars(np.tile(stars.labels, (times, 1)), np.tile(stars.flux, (times, 1)), rv_kms)


def join(*parts: CleanStars) -> CleanStars:
    """Return the stars of several samples as one."""
    names = ("labels", "flux", "rv_kms")
    return CleanStars(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def is_metal_poor(labels: Array) -> Array:
    """Return which stars have [Fe/H] < -1."""
    return np.asarray(labels[:, LABEL_NAMES.index("feh")] < -1.0)


def is_cemp(labels: Array) -> Array:
    """Return which stars are CEMP stars."""
    return is_metal_poor(labels) & (labels[:, LABEL_NAMES.index("cfe")] >= 0.7)


def is_carbon_normal(labels: Array) -> Array:
    """Return which metal-poor stars are far from being CEMP."""
    return is_metal_poor(labels) & (labels[:, LABEL_NAMES.index("cfe")] < 0.35)


def snr_curve(stars: CleanStars, profile: SurveyProfile, seed: int) -> Array:
    """Return the median S/N per Å of each star at the tried magnitudes, shape ``(n_tried, n)``."""
    rng = np.random.default_rng(seed)
    grating = profile.grating[0]
    return np.stack([_observe(stars, np.full(len(stars), m), profile, grating, rng).snr for m in _TRIED])


def magnitude_at(curve: Array, snr: float) -> float:
    """Return the magnitude at which half of the stars of ``snr_curve`` have more than this S/N."""
    known = np.log(np.maximum(np.median(curve, axis=1)[::-1], 1e-3))
    return float(np.interp(np.log(snr), known, _TRIED[::-1]))


def observe_at(
    stars: CleanStars, profile: SurveyProfile, snr: float, seed: int, curve: Array
) -> SimulatedBatch:
    """Observe stars with the first grating of a profile at a median S/N per Å.

    Parameters
    ----------
    curve
        From ``snr_curve``; S/N per Å depends on the magnitude and very little on the resolution.
    """
    rng = np.random.default_rng(seed)
    grating = profile.grating[0]
    known = np.log(np.maximum(curve[::-1], 1e-3))
    magnitude = np.array([np.interp(np.log(snr), column, _TRIED[::-1]) for column in known.T])
    return _batch(stars, _observe(stars, magnitude, profile, grating, rng), profile, grating)


def observe_clean(stars: CleanStars, profile: SurveyProfile, seed: int) -> SimulatedBatch:
    """Observe stars so bright that noise is negligible."""
    rng = np.random.default_rng(seed)
    grating = profile.grating[0]
    seen = _observe(stars, np.full(len(stars), 2.0), profile, grating, rng)
    return _batch(stars, seen, profile, grating)


def without_faults(profile: SurveyProfile) -> SurveyProfile:
    """Return a profile whose only imperfections are resolution and noise."""
    exposure = profile.exposure.model_copy(update={"aperture_scatter": 0.0})
    gratings = tuple(g.model_copy(update={"power_scatter": 0.0}) for g in profile.grating)
    slitless = None if profile.slitless is None else _NEVER
    changed = {"faults": Faults(), "exposure": exposure, "grating": gratings, "slitless": slitless}
    return profile.model_copy(update=changed)


def at_resolution(profile: SurveyProfile, power: float, pixels_per_fwhm: float = 2.5) -> SurveyProfile:
    """Return a profile with another resolving power, the same everywhere, over the same wavelengths."""
    grating = profile.grating[0]
    wave = grating.wave
    step = 1.0 / (power * pixels_per_fwhm * np.log(10.0))
    start = float(np.log10(wave[0]))
    n_pix = int((np.log10(wave[-1]) - start) / step)
    changed = {
        "pixels": GridTable(kind="log10", start=start, step=step, n_pix=n_pix),
        "medium": "vacuum",
        "resolving_power": Nodes(wave_aa=(float(wave[0]), float(wave[-1])), value=(power, power)),
        "declared_power": power,
    }
    return profile.model_copy(update={"grating": (grating.model_copy(update=changed),)})


def rest_frame(batch: SimulatedBatch, chain: ProcessorChain) -> NormalisedBatch:
    """Return spectra as the networks get them, moved by their true velocity."""
    spectra: list[Spectrum] = batch.spectra()
    return shift_to_rest(chain.normalise(chain.rebin(spectra)), batch.truth["rv_kms"].astype(np.float64))


def rest_frame_as_served(batch: SimulatedBatch, chain: ProcessorChain) -> NormalisedBatch:
    """Return spectra as the networks get them, moved by the velocity that the service measures."""
    seen = chain.normalise(chain.rebin(batch.spectra()))
    return shift_to_rest(seen, chain.find_velocity(seen).rv_kms)


def _observe(
    stars: CleanStars, magnitude: Array, profile: SurveyProfile, grating: Grating, rng: np.random.Generator
) -> Observed:
    flux = scale_to_magnitude(stars.flux, magnitude, profile.magnitudes.band_aa)
    return observe(flux, stars.rv_kms, profile, grating, rng)


def _batch(stars: CleanStars, seen: Observed, profile: SurveyProfile, grating: Grating) -> SimulatedBatch:
    n = len(stars)
    known = label_truth(stars.labels)
    truth = np.zeros(n, dtype=TRUTH_DTYPE)
    truth["spectrum_id"] = [f"star-{i:05d}" for i in range(n)]
    # Equal labels mean the same star.
    _, number = np.unique(stars.labels, axis=0, return_inverse=True)
    truth["object_id"] = [f"star-{i:05d}" for i in number]
    truth["kind"], truth["weight"] = "giant", 1.0
    for column, name in enumerate(LABEL_NAMES):
        truth[name] = stars.labels[:, column]
    truth["ac"] = known.parameters[:, 4]
    truth["is_cemp"], truth["is_cemp_corrected"] = known.is_cemp, known.is_cemp_corrected
    names = np.array([*SUBCLASSES, ""])
    truth["subclass"] = np.where(known.is_cemp, names[known.subclass], "")
    truth["rv_kms"], truth["snr"] = stars.rv_kms, seen.snr
    return SimulatedBatch(profile, grating, f"{profile.survey}-sample", seen, truth, np.zeros((n, 2)))
