"""Convert labels to the number fractions of the elements."""

from __future__ import annotations

import numpy as np

from cempstream.models.synthesis.grid_stars import Star
from cempstream.processors.grid import Array

#: The Sun's photosphere, log10(N/N_H) + 12 for Z = 1 to 92 (Asplund et al. 2009, ARA&A 47, 481, table 1); "-"
#: where it gives no value: the library leaves those elements out instead of using meteoritic values.
_SOLAR_PHOTOSPHERE = """
    12.00 10.93  1.05  1.38  2.70  8.43  7.83  8.69  4.56  7.93  6.24  7.60  6.45  7.51
     5.41  7.12  5.50  6.40  5.03  6.34  3.15  4.95  3.93  5.64  5.43  7.50  4.99  6.22
     4.19  4.56  3.04  3.65     -     -     -  3.25  2.52  2.87  2.21  2.58  1.46  1.88
        -  1.75  0.91  1.57  0.94     -  0.80  2.04     -     -     -  2.24     -  2.18
     1.10  1.58  0.72  1.42     -  0.96  0.52  1.07  0.30  1.10  0.48  0.92  0.10  0.84
     0.10  0.85     -  0.85     -  1.40  1.38     -  0.92     -  0.90  1.75     -     -
        -     -     -     -     -  0.02     -     -
"""

#: log10(N/N_H) + 12 that means "none"; Synspec needs a positive number for each of its 99 elements.
_NONE = -9.99
N_ELEMENTS = 99

SOLAR_LOG_EPS = np.full(N_ELEMENTS, _NONE)
for _z, _word in enumerate(_SOLAR_PHOTOSPHERE.split(), start=1):
    SOLAR_LOG_EPS[_z - 1] = _NONE if _word == "-" else float(_word)
SOLAR_LOG_EPS.setflags(write=False)

_C, _N, _O = 6, 7, 8
_ALPHA = (10, 12, 14, 16, 18, 20, 22)  # Ne, Mg, Si, S, Ar, Ca, Ti
_HEAVY_S = (56, 57, 58, 59, 60, 82)  # Ba, La, Ce, Pr, Nd, Pb
_LIGHT_S = (38, 39, 40, 41, 42)  # Sr, Y, Zr, Nb, Mo
_LIGHT_S_SHARE = 0.7
_R = (*range(62, 74), 76, 77)  # Sm to Ta, Os, Ir


def number_fractions(star: Star) -> Array:
    """Return N(X)/N(H) of the elements Z = 1 to 99, shape ``(99,)``; helium stays solar."""
    log_eps = SOLAR_LOG_EPS.copy()
    log_eps[2:] += star.feh
    for elements, shift in (
        ((_C,), star.cfe),
        ((_N,), star.nfe),
        ((_O,), star.ofe),
        (_ALPHA, star.afe),
        (_HEAVY_S, star.sfe),
        (_LIGHT_S, _LIGHT_S_SHARE * star.sfe),
        (_R, star.rfe),
    ):
        log_eps[np.array(elements) - 1] += shift
    return np.asarray(10.0 ** (log_eps - 12.0))
