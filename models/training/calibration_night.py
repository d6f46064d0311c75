"""A simulated night for calibration: natural shares, the hard ones kept and weighted."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from cempstream.models.emulator.emulator import Emulator
from cempstream.models.emulator.labels import LABEL_NAMES
from cempstream.models.simulator import Strata, load_mix, load_profile, simulate
from cempstream.models.training.augment import Degrader
from cempstream.models.training.dataset import MAX_IVAR, Dataset
from cempstream.models.training.star_labels import Truth, label_truth
from cempstream.processors.grid import Array
from cempstream.processors.velocity import shift_to_rest


def simulate_night(
    surveys: Sequence[str],
    n: int,
    seed: int,
    degrader: Degrader,
    *,
    emulator: Emulator | None = None,
    mix: str = "galaxy",
    strata: Strata | None = None,
    advance: Callable[[int], None] = lambda n_done: None,
) -> Dataset:
    """Simulate ``n`` spectra through several surveys and process them as the service does.

    Velocities are measured, never known. ``Dataset.weight`` is the number of natural sources that a row
    stands for; ``clean`` is the observed spectrum itself, since no noise-free one is made.
    """
    if degrader.finder is None:
        raise ValueError("a night is processed as served: the degrader needs its velocity finder")
    emulator = emulator or Emulator.load()
    norms, ivars, truths, snrs, weights = [], [], [], [], []
    for i, survey in enumerate(surveys):
        n_survey = n // len(surveys) + (i < n % len(surveys))
        batches = simulate(
            load_profile(survey),
            n_survey,
            seed + i,
            load_mix(mix),
            strata=strata or Strata(),
            emulator=emulator,
        )
        for batch in batches:
            seen = degrader.normalise(degrader.rebin(batch.spectra()))
            rest = shift_to_rest(seen, degrader.finder(seen).rv_kms)
            norms.append(rest.norm.astype(np.float16))
            ivars.append(np.minimum(rest.ivar, MAX_IVAR).astype(np.float16))
            truths.append(_truth(batch.truth))
            snrs.append(batch.truth["snr"])
            # Each survey observes the whole night.
            weights.append(batch.truth["weight"] / n_survey)
            advance(len(batch))
    norm = np.concatenate(norms)
    names = Truth.__dataclass_fields__
    return Dataset(
        norm=norm,
        ivar=np.concatenate(ivars),
        clean=norm,
        truth=Truth(**{name: np.concatenate([getattr(t, name) for t in truths]) for name in names}),
        snr=np.concatenate(snrs).astype(np.float32),
        star=np.arange(len(norm)),
        weight=np.concatenate(weights),
    )


def _truth(facts: Array) -> Truth:
    """Return the simulator's truth in training's terms."""
    labels = np.stack([facts[name].astype(np.float64) for name in LABEL_NAMES], axis=1)
    is_star = np.isfinite(labels[:, 0])
    truth = label_truth(np.where(is_star[:, None], labels, 0.0))
    return Truth(
        parameters=np.where(is_star[:, None], truth.parameters, np.float32(np.nan)),
        is_cemp=facts["is_cemp"].copy(),
        is_cemp_corrected=facts["is_cemp_corrected"].copy(),
        subclass=np.where(is_star, truth.subclass, -1).astype(np.int8),
        # Late-A stars, K and M dwarfs of either side of the library's edge: neither answer is wrong.
        is_ood=np.where(is_star, 0, np.where(np.isin(facts["kind"], _EDGE), -1, 1)).astype(np.int8),
    )


_EDGE = ("hot_star", "m_dwarf", "m_giant")
