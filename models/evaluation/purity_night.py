"""A night for purity within bins of S/N: the stars that a pilot finds dangerous are kept whole.

False alarms are so rare that even an evaluation night sees few of them in a bin, and one ordinary star that
stands for a thousand then decides. Which stars come near the threshold is nearly a function of their labels:
trees learn it from a pilot, and say which share of each kind is worth a spectrum. The weights keep whatever
they get wrong honest.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from cempstream.models.emulator.emulator import Emulator
from cempstream.models.emulator.labels import LABEL_NAMES
from cempstream.models.evaluation.evaluation_night import NIGHT_STRATA, NightStrata, profile_of, stratum_of
from cempstream.models.evaluation.scored import Scored
from cempstream.models.simulator import Mix, SimulatedBatch, Sources, Strata, draw_sources, simulate
from cempstream.processors.grid import Array

#: Shares in the pilot, by stratum: all kinds of star are to be learned.
_PILOT_SHARE = {
    "CEMP": 0.05,
    "beside the border": 0.3,
    "carbon stars": 0.3,
    "metal-poor and hot": 0.3,
    "metal-poor, some carbon": 0.2,
    "very metal-poor": 0.2,
    "metal-poor": 0.05,
    "carbon-rich disc": 0.2,
    "sky": 1e-4,
    "galaxies, quasars, broken fibres": 1e-3,
    "other contaminants": 1e-4,
    "ordinary": 0.01,
}
#: Shares of what has no labels; the surrogate decides on stars.
_SHARE = {"sky": 0.002, "galaxies, quasars, broken fibres": 0.08, "other contaminants": 0.002}
#: S/N per pixel of the models at which the danger of a star is judged.
_AT_SNR = 60.0
#: Natural share of the stars that are kept whole.
_WHOLE = 2.5e-3
#: How fast the share kept falls with the logit below that, and where it ends.
_SLOPE, _LEAST_SHARE = 1.2, 2e-4
_DRAWN = 400_000


@dataclass(frozen=True, slots=True)
class PilotStrata(NightStrata):
    """The strata of the pilot."""

    def kept(self, sources: Sources) -> Array:
        """Return the share kept of the stratum of each source."""
        return _by_stratum(_PILOT_SHARE, 0.0)[stratum_of(sources)]


@dataclass(frozen=True, slots=True)
class DangerStrata(Strata):
    """Shares by how near to the threshold a star is expected.

    Attributes
    ----------
    danger
        Trees from labels, log S/N and E(B-V) to the logit of ``p_cemp``.
    whole_from
        Logit from which stars are kept whole.
    cemp
        Share of the CEMP stars.
    """

    danger: Any = field(default=None, repr=False)
    whole_from: float = 0.0
    cemp: float = 0.25

    def __post_init__(self) -> None:
        """Check nothing: these are no shares."""

    def kept(self, sources: Sources) -> Array:
        """Return the share kept of each source."""
        share = _by_stratum(_SHARE | {"CEMP": self.cemp}, np.nan)[stratum_of(sources)]
        logit = self.danger.predict(_features(sources.labels, sources.ebv, _AT_SNR))
        by_danger = np.clip(np.exp(_SLOPE * (logit - self.whole_from)), _LEAST_SHARE, 1.0)
        return np.where(np.isnan(share), by_danger, share)


def pilot_batches(
    surveys: Sequence[str], n: int, seed: int, mix: Mix, emulator: Emulator
) -> Iterator[SimulatedBatch]:
    """Simulate the pilot: ``n`` spectra, shared evenly by the surveys."""
    return _batches(surveys, n, seed, mix, PilotStrata(), emulator)


def purity_batches(
    surveys: Sequence[str], n: int, seed: int, mix: Mix, strata: DangerStrata, emulator: Emulator
) -> Iterator[SimulatedBatch]:
    """Simulate ``n`` spectra of the night, shared evenly by the surveys."""
    return _batches(surveys, n, seed, mix, strata, emulator)


def learn_danger(pilot: Scored, mix: Mix, seed: int) -> DangerStrata:
    """Learn from a scored pilot which stars come near the threshold."""
    from sklearn.ensemble import HistGradientBoostingRegressor

    truth = pilot.truth
    rows = pilot.is_star & pilot.is_scored & ~truth["is_cemp"]
    labels = np.stack([truth[name] for name in LABEL_NAMES], axis=1)[rows]
    p = np.clip(pilot.p_cemp[rows], 1e-12, 1 - 1e-12)
    trees = HistGradientBoostingRegressor(
        max_iter=300, learning_rate=0.05, min_samples_leaf=20, random_state=1
    )
    trees.fit(_features(labels, truth["ebv"][rows], pilot.snr[rows]), np.log(p / (1 - p)))
    natural = draw_sources(_DRAWN, mix, np.random.default_rng(seed))
    star = natural.is_star & (stratum_of(natural) > 0)
    logit = trees.predict(_features(natural.labels[star], natural.ebv[star], _AT_SNR))
    whole_from = float(np.quantile(logit, 1 - _WHOLE * _DRAWN / star.sum()))
    return DangerStrata(danger=trees, whole_from=whole_from)


def _batches(
    surveys: Sequence[str], n: int, seed: int, mix: Mix, strata: Strata, emulator: Emulator
) -> Iterator[SimulatedBatch]:
    for i, survey in enumerate(surveys):
        yield from simulate(
            profile_of(survey), -(-n // len(surveys)), seed + i, mix, strata=strata, emulator=emulator
        )


def _features(labels: Array, ebv: Array, snr: Array | float) -> Array:
    log_snr = np.log(np.broadcast_to(np.maximum(snr, 0.1), len(labels)))
    return np.column_stack([labels, ebv, log_snr])


def _by_stratum(shares: dict[str, float], other: float) -> Array:
    return np.array([shares.get(kind.name, other) for kind in NIGHT_STRATA])
