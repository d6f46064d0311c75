"""An instrument at its telescope, from a TOML file: what exposure times and limits need to know of it."""

from __future__ import annotations

import tomllib
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from cempstream.errors import FixableError
from cempstream.plain import shown

INSTRUMENTS = Path(__file__).parent / "instruments"

_Positive = Annotated[float, Field(gt=0.0, allow_inf_nan=False)]
_NotNegative = Annotated[float, Field(ge=0.0, allow_inf_nan=False)]
_Fraction = Annotated[float, Field(gt=0.0, le=1.0)]


class InstrumentError(FixableError, ValueError):
    """There is no such instrument, or its file is wrong; the message names the entry."""


class _Table(BaseModel):
    """A table of the file: read once, never changed, no unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Curve(_Table):
    """A function of wavelength, linear between nodes; beyond those of efficiency nothing is seen."""

    wave_aa: tuple[_Positive, ...] = Field(min_length=2)
    value: tuple[float, ...]

    @model_validator(mode="after")
    def _check(self) -> Curve:
        if len(self.wave_aa) != len(self.value) or list(self.wave_aa) != sorted(set(self.wave_aa)):
            raise ValueError("'wave_aa' must increase and have as many entries as 'value'")
        return self

    def at(self, wave_aa: float) -> float:
        """Return the value at a wavelength."""
        return float(np.interp(wave_aa, self.wave_aa, self.value))


class Limits(_Table):
    """Where and what the telescope may point at.

    Attributes
    ----------
    min_altitude_deg
        Lower than this the telescope does not go.
    bright_mag, faint_mag
        Magnitudes, of whatever band an alert carries, beyond which nothing is planned.
    max_star_s
        A star that needs a longer exposure than this in all is too faint.
    """

    max_airmass: Annotated[float, Field(ge=1.0, le=10.0)] = 2.0
    min_altitude_deg: Annotated[float, Field(ge=0.0, lt=90.0)] = 20.0
    min_moon_distance_deg: Annotated[float, Field(ge=0.0, le=180.0)] = 30.0
    bright_mag: float = 0.0
    faint_mag: float = 30.0
    max_star_s: _Positive = 7200.0


class Lco(_Table):
    """What a request to the queue of Las Cumbres Observatory says of the instrument, in LCO's own words."""

    instrument_type: str = Field(min_length=1)
    configuration_type: str = "SPECTRUM"
    telescope_class: str = Field(min_length=1)
    mode: str = "default"
    rotator_mode: str = ""
    optical_elements: dict[str, str] = Field(default_factory=dict)
    acquisition_mode: str = "WCS"
    guiding_mode: str = "ON"


class Instrument(_Table):
    """A spectrograph at its telescope.

    Attributes
    ----------
    area_cm2
        Collecting area.
    resolving_power, pixels_per_element
        λ/FWHM, and detector pixels in one FWHM.
    aperture_arcsec2
        Sky in one wavelength's extraction: slit width times extracted height, or the fibre.
    aperture_fraction
        Share of the star's light in the aperture, in usual seeing.
    n_rows
        Detector pixels across the extraction.
    read_noise_e, dark_e_per_h
        Electrons per pixel, and per pixel and hour.
    acquisition_s, readout_s
        Lost once per star, and once per exposure.
    max_exposure_s
        A longer one is split.
    efficiency
        Electrons per photon above the telescope, without slit and atmosphere.
    extinction_mag
        Of the atmosphere, per airmass.
    sky_mag_arcsec2
        AB magnitude of the dark sky.
    """

    name: str = Field(min_length=1)
    source: str = ""
    area_cm2: _Positive
    resolving_power: _Positive
    pixels_per_element: Annotated[float, Field(ge=1.0, le=100.0)] = 2.5
    aperture_arcsec2: _Positive
    aperture_fraction: _Fraction = 0.7
    n_rows: Annotated[float, Field(ge=1.0, le=1000.0)]
    read_noise_e: _NotNegative
    dark_e_per_h: _NotNegative = 0.0
    acquisition_s: _NotNegative
    readout_s: _NotNegative
    max_exposure_s: _Positive = 1800.0
    efficiency: Curve
    extinction_mag: Curve
    sky_mag_arcsec2: Curve
    limits: Limits = Limits()
    lco: Lco | None = None

    @model_validator(mode="after")
    def _check(self) -> Instrument:
        if not all(0.0 < value <= 1.0 for value in self.efficiency.value):
            raise ValueError("every 'efficiency' must be above 0 and not above 1")
        return self

    def sees(self, wave_aa: float) -> bool:
        """Say whether a wavelength is within the nodes of the efficiency."""
        return self.efficiency.wave_aa[0] <= wave_aa <= self.efficiency.wave_aa[-1]

    def pixel_aa(self, wave_aa: float) -> float:
        """Return the width of a pixel in Å."""
        return wave_aa / self.resolving_power / self.pixels_per_element


def shipped_instruments() -> tuple[str, ...]:
    """Return the names of the examples that come with the package."""
    return tuple(sorted(path.stem for path in INSTRUMENTS.glob("*.toml")))


def load_instrument(name: str | Path) -> Instrument:
    """Read an instrument: the path of a TOML file, or the name of an example.

    Raises
    ------
    InstrumentError
        There is none, it is not TOML, or an entry is missing, unknown or impossible.
    """
    path = Path(name)
    if path.suffix != ".toml":
        path = INSTRUMENTS / f"{name}.toml"
        if path.parent != INSTRUMENTS or not path.is_file():
            raise InstrumentError(_no_such(str(name)))
    try:
        return Instrument.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InstrumentError(f"{shown(path)} is not TOML: {error}") from None
    except ValidationError as error:
        raise InstrumentError(f"{shown(path)}: {_fault(error)}") from None


def _no_such(name: str) -> str:
    known = shipped_instruments()
    near = get_close_matches(name, known, n=1)
    meant = f"did you mean {near[0]}?" if near else f"examples are {', '.join(known)};"
    return f"there is no instrument {shown(name, longest=60)!r}; {meant} or give the path of a TOML file"


def _fault(error: ValidationError) -> str:
    # A misspelt entry is also a missing one; its own name says more.
    first: Any = min(error.errors(), key=lambda fault: fault["type"] != "extra_forbidden")
    place = ".".join(map(str, first["loc"]))
    if first["type"] == "extra_forbidden":
        near = get_close_matches(str(first["loc"][-1]), [*Instrument.model_fields, *Limits.model_fields], n=1)
        return f"{shown(place)} is not known" + (f"; did you mean {near[0]}?" if near else "")
    if first["type"] == "missing":
        return f"{place} is missing"
    value = "" if isinstance(first["input"], dict) else f" {shown(first['input'], longest=40)}:"
    return f"{place}{value} {first['msg'].removeprefix('Value error, ')}"
