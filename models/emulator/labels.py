"""The labels of a synthetic star: their order, units and the region in which the library was computed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cempstream.processors.grid import Array


@dataclass(frozen=True, slots=True)
class Label:
    """One label and the closed interval that the library covers."""

    name: str
    low: float
    high: float
    unit: str


#: Order of the columns of every label array. Abundances are [X/Fe], 1D LTE, relative to Asplund et al. 2009;
#: ``sfe`` shifts Ba, La, Ce, Pr, Nd, Pb (0.7 of it Sr, Y, Zr, Nb, Mo), ``rfe`` Sm to Ta, Os and Ir.
LABELS = (
    Label("teff", 3900.0, 7000.0, "K"),
    Label("logg", 0.0, 5.0, "dex"),
    Label("feh", -4.0, 0.5, "dex"),
    Label("cfe", -0.6, 3.5, "dex"),
    Label("nfe", -0.4, 2.2, "dex"),
    Label("ofe", -0.1, 1.8, "dex"),
    Label("afe", -0.1, 0.6, "dex"),
    Label("sfe", -1.2, 2.5, "dex"),
    Label("rfe", -0.5, 1.8, "dex"),
    Label("r1213", 5.0, 89.0, "12C/13C"),
    Label("vmic", 0.65, 2.5, "km/s"),
)
LABEL_NAMES = tuple(label.name for label in LABELS)

#: Lowest log g that the model atmospheres allow, drawn linearly between these temperatures (K).
GIANT_LIMIT_TEFF = (3900.0, 4500.0, 6000.0, 7000.0)
GIANT_LIMIT_LOGG = (0.0, 0.3, 1.6, 2.6)

#: Carbon above this [C/H] was not computed.
MAX_CARBON_OVER_H = 0.6

#: Labels whose range depends on others, for messages.
DEPENDENT_LIMITS = {
    "logg": "at least 0.0, 0.3, 1.6, 2.6 at 3900, 4500, 6000, 7000 K",
    "cfe": f"at most {MAX_CARBON_OVER_H} - [Fe/H]",
    "nfe": "at most 1.0 from [Fe/H] = -1 on",
    "ofe": "[α/Fe] to [α/Fe] + 0.4 max(0, [C/Fe] - 0.5)",
    "sfe": "at most 1.0 from [Fe/H] = -0.7 on",
    "rfe": "at most 0.5 from [Fe/H] = -0.7 on",
    "vmic": "within 0.3 of max(0.7, 2.13 - 0.23 log g)",
}

_TOLERANCE = 1e-3


class LabelOutOfRange(ValueError):
    """A label is outside the range of the library; the message names it and says what would be right."""


def lowest_logg(teff: Array) -> Array:
    """Return the lowest log g of the library at these temperatures (K)."""
    return np.asarray(np.interp(teff, GIANT_LIMIT_TEFF, GIANT_LIMIT_LOGG))


def highest_cfe(feh: Array) -> Array:
    """Return the highest [C/Fe] of the library at these [Fe/H]."""
    return np.minimum(LABELS[3].high, MAX_CARBON_OVER_H - np.asarray(feh))


def label_limits(labels: Array) -> tuple[Array, Array]:
    """Return the lowest and highest value of each label of each star, given its other labels.

    Parameters
    ----------
    labels
        Shape ``(n, 11)``, columns in the order of ``LABEL_NAMES``.

    Returns
    -------
    tuple
        Two arrays of the same shape.
    """
    low = np.tile([label.low for label in LABELS], (len(labels), 1))
    high = np.tile([label.high for label in LABELS], (len(labels), 1))
    teff, logg, feh, cfe, _, _, afe = labels[:, :7].T
    column = {name: i for i, name in enumerate(LABEL_NAMES)}
    low[:, column["logg"]] = lowest_logg(teff)
    high[:, column["cfe"]] = highest_cfe(feh)
    high[feh >= -1.0, column["nfe"]] = 1.0
    low[:, column["ofe"]] = afe
    high[:, column["ofe"]] = afe + 0.4 * np.maximum(0.0, cfe - 0.5)
    is_disc = feh >= -0.7
    high[is_disc, column["sfe"]] = 1.0
    high[is_disc, column["rfe"]] = 0.5
    usual_vmic = np.maximum(0.7, 2.13 - 0.23 * logg)
    low[:, column["vmic"]], high[:, column["vmic"]] = usual_vmic - 0.3, usual_vmic + 0.3
    return low, high


def move_into_range(labels: Array) -> Array:
    """Return labels with each moved to the nearest value that the library covers."""
    box = np.array([(label.low, label.high) for label in LABELS])
    moved = np.clip(labels, box[:, 0], box[:, 1])
    # Twice, because [O/Fe] depends on [C/Fe] and ξ on log g, which also depend on others.
    moved = np.clip(moved, *label_limits(moved))
    return np.asarray(np.clip(moved, *label_limits(moved)))


def check_labels(labels: Array) -> None:
    """Refuse labels outside the library's region.

    Raises
    ------
    LabelOutOfRange
        Naming the first label that is outside, its row and the range there.
    """
    if labels.ndim != 2 or labels.shape[1] != len(LABELS):
        raise ValueError(
            f"labels have the shape {labels.shape}; (n, {len(LABELS)}) = {', '.join(LABEL_NAMES)} is needed"
        )
    low, high = label_limits(labels)
    # Written so that a NaN is outside too.
    outside = ~((labels >= low - _TOLERANCE) & (labels <= high + _TOLERANCE))
    if outside.any():
        row, column = (int(i) for i in np.argwhere(outside)[0])
        label = LABELS[column]
        rule = f" ({DEPENDENT_LIMITS[label.name]})" if label.name in DEPENDENT_LIMITS else ""
        raise LabelOutOfRange(
            f"'{label.name}' is {labels[row, column]:g} {label.unit} in row {row}; "
            f"the emulator covers {low[row, column]:.4g} to {high[row, column]:.4g} there{rule}"
        )
