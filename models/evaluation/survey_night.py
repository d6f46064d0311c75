"""A survey that sees its stars again: every spectrum scored, then folded as the stream folds them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, fields
from itertools import islice
from pathlib import Path

import numpy as np

from cempstream.models.simulator import SimulatedBatch
from cempstream.processors.chain import ProcessorChain
from cempstream.processors.confusion import neighbours_light
from cempstream.processors.decide import Policy
from cempstream.processors.grid import Array
from cempstream.processors.outcome import Classification
from cempstream.processors.stars.observation import Observation, observe
from cempstream.processors.stars.star import Judge, without_mixed_light

#: After how many visits a star is judged.
VISITS = (1, 2, 4, 8)
_BATCH = 64


@dataclass(frozen=True, slots=True, eq=False)
class SurveyNight:
    """Stars after so many visits, through the first grating alone and through all of them.

    Attributes
    ----------
    truth
        Of the first spectrum, structured array of ``TRUTH_DTYPE``, shape ``(n,)``.
    visits
        Shape ``(n_visits,)``.
    snr_aa
        S/N per Å of the sum of the first grating's spectra, by the truth, shape ``(n, n_visits)``.
    p_cemp, snr, is_candidate
        Of the sum, by number of visits and of gratings; 0 where it was not scored; shape
        ``(n, n_visits, 2)``.
    light
        Largest share of a neighbour's light in a carbon band among the spectra added, same shape.
    """

    truth: Array = field(repr=False)
    visits: Array
    snr_aa: Array = field(repr=False)
    p_cemp: Array = field(repr=False)
    snr: Array = field(repr=False)
    is_candidate: Array = field(repr=False)
    light: Array = field(repr=False)

    def save(self, path: Path) -> None:
        """Write all columns to an ``.npz``, atomically."""
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".tmp.npz")
        np.savez(partial, **{one.name: getattr(self, one.name) for one in fields(self)})
        partial.replace(path)

    @classmethod
    def joined(cls, parts: Sequence[SurveyNight]) -> SurveyNight:
        """Return the stars of all parts, which were judged after the same visits."""
        columns = {
            one.name: np.concatenate([getattr(part, one.name) for part in parts])
            for one in fields(cls)
            if one.name != "visits"
        }
        return cls(visits=parts[0].visits, **columns)

    @classmethod
    def load(cls, path: Path) -> SurveyNight:
        """Read what ``save`` wrote."""
        with np.load(path, allow_pickle=False) as kept:
            return cls(**{one.name: kept[one.name] for one in fields(cls)})


def fold_survey(
    batches: Iterable[SimulatedBatch],
    chain: ProcessorChain,
    policy: Policy,
    judge: Judge,
    visits: Sequence[int],
    n_gratings: int,
) -> SurveyNight:
    """Score and fold a simulated survey.

    Parameters
    ----------
    batches
        As `simulate` gives them for the largest of ``visits``: of each block of sources one batch per
        visit and grating.
    policy
        One that keeps observations.
    judge
        Puts observations together and scores the sum, as the stream does.
    """
    parts = [
        _fold_block(block, chain, policy, judge, visits, n_gratings)
        for block in _blocks(batches, max(visits) * n_gratings)
    ]
    return SurveyNight.joined(parts)


def _blocks(batches: Iterable[SimulatedBatch], size: int) -> Iterator[list[SimulatedBatch]]:
    """Yield the batches of each block of sources."""
    left = iter(batches)
    while block := list(islice(left, size)):
        yield block


def _fold_block(
    block: Sequence[SimulatedBatch],
    chain: ProcessorChain,
    policy: Policy,
    judge: Judge,
    visits: Sequence[int],
    n_gratings: int,
) -> SurveyNight:
    n = len(block[0])
    seen = [_observations(batch, chain, policy) for batch in block]
    mixed = np.array([[neighbours_light(s) for s in batch.spectra()] for batch in block])
    snr2 = np.cumsum([batch.truth["snr"].astype(np.float64) ** 2 for batch in block[::n_gratings]], axis=0)
    shape = (n, len(visits), 2)
    p_cemp, snr, light = np.zeros(shape), np.zeros(shape), np.zeros(shape)
    is_candidate = np.zeros(shape, dtype=bool)
    groups: list[tuple[Observation, ...]] = []
    places: list[tuple[int, int, int]] = []
    for k, n_visits in enumerate(visits):
        every = range(n_visits * n_gratings)
        for bands, chosen in enumerate((every[::n_gratings], every)):
            light[:, k, bands] = mixed[list(chosen)].max(axis=0)
            for row in range(n):
                shares = {one: mixed[j, row] for j in chosen if (one := seen[j][row]) is not None}
                if group := without_mixed_light(shares):
                    light[row, k, bands] = max(shares[one] for one in group)
                    groups.append(group)
                    places.append((row, k, bands))
    results = (
        result for first in range(0, len(groups), _BATCH) for result in judge(groups[first : first + _BATCH])
    )
    for place, result in zip(places, results, strict=True):
        if result is not None:
            p_cemp[place], snr[place] = result.p_cemp, result.snr
            is_candidate[place] = result.decision.is_candidate
    return SurveyNight(
        truth=block[0].truth,
        visits=np.array(visits),
        snr_aa=np.sqrt(snr2[[v - 1 for v in visits]]).T,
        p_cemp=p_cemp,
        snr=snr,
        is_candidate=is_candidate,
        light=light,
    )


def _observations(batch: SimulatedBatch, chain: ProcessorChain, policy: Policy) -> list[Observation | None]:
    spectra = batch.spectra()
    return [
        observe(result) if isinstance(result, Classification) else None
        for first in range(0, len(spectra), _BATCH)
        for result in chain.process_spectra(spectra[first : first + _BATCH], policy)
    ]
