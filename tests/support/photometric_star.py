"""One star of which some photometry is known, for tests."""

from __future__ import annotations

import numpy as np

from cempstream.processors.photometry import PhotometricParameters, StarPhotometry, photometric_parameters


def one(value: float) -> np.ndarray:
    """Return a value as that of one star."""
    return np.array([value])


def star(**known: float) -> PhotometricParameters:
    """Return what photometry says of a star; what is not given is not known."""
    return photometric_parameters(StarPhotometry.of(1, **{name: one(value) for name, value in known.items()}))
