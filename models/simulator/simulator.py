"""Simulate a survey's night, reproducible from its seed: spectra as in packets, with the truth."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import numpy as np

from cempstream.models.carbon_evolution import carbon_correction
from cempstream.models.emulator.emulator import Emulator
from cempstream.models.emulator.labels import LABEL_NAMES
from cempstream.models.simulator.light import model_flux, redden, scale_to_magnitude
from cempstream.models.simulator.mix import Mix
from cempstream.models.simulator.observe import Observed, observe
from cempstream.models.simulator.profile import Grating, Magnitudes, SurveyProfile
from cempstream.models.simulator.sources import KINDS, SOLAR_CARBON, Sources, draw_sources
from cempstream.models.simulator.strata import Strata, draw_stratified
from cempstream.processors.grid import Array
from cempstream.processors.spectrum import Spectrum

#: Sources simulated at once; the first spectra of a night are the same for any number of spectra.
BLOCK = 256

#: When a simulated night begins.
NIGHT = datetime(2026, 1, 1, tzinfo=UTC)

TRUTH_DTYPE = np.dtype(
    [
        ("spectrum_id", "U40"),
        ("object_id", "U32"),
        ("grating", "U8"),
        ("kind", "U16"),
        ("population", "U16"),
        *((name, "f4") for name in LABEL_NAMES),
        ("ac", "f4"),
        ("cfe_corrected", "f4"),
        ("is_cemp", "?"),
        ("is_cemp_corrected", "?"),
        ("subclass", "U16"),
        ("rv_kms", "f4"),
        ("ebv", "f4"),
        ("magnitude", "f4"),
        ("snr", "f4"),
        ("weight", "f8"),
    ]
)


@dataclass(frozen=True, slots=True, eq=False)
class SimulatedBatch:
    """Spectra of some sources through one grating.

    Attributes
    ----------
    observed
        The arrays as published.
    truth
        Structured array of ``TRUTH_DTYPE``, shape ``(n,)``; labels are NaN for sources that are not
        stars of the library. ``weight`` is the number of natural sources that a row represents.
    visit
        Nights since the first one.
    """

    profile: SurveyProfile
    grating: Grating
    exposure_id: str
    observed: Observed = field(repr=False)
    truth: Array = field(repr=False)
    position_deg: Array = field(repr=False)
    visit: int = 0

    def __len__(self) -> int:
        return len(self.truth)

    def spectra(self, *, reduced_at: datetime | None = None) -> list[Spectrum]:
        """Return the rows as a reader would.

        Parameters
        ----------
        reduced_at
            When the survey's pipeline ended, UTC; by default a time in the night.
        """
        grid = self.grating.pixels.grid
        power = self.observed.resolving_power
        zero_pix = self.profile.faults.zero_point_pix
        zero_aa = zero_pix / 3**0.5 * float(np.median(np.gradient(grid.wave))) if zero_pix else None
        contamination = self.observed.contamination
        band = self.profile.magnitudes
        spectra = []
        began = NIGHT + timedelta(days=self.visit)
        ended = began + timedelta(seconds=self.profile.exposure.exposure_s)
        for row, facts in enumerate(self.truth):
            spectra.append(
                Spectrum(
                    spectrum_id=str(facts["spectrum_id"]),
                    survey=self.profile.survey,
                    object_id=str(facts["object_id"]),
                    exposure_id=self.exposure_id,
                    exposure_size=self.profile.exposure_size,
                    reduction_version=self.profile.reduction_version,
                    grid=grid,
                    flux=self.observed.flux[row],
                    ivar=self.observed.ivar[row],
                    mask=self.observed.mask[row],
                    contamination=None if contamination is None else contamination[row],
                    medium=self.grating.medium,
                    resolving_power=power if isinstance(power, float) or power.ndim == 1 else power[row],
                    wave_zero_error_aa=zero_aa,
                    flux_unit=self.profile.flux_unit,
                    grating=self.grating.name or None,
                    observed_at=began,
                    reduced_at=reduced_at or ended,
                    ra=float(self.position_deg[row, 0]),
                    dec=float(self.position_deg[row, 1]),
                    photometry={band.name: (float(facts["magnitude"]), band.error)},
                )
            )
        return spectra


def simulate(
    profile: SurveyProfile,
    n: int,
    seed: int,
    mix: Mix,
    *,
    strata: Strata | None = None,
    visits: int = 1,
    emulator: Emulator | None = None,
) -> Iterator[SimulatedBatch]:
    """Simulate ``n`` spectra; the same seed gives the same bytes, whatever ``n``.

    Where a survey has several gratings, each source yields one spectrum through each; ``n`` counts spectra.

    Parameters
    ----------
    visits
        Nights on which each source is observed, each with its own noise and faults.
    strata
        Keep only a share of the easy sources, with larger weights; without it every weight is 1.
    emulator
        The shipped one by default.
    """
    emulator = emulator or Emulator.load()
    n_each = len(profile.grating) * visits
    n_left = n
    block = 0
    while n_left > 0:
        n_sources = min(BLOCK, -(-n_left // n_each))
        for index, batch in enumerate(_block(profile, seed, block, mix, strata, visits, emulator)):
            # With two gratings and an odd n the second spectrum of the last source is left out.
            n_rows = min(n_sources, (n_left + n_each - 1 - index) // n_each)
            if n_rows > 0:
                yield _first_rows(batch, n_rows)
        n_left -= n_sources * n_each
        block += 1


def _block(
    profile: SurveyProfile,
    seed: int,
    block: int,
    mix: Mix,
    strata: Strata | None,
    visits: int,
    emulator: Emulator,
) -> Iterator[SimulatedBatch]:
    rng = np.random.default_rng([seed, block])
    if strata is None:
        sources, weight = draw_sources(BLOCK, mix, rng), np.ones(BLOCK)
    else:
        sources, weight = draw_stratified(BLOCK, mix, strata, rng)
    magnitude = draw_magnitudes(len(sources), profile.magnitudes, rng)
    flux = redden(model_flux(sources, emulator, rng), sources.ebv)
    flux = scale_to_magnitude(flux, magnitude, profile.magnitudes.band_aa)
    position = np.stack(
        [
            rng.uniform(0, 360, len(sources)),
            np.degrees(np.arcsin(rng.uniform(-0.2, 1.0, len(sources)))),
        ],
        axis=1,
    )
    first = block * BLOCK
    exposure_id = f"{profile.survey}-simulated-{seed}-{first // profile.exposure_size:04d}"
    for visit in range(visits):
        later = f"-v{visit + 1}" if visits > 1 else ""
        for grating in profile.grating:
            observed = observe(flux, sources.rv_kms, profile, grating, rng)
            truth = _truth(sources, mix, grating, f"sim-{seed}-", first)
            truth["spectrum_id"] = np.char.add(truth["spectrum_id"], later)
            truth["magnitude"], truth["snr"], truth["weight"] = magnitude, observed.snr, weight
            yield SimulatedBatch(
                profile, grating, exposure_id + later, observed, truth, position, visit=visit
            )


def draw_magnitudes(n: int, magnitudes: Magnitudes, rng: np.random.Generator) -> Array:
    """Draw magnitudes between the limits with N(m) ∝ 10^(slope m), shape ``(n,)``."""
    u = rng.random(n)
    if magnitudes.slope == 0:
        return magnitudes.bright + u * (magnitudes.faint - magnitudes.bright)
    low, high = (10 ** (magnitudes.slope * m) for m in (magnitudes.bright, magnitudes.faint))
    return np.asarray(np.log10(low + u * (high - low)) / magnitudes.slope)


def _truth(sources: Sources, mix: Mix, grating: Grating, prefix: str, first: int) -> Array:
    truth = np.zeros(len(sources), dtype=TRUTH_DTYPE)
    numbers = [f"{prefix}{first + i:08d}" for i in range(len(sources))]
    suffix = f"-{grating.name}" if grating.name else ""
    truth["object_id"] = numbers
    truth["spectrum_id"] = [number + suffix for number in numbers]
    truth["grating"] = grating.name
    truth["kind"] = np.array(KINDS)[sources.kind]
    is_star = sources.is_star
    truth["population"] = np.where(is_star, np.array(list(mix.population))[sources.population], "")
    for column, name in enumerate(LABEL_NAMES):
        truth[name] = np.where(is_star, sources.labels[:, column], np.nan)
    logg, feh, cfe = sources.labels[:, 1:4].T
    corrected = cfe + carbon_correction(logg, feh, cfe)
    truth["ac"] = np.where(is_star, cfe + feh + SOLAR_CARBON, np.nan)
    truth["cfe_corrected"] = np.where(is_star, corrected, np.nan)
    truth["is_cemp"] = is_star & (feh < -1.0) & (cfe >= 0.7)
    truth["is_cemp_corrected"] = is_star & (feh < -1.0) & (corrected >= 0.7)
    truth["subclass"] = np.where(truth["is_cemp"], _subclass(sources.labels), "")
    truth["rv_kms"], truth["ebv"] = sources.rv_kms, sources.ebv
    return truth


def _subclass(labels: Array) -> Array:
    """Return the CEMP subclass by Beers & Christlieb (2005); r/s counts as s, the gap as undetermined."""
    bafe, eufe = labels[:, LABEL_NAMES.index("sfe")], labels[:, LABEL_NAMES.index("rfe")]
    return np.select(
        [bafe < 0, (eufe > 1) & (bafe < eufe), (bafe > 1) & (bafe > eufe)],
        ["cemp_no", "cemp_r", "cemp_s"],
        "undetermined",
    )


def _first_rows(batch: SimulatedBatch, n: int) -> SimulatedBatch:
    if n == len(batch):
        return batch
    seen = batch.observed
    power = seen.resolving_power
    return SimulatedBatch(
        batch.profile,
        batch.grating,
        batch.exposure_id,
        Observed(
            flux=seen.flux[:n],
            ivar=seen.ivar[:n],
            mask=seen.mask[:n],
            resolving_power=power if isinstance(power, float) or power.ndim == 1 else power[:n],
            contamination=None if seen.contamination is None else seen.contamination[:n],
            snr=seen.snr[:n],
        ),
        batch.truth[:n],
        batch.position_deg[:n],
        visit=batch.visit,
    )
