"""What a spectrum of a star is worth: the chance that it is CEMP, its rarity, and what would be learned.

    value = chance × (1 + emp P([Fe/H] < -3) + no P(CEMP-no) + r P(CEMP-r) + learn × bits)

``chance`` is the lower of ``p_cemp`` and ``expected_purity``: the second was measured on all alerts of this
S/N, and a star cannot be trusted more than they. P([Fe/H] < -3) follows from the alert's value and interval,
as a normal distribution with another width on each side. ``bits`` is by how many powers of two the spectrum
narrows what is known: of [C/Fe] for the question ``cfe``, of [Ba/Fe] for ``ba``, and of the subclass for
``eu``. A star of value 1 is one ordinary CEMP star.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np

from cempstream.errors import FixableError
from cempstream.plain import shown
from cempstream.processors.grid import Array
from cempstream.processors.outcome import Estimate
from cempstream.streams.observing.candidates import Candidate

#: Below this [Fe/H] a star is extremely metal-poor (Beers & Christlieb 2005).
EXTREME_FEH = -3.0

#: 1σ in dex that the spectrum leaves, and what is known of a CEMP star without any (its spread among them).
_AFTER = {"cfe": 0.1, "bafe": 0.15}
_BEFORE = {"cfe": 0.6, "bafe": 1.0}


class WeightError(FixableError, ValueError):
    """A weight has no such name, or is no number; the message says what there is."""


@dataclass(frozen=True, slots=True)
class Weights:
    """How much more than an ordinary CEMP star is worth: the symbols of the module's formula.

    Attributes
    ----------
    emp
        Of a star with [Fe/H] < -3.
    no, r
        Of a CEMP-no and of a CEMP-r star.
    learn
        Of every bit that is learned.
    """

    emp: float = 2.0
    no: float = 0.5
    r: float = 2.0
    learn: float = 0.1


def parse_weights(texts: Sequence[str]) -> Weights:
    """Read weights that are written ``name=number``; those not named keep their defaults.

    Raises
    ------
    WeightError
        No such weight, or no number of 0 or more.
    """
    weights = Weights()
    names = [field.name for field in fields(Weights)]
    for text in texts:
        name, _, number = text.partition("=")
        try:
            value = float(number)
        except ValueError:
            value = math.nan
        if name not in names or not 0.0 <= value < math.inf:
            raise WeightError(
                f"{shown(text, longest=40)!r} is not a weight: NAME=NUMBER, NAME one of {', '.join(names)}"
            )
        weights = replace(weights, **{name: value})
    return weights


@dataclass(frozen=True, slots=True)
class Worth:
    """A star's value and what it is made of; probabilities are between 0 and 1."""

    value: float
    chance: float
    p_emp: float
    bits: float


def worth(star: Candidate, question: str, weights: Weights) -> Worth:
    """Return what the spectrum of a star that answers a question is worth."""
    chance = min(star.p_cemp, 1.0 if star.expected_purity is None else star.expected_purity)
    chance = chance if math.isfinite(chance) else 0.0
    p_emp = probability_below(star.parameters["feh"], EXTREME_FEH)
    bits = _bits(star, question)
    rarity = (
        weights.emp * p_emp + weights.no * star.subclass_p["cemp_no"] + weights.r * star.subclass_p["cemp_r"]
    )
    return Worth(chance * (1.0 + rarity + weights.learn * bits), chance, p_emp, bits)


def probability_below(estimate: Estimate, limit: float) -> float:
    """Return the probability that a value lies below a limit; 0 where nothing is known of it."""
    lower, upper = estimate.value - estimate.lo, estimate.hi - estimate.value
    if not (math.isfinite(estimate.value) and lower > 0.0 and upper > 0.0):
        return 0.0
    is_above = estimate.value > limit
    away = (limit - estimate.value) / (lower if is_above else upper)
    return 0.5 * (1.0 + math.erf(away / math.sqrt(2.0)))


def _bits(star: Candidate, question: str) -> float:
    if question == "eu":
        p: Array = np.array([share for share in star.subclass_p.values() if share > 0.0])
        return float(max(-np.sum(p * np.log2(p)), 0.0))
    name = {"cfe": "cfe", "ba": "bafe"}[question]
    estimate = star.parameters[name]
    sigma = 0.5 * (estimate.hi - estimate.lo)
    known = min(sigma, _BEFORE[name]) if math.isfinite(sigma) else _BEFORE[name]
    return max(math.log2(max(known, 1e-9) / _AFTER[name]), 0.0)
