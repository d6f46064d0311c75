"""Decide which stars are candidates, by which rule, and how urgent each is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cempstream.processors.classify import ClassScores
from cempstream.processors.confusion import is_extended, neighbours_light
from cempstream.processors.grid import Array
from cempstream.processors.outcome import PARAMETERS, Decision
from cempstream.processors.purity import PurityRules, PurityTable
from cempstream.processors.regress import ParameterEstimates
from cempstream.processors.spectrum import Spectrum


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
    max_contamination
        Largest share of a neighbour's light in a carbon band with which a star may be a candidate.
    least_stellarity
        Smallest likeness to a star, by the survey's imaging, with which a source may be one.
    purity
        What the bundle's card measured within bins of S/N; None where it did not.
    least_purity
        Smallest expected share of CEMP stars among the candidates of a bin of S/N: where the threshold does
        not reach it, a larger one is taken, and where none does, there are no candidates. 0 asks for none.
    """

    version: str
    prior: float
    threshold: float
    observed_from: float | None = None
    max_contamination: float = 1.0
    least_stellarity: float = 0.0
    purity: PurityTable | None = None
    least_purity: float = 0.0

    def __post_init__(self) -> None:
        for name in ("prior", "threshold"):
            if not 0.0 < getattr(self, name) < 1.0:
                raise ValueError(f"policy '{name}' is {getattr(self, name)}; it must lie between 0 and 1")
        if self.observed_from is not None and not 0.0 <= self.observed_from <= 1.0:
            raise ValueError(f"policy 'observed_from' is {self.observed_from}; it must lie in [0, 1]")

    @property
    def rules(self) -> PurityRules:
        """The rule of each bin of S/N; one bin of unknown purity where none was measured."""
        if self.purity is None:
            return PurityRules(np.zeros(0), np.array([self.threshold]), np.array([np.nan]), np.array([True]))
        return self.purity.rules(self.prior, self.threshold, self.least_purity)

    def confusions(self, spectra: Sequence[Spectrum]) -> tuple[Array, Array]:
        """Return which spectra hold too much of a neighbour's light, and which sources are extended.

        Returns
        -------
        tuple
            Boolean, shape ``(n_spec,)`` each.
        """
        return (
            np.array([neighbours_light(s) > self.max_contamination for s in spectra], dtype=bool),
            np.array([is_extended(s, self.least_stellarity) for s in spectra], dtype=bool),
        )

    def decide(
        self,
        scores: ClassScores,
        parameters: ParameterEstimates,
        magnitude: Sequence[float | None],
        confused: Array | None = None,
        threshold: Array | None = None,
    ) -> list[Decision]:
        """Decide on each row.

        Parameters
        ----------
        confused
            Whether a spectrum may be that of another source, shape ``(n_spec,)``: it is then no candidate,
            whatever its probability.
        threshold
            Of each spectrum, shape ``(n_spec,)``; the policy's for all where it is None.

        The priority, from 0 to 1, is the probability, raised for the rarest stars ([Fe/H] towards -4) and
        for bright ones, which are easiest to observe; an unknown magnitude leaves it unchanged.
        """
        feh = parameters.value[:, PARAMETERS.index("feh")]
        rarity = np.clip((-1.0 - feh) / 3.0, 0.0, 1.0)
        known = np.array([np.nan if m is None else m for m in magnitude])
        brightness = np.where(np.isnan(known), 0.5, np.clip((20.0 - known) / 8.0, 0.0, 1.0))
        priority: Array = scores.p_cemp * (0.5 + 0.3 * rarity + 0.2 * brightness)
        limit = np.full(len(scores.p_cemp), self.threshold) if threshold is None else threshold
        is_candidate = scores.p_cemp >= limit
        if confused is not None:
            is_candidate &= ~confused
        return [
            Decision(is_one, least, self.prior, self.version, round(urgency, 4))
            for is_one, least, urgency in zip(
                is_candidate.tolist(), limit.tolist(), priority.tolist(), strict=True
            )
        ]
