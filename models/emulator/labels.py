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
    Label("vmic", 0.7, 2.5, "km/s"),
)
LABEL_NAMES = tuple(label.name for label in LABELS)

#: Lowest log g that the model atmospheres allow, drawn linearly between these temperatures (K).
GIANT_LIMIT_TEFF = (3900.0, 4500.0, 6000.0, 7000.0)
GIANT_LIMIT_LOGG = (0.0, 0.3, 1.6, 2.6)

#: Carbon above this [C/H] was not computed.
MAX_CARBON_OVER_H = 0.6

_TOLERANCE = 1e-3


class LabelOutOfRange(ValueError):
    """A label lies where no spectrum was computed; the message names it and says what would be right."""


def lowest_logg(teff: Array) -> Array:
    """Return the lowest log g of the library at these temperatures (K)."""
    return np.asarray(np.interp(teff, GIANT_LIMIT_TEFF, GIANT_LIMIT_LOGG))


def highest_cfe(feh: Array) -> Array:
    """Return the highest [C/Fe] of the library at these [Fe/H]."""
    return np.minimum(LABELS[3].high, MAX_CARBON_OVER_H - np.asarray(feh))


def check_labels(labels: Array) -> None:
    """Refuse labels outside the library's region.

    Parameters
    ----------
    labels
        Shape ``(n, 11)``, columns in the order of ``LABEL_NAMES``.

    Raises
    ------
    LabelOutOfRange
        Naming the first label that is outside, its row and the range.
    """
    if labels.ndim != 2 or labels.shape[1] != len(LABELS):
        raise ValueError(
            f"labels have the shape {labels.shape}; (n, {len(LABELS)}) = {', '.join(LABEL_NAMES)} is needed"
        )
    low = np.array([label.low for label in LABELS]) - _TOLERANCE
    high = np.array([label.high for label in LABELS]) + _TOLERANCE
    # Written so that a NaN is outside too.
    outside = ~((labels >= low) & (labels <= high))
    if outside.any():
        row, column = (int(i) for i in np.argwhere(outside)[0])
        label = LABELS[column]
        raise LabelOutOfRange(
            f"'{label.name}' is {labels[row, column]:g} {label.unit} in row {row}; "
            f"the emulator knows {label.low:g} to {label.high:g}"
        )
    teff, logg, feh, cfe = labels[:, :4].T
    for name, value, limit, too_far in (
        ("logg", logg, lowest_logg(teff), logg < lowest_logg(teff) - _TOLERANCE),
        ("cfe", cfe, highest_cfe(feh), cfe > highest_cfe(feh) + _TOLERANCE),
    ):
        if too_far.any():
            row = int(np.argmax(too_far))
            side = "at least" if name == "logg" else "at most"
            raise LabelOutOfRange(
                f"'{name}' is {value[row]:g} in row {row}; at {teff[row]:.0f} K and [Fe/H] {feh[row]:.2f} "
                f"the emulator knows {side} {limit[row]:.2f}"
            )
