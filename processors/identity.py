"""The version of a spectrum whose survey gives none: a hash of its content.

A record is identified by survey, spectrum id and reduction version. Without a version, two files of one name,
or two rows with one id, would be one record, and a subscriber would see one alert instead of two.
"""

from __future__ import annotations

from hashlib import blake2b

import numpy as np

from cempstream.processors.grid import Array

_PREFIX = "content-"
#: Wavelengths are rounded to this many Å: computed ones differ in their last digits between machines.
_WAVE_STEP_AA = 1e-4


def content_version(wave: Array, flux: Array, ivar: Array | None) -> str:
    """Return a version computed from a spectrum's content: the same for a repeat, different after a change.

    Parameters
    ----------
    wave
        Å, shape ``(n_pix,)``.
    flux, ivar
        float32, shape ``(n_pix,)``; ivar is None where it was estimated.
    """
    digest = blake2b(digest_size=8)
    digest.update(np.rint(np.asarray(wave, np.float64) / _WAVE_STEP_AA).astype("<i8").tobytes())
    digest.update(flux.astype("<f4").tobytes())
    if ivar is not None:
        digest.update(ivar.astype("<f4").tobytes())
    return _PREFIX + digest.hexdigest()


def stated_version(reduction_version: str) -> str:
    """Return the version a survey itself gives, the same for all spectra of an exposure; '' if none."""
    return "" if reduction_version.startswith(_PREFIX) else reduction_version
