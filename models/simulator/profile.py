"""Survey profiles: the effects of telescope and instrument on a spectrum, as data that users can extend.

A profile is a TOML file in ``profiles/`` or anywhere else. Unknown keys are refused, so that a misspelt one
is not silently ignored.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from cempstream.processors.grid import Array, LinearGrid, LogGrid, WavelengthGrid, air_to_vacuum
from cempstream.processors.spectrum import FluxUnit, Medium

PROFILES = Path(__file__).parent / "profiles"

Fraction: TypeAlias = Annotated[float, Field(ge=0.0, le=1.0)]
NotNegative: TypeAlias = Annotated[float, Field(ge=0.0)]
Positive: TypeAlias = Annotated[float, Field(gt=0.0)]


class FrozenTable(BaseModel):
    """A table of a TOML file: read once, never changed, no unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Nodes(FrozenTable):
    """A smooth function of wavelength, linear between nodes and constant beyond them.

    Attributes
    ----------
    wave_aa
        Vacuum Å, increasing.
    value
        One for each wavelength.
    """

    wave_aa: tuple[float, ...]
    value: tuple[float, ...]

    @model_validator(mode="after")
    def _check(self) -> Nodes:
        if len(self.wave_aa) != len(self.value) or len(self.wave_aa) == 0:
            raise ValueError(f"{len(self.wave_aa)} wavelengths and {len(self.value)} values; give as many")
        if any(b <= a for a, b in zip(self.wave_aa, self.wave_aa[1:], strict=False)):
            raise ValueError("'wave_aa' must increase")
        return self

    def at(self, wave: Array) -> Array:
        """Return the curve at these wavelengths (vacuum Å)."""
        return np.asarray(np.interp(wave, self.wave_aa, self.value))


class GridTable(FrozenTable):
    """Pixels: ``log10`` (start and step in dex) or ``linear`` (in Å)."""

    kind: Literal["log10", "linear"]
    start: float
    step: Positive
    n_pix: Annotated[int, Field(ge=2)]

    @property
    def grid(self) -> WavelengthGrid:
        """The grid as in the packets."""
        if self.kind == "log10":
            return LogGrid(self.start, self.step, self.n_pix)
        return LinearGrid(self.start, self.step, self.n_pix)


class Grating(FrozenTable):
    """One spectrograph arm or grating, whose spectrum is one packet.

    Attributes
    ----------
    name
        Given in the packet; empty where the survey joins its arms.
    resolving_power
        λ/FWHM as a function of wavelength.
    declared_power
        Value in the packet; 0 for the true one, pixel by pixel.
    power_scatter
        Relative 1σ between fibres.
    throughput
        Electrons per photon that hits the primary mirror, without the losses at the aperture.
    """

    name: str = ""
    pixels: GridTable
    medium: Medium = "vacuum"
    resolving_power: Nodes
    declared_power: NotNegative = 0.0
    power_scatter: Fraction = 0.0
    throughput: Nodes

    @property
    def wave(self) -> Array:
        """Pixel centres in vacuum Å."""
        wave = self.pixels.grid.wave
        return wave if self.medium == "vacuum" else air_to_vacuum(wave)


class ExposureProfile(FrozenTable):
    """How much light is collected, and its sources of noise.

    Attributes
    ----------
    aperture_arcsec2
        Area of sky in a fibre or in the extraction of a slitless trace.
    aperture_fraction
        Share of a point source's light within it.
    aperture_scatter
        Relative 1σ of that share between fibres.
    sky_mag_arcsec2
        AB magnitude of a square arcsec of sky.
    line_sky
        Strength of the airglow lines over that of a dark site; 0 in space.
    n_rows
        Detector rows summed for a pixel of the spectrum.
    """

    area_cm2: Positive
    exposure_s: Positive
    n_exposures: Annotated[int, Field(ge=1)] = 1
    aperture_arcsec2: Positive
    aperture_fraction: Fraction = 1.0
    aperture_scatter: Fraction = 0.0
    sky_mag_arcsec2: Nodes
    line_sky: NotNegative = 1.0
    n_rows: Positive = 1.0
    read_noise_e: NotNegative
    dark_e_per_s: NotNegative = 0.0


class Magnitudes(FrozenTable):
    """Which stars are observed: AB magnitudes in a box-shaped band, N(m) ∝ 10^(slope m)."""

    name: str
    band_aa: tuple[float, float]
    bright: float
    faint: float
    slope: float
    error: Positive = 0.02


class Faults(FrozenTable):
    """Errors and artefacts of observation and reduction.

    Attributes
    ----------
    calibration_error
        1σ of the smooth error of the flux calibration, relative.
    calibration_scale_aa
        Scale in Å over which it changes.
    sky_residual
        1σ of the residuals of sky lines, relative to the lines.
    telluric
        Share of the O2 and water bands left in the spectra: 1 where they are not corrected.
    cosmic_rays
        Mean number per spectrum that remain; a share ``cosmic_rays_flagged`` of them is masked.
    bad_columns
        Mean number of masked runs of pixels.
    ivar_error
        1σ of ln(published ivar / true), between spectra.
    velocity_zero_kms
        1σ of the wavelength calibration.
    zero_point_pix
        Slitless: the zero point is wrong by up to this many pixels, uniformly.
    """

    calibration_error: NotNegative = 0.0
    calibration_scale_aa: Positive = 1000.0
    sky_residual: NotNegative = 0.0
    telluric: Fraction = 0.0
    cosmic_rays: NotNegative = 0.0
    cosmic_rays_flagged: Fraction = 0.8
    bad_columns: NotNegative = 0.0
    ivar_error: NotNegative = 0.0
    velocity_zero_kms: NotNegative = 0.0
    zero_point_pix: NotNegative = 0.0


class Slitless(FrozenTable):
    """Effects that only slitless spectra have.

    Attributes
    ----------
    extended
        Share of the stars that look extended (bad focus, close pairs), besides the galaxies.
    largest_blur
        Line-spread functions of extended sources are wider by up to this factor.
    contaminated
        Share of the spectra on which a neighbour's trace falls.
    contamination_error
        1σ of ln(published contamination / true).
    """

    extended: Fraction = 0.05
    largest_blur: Positive = 3.0
    contaminated: Fraction = 0.2
    contamination_error: NotNegative = 0.2


class SurveyProfile(FrozenTable):
    """One survey.

    Attributes
    ----------
    source
        References for the figures.
    flux_unit
        ``relative``: calibrated up to a factor; ``absolute``: 1e-17 erg/s/cm²/Å.
    exposure_size
        Spectra of one exposure, which share an ``exposure_id``.
    """

    survey: str
    source: str
    flux_unit: FluxUnit
    reduction_version: str = "simulated"
    exposure_size: Annotated[int, Field(ge=1)]
    grating: tuple[Grating, ...] = Field(min_length=1)
    exposure: ExposureProfile
    magnitudes: Magnitudes
    faults: Faults = Faults()
    slitless: Slitless | None = None


def load_profile(name: str | Path) -> SurveyProfile:
    """Read a profile by its name (``lamost``, ``sdss``, ``desi``, ``csst``) or its path.

    Raises
    ------
    FileNotFoundError
        No such profile; the message lists those that there are.
    pydantic.ValidationError
        A key is misspelt or a value impossible.
    """
    path = Path(name)
    if path.suffix != ".toml":
        path = PROFILES / f"{name}.toml"
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in PROFILES.glob("*.toml")))
        raise FileNotFoundError(f"no profile '{name}'; there are {known}, or give the path of a TOML file")
    return SurveyProfile.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
