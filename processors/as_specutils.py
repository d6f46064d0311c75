"""Convert a spectrum to a ``specutils.Spectrum``, which other astronomy packages read."""

from __future__ import annotations

from typing import Any

from cempstream.errors import FixableError, install_hint
from cempstream.processors.rebin import good_pixels
from cempstream.processors.spectrum import STAR_FACTS, Spectrum

#: Fields of a spectrum that go into ``meta`` under the same name.
_META = (
    "spectrum_id", "survey", "exposure_id", "reduction_version", "object_id", "ra", "dec", "epoch",
    "gaia_source_id", "observed_at", "reduced_at", "medium", "frame", "resolving_power", "rv_kms", "grating",
    "wave_zero_error_aa", "contamination", "photometry", *STAR_FACTS, "flags",
)  # fmt: skip


class NoSpecutils(FixableError, ImportError):
    """specutils is not installed."""


def to_specutils(spectrum: Spectrum) -> Any:
    """Return a spectrum as a ``specutils.Spectrum``.

    The spectral axis is in Å, in the medium and frame that ``meta`` gives; the flux in 1e-17 erg/s/cm²/Å, or
    without a unit where it is relative. The uncertainty is an inverse variance; the mask is true where a
    pixel is bad.

    Raises
    ------
    NoSpecutils
        specutils is not installed.
    """
    try:
        import specutils
        from astropy import units as u
        from astropy.nddata import InverseVariance
    except ImportError as error:
        raise NoSpecutils(f"it needs {error.name}: {install_hint('notebook')}") from error
    unit = u.Unit("1e-17 erg / (s cm2 Angstrom)") if spectrum.flux_unit == "absolute" else u.one
    return specutils.Spectrum(
        flux=u.Quantity(spectrum.flux, unit),
        spectral_axis=u.Quantity(spectrum.grid.wave, u.AA),
        uncertainty=InverseVariance(spectrum.ivar, unit=unit**-2),
        mask=~good_pixels(spectrum),
        meta={name: getattr(spectrum, name) for name in _META},
    )
