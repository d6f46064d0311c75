"""Where in a spectrum carbon shows: what the attention of the classifier is taught to look at.

The emulator knows the answer: the same star computed with solar [C/Fe] differs from itself where carbon
absorbs, and the squared difference times the inverse variance is the information that each part of the
spectrum holds at its noise. The attribution so has a ground truth, and need not be whatever attention finds
convenient ("right for the right reasons", Ross et al. 2017).
"""

from __future__ import annotations

import numpy as np

from cempstream.models.emulator.emulator import Emulator
from cempstream.models.emulator.labels import LABEL_NAMES, move_into_range
from cempstream.models.training.dataset import Dataset
from cempstream.models.training.star_labels import COLUMN
from cempstream.processors.batch import SpectrumBatch
from cempstream.processors.continuum import Normaliser
from cempstream.processors.grid import Array, LogGrid
from cempstream.processors.outcome import PARAMETERS

#: Where carbon really absorbs, vacuum Å: CH and CN of the blue, C2 (Swan), CN (red system).
REAL_BANDS_AA = (
    (3600.0, 4470.0),
    (4600.0, 4752.0),
    (4975.0, 5175.0),
    (5340.0, 5642.0),
    (5880.0, 6195.0),
    (6900.0, 7090.0),
    (7850.0, 8150.0),
    (9080.0, 10000.0),
)
_EDGE_AA = 10.0
#: Stars with less carbon have nothing to be pointed at.
_MIN_CFE, _MAX_FEH = 0.4, -0.7
#: No pixel knows its flux better than this.
_MODEL_ERROR = 0.02
#: What the data do not hold of a star is taken as this.
_TYPICAL = {"nfe": 0.4, "ofe": 0.35, "afe": 0.35, "rfe": 0.2, "r1213": 20.0, "vmic": 1.5}
_ROWS = 512


def carbon_information(
    data: Dataset, emulator: Emulator, grid: LogGrid, resolving_power: float, sigma_pix: float, n_tokens: int
) -> Array:
    """Return the share of each token in what a spectrum says of its carbon.

    Returns
    -------
    Array
        float32, shape ``(n, n_tokens)``; rows sum to 1, or to 0 where the star is not rich in carbon.
    """
    parameters = data.truth.parameters
    feh, cfe = (parameters[:, PARAMETERS.index(name)] for name in ("feh", "cfe"))
    rich = np.flatnonzero((data.truth.is_ood == 0) & (cfe > _MIN_CFE) & (feh < _MAX_FEH))
    sampled = emulator.at(resolving_power, grid)
    normalise = Normaliser(sigma_pix)
    real = real_share(grid.wave).astype(np.float32)
    share = np.zeros((len(data), n_tokens), dtype=np.float32)
    for first in range(0, rich.size, _ROWS):
        rows = rich[first : first + _ROWS]
        labels = _labels(parameters[rows])
        poor = labels.copy()
        poor[:, COLUMN["cfe"]] = 0.0
        poor = move_into_range(poor)
        ivar = np.asarray(data.ivar[rows], dtype=np.float32)
        seen = (ivar > 0).astype(np.float32)
        difference = np.zeros_like(ivar)
        for sign, some in ((1.0, labels), (-1.0, poor)):
            batch = SpectrumBatch(grid, sampled(some).norm * seen, seen)
            difference += np.float32(sign) * normalise(batch).norm
        # Outside of the real bands what carbon does to the emulator's flux is its own error.
        information = real * difference**2 * ivar / (1.0 + np.float32(_MODEL_ERROR**2) * ivar)
        total = information.reshape(len(rows), n_tokens, -1).sum(axis=2)
        share[rows] = total / (total.sum(axis=1, keepdims=True) + 1e-6)
    return share


def _labels(parameters: Array) -> Array:
    """Return emulator labels of stars of which only the regressed parameters are known."""
    labels = np.empty((len(parameters), len(LABEL_NAMES)))
    for name in LABEL_NAMES:
        labels[:, COLUMN[name]] = _TYPICAL.get(name, 0.0)
    for name, source in (("teff", "teff"), ("logg", "logg"), ("feh", "feh"), ("cfe", "cfe"), ("sfe", "bafe")):
        labels[:, COLUMN[name]] = parameters[:, PARAMETERS.index(source)]
    return move_into_range(labels)


def real_share(wave: Array) -> Array:
    """Return 1 where carbon really absorbs, 0 elsewhere, with soft edges; vacuum Å, shape of ``wave``."""
    share = np.zeros(wave.shape)
    for low, high in REAL_BANDS_AA:
        inside = np.minimum(wave - low, high - wave) / _EDGE_AA
        share = np.maximum(share, np.clip(inside + 0.5, 0.0, 1.0))
    return share
