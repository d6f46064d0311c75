"""Decide which stars are candidates, by which rule, and how urgent each is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cempstream.processors.classify import ClassScores
from cempstream.processors.grid import Array
from cempstream.processors.outcome import PARAMETERS, Decision
from cempstream.processors.regress import ParameterEstimates


@dataclass(frozen=True, slots=True)
class Policy:
    """The rule by which a survey's stars become candidates.

    Attributes
    ----------
    version
        Given in every alert; a changed rule gets a new version.
    prior
        Fraction of CEMP stars among the survey's spectra.
    threshold
        Smallest ``p_cemp`` at that prior for which an alert is sent.
    observed_from
        Smallest ``p_cemp`` for which the rebinned spectrum is kept, as an observation of its star; None
        keeps none.
    """

    version: str
    prior: float
    threshold: float
    observed_from: float | None = None

    def __post_init__(self) -> None:
        for name in ("prior", "threshold"):
            if not 0.0 < getattr(self, name) < 1.0:
                raise ValueError(f"policy '{name}' is {getattr(self, name)}; it must lie between 0 and 1")
        if self.observed_from is not None and not 0.0 <= self.observed_from <= 1.0:
            raise ValueError(f"policy 'observed_from' is {self.observed_from}; it must lie in [0, 1]")

    def decide(
        self, scores: ClassScores, parameters: ParameterEstimates, magnitude: Sequence[float | None]
    ) -> list[Decision]:
        """Decide on each row.

        The priority, from 0 to 1, is the probability, raised for the rarest stars ([Fe/H] towards -4) and
        for bright ones, which are easiest to observe; an unknown magnitude leaves it unchanged.
        """
        feh = parameters.value[:, PARAMETERS.index("feh")]
        rarity = np.clip((-1.0 - feh) / 3.0, 0.0, 1.0)
        known = np.array([np.nan if m is None else m for m in magnitude])
        brightness = np.where(np.isnan(known), 0.5, np.clip((20.0 - known) / 8.0, 0.0, 1.0))
        priority: Array = scores.p_cemp * (0.5 + 0.3 * rarity + 0.2 * brightness)
        return [
            Decision(p >= self.threshold, self.threshold, self.prior, self.version, round(urgency, 4))
            for p, urgency in zip(scores.p_cemp.tolist(), priority.tolist(), strict=True)
        ]
