"""Scoring of a star's co-added spectra by the bundles of a pipeline."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cempstream.processors.outcome import Classification
from cempstream.processors.spectrum import BadSpectrum, Spectrum
from cempstream.processors.stars.coadd import put_together
from cempstream.processors.stars.observation import Observation, bundle_family
from cempstream.streams.scoring.pipeline import Pipeline


@dataclass(frozen=True, slots=True, eq=False)
class StarJudge:
    """Puts observations together and has the bundle of their group score the result."""

    pipeline: Pipeline

    @property
    def bundles(self) -> frozenset[str]:
        """Name and version of each bundle that is served."""
        return frozenset(route.chain.name for route in self.pipeline.routes)

    def __call__(self, groups: Sequence[Sequence[Observation]]) -> list[Classification | None]:
        """Return one result per group of observations.

        Returns
        -------
        list
            None where the sum cannot be scored, or the group's bundle is no longer served.

        Raises
        ------
        ModelBroken
            The models fail on good spectra.
        """
        results: list[Classification | None] = [None] * len(groups)
        sums: dict[tuple[int, str], list[tuple[int, Spectrum]]] = {}
        for i, group in enumerate(groups):
            survey, bundle = group[0].group
            for i_route, route in enumerate(self.pipeline.routes):
                if bundle_family(route.chain.name) == bundle:
                    chain = route.chain
                    total = put_together(group, chain.rebin, chain.normalise, chain.find_velocity)
                    sums.setdefault((i_route, survey), []).append((i, total))
                    break
        for (i_route, survey), members in sums.items():
            scored = self.pipeline.score(
                self.pipeline.routes[i_route], survey, [total for _, total in members]
            )
            for (i, _), result in zip(members, scored, strict=True):
                results[i] = None if isinstance(result, BadSpectrum) else result
        return results
