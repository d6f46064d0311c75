"""Training spectra on disk: generated once, read by every epoch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from cempstream.models.emulator.grids import EMULATOR_GRID
from cempstream.models.training.augment import Conditions, Degrader
from cempstream.models.training.computed_contaminants import draw_contaminants, draw_simulated
from cempstream.models.training.instruments import Instrument, draw_instrument
from cempstream.models.training.star_labels import Truth, label_truth
from cempstream.models.training.stars import Stars, StarSource
from cempstream.processors.grid import Array, vacuum_to_air
from cempstream.processors.outcome import PARAMETERS

MAX_IVAR = 4.0e4

#: Share of empty fibres among the contaminants, and what the sky's subtraction leaves there: S/N per Å, drawn
#: log-uniformly, of either sign. Below the first value the running mean is noise.
EMPTY_SHARE = 0.12
EMPTY_SNR = (0.005, 1.5)

_ARRAYS = ("norm", "ivar", "clean")
_FACTS = ("parameters", "is_cemp", "is_cemp_corrected", "subclass", "is_ood", "snr", "star", "weight")


@dataclass(frozen=True, slots=True, eq=False)
class Dataset:
    """Rest-frame spectra after the processors, with truth.

    Attributes
    ----------
    norm, ivar, clean
        float16, shape ``(n, n_pix)``; ``clean`` has no noise.
    truth
        What each row is; contaminants have no parameters.
    snr
        S/N per Å, shape ``(n,)``.
    star
        Number of the star a row shows, -1 for contaminants, shape ``(n,)``.
    weight
        Natural sources that a row stands for, 1 unless the set was drawn by strata; shape ``(n,)``.
    """

    norm: Array = field(repr=False)
    ivar: Array = field(repr=False)
    clean: Array = field(repr=False)
    truth: Truth = field(repr=False)
    snr: Array = field(repr=False)
    star: Array = field(repr=False)
    weight: Array = field(repr=False)

    def __len__(self) -> int:
        return len(self.norm)

    def save(self, folder: Path) -> None:
        """Write one ``.npy`` per array, so that they can be mapped."""
        folder.mkdir(parents=True, exist_ok=True)
        for name in _ARRAYS:
            np.save(folder / f"{name}.npy", getattr(self, name))
        facts = {name: getattr(self.truth, name) for name in _FACTS[:5]}
        np.savez(folder / "facts.npz", snr=self.snr, star=self.star, weight=self.weight, **facts)

    @classmethod
    def load(cls, folder: Path) -> Dataset:
        """Map a dataset that was saved."""
        arrays = {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in _ARRAYS}
        with np.load(folder / "facts.npz") as facts:
            truth = Truth(**{name: facts[name] for name in _FACTS[:5]})
            rest = {name: facts[name] for name in _FACTS[5:]}
            return cls(**arrays, truth=truth, **rest)


@dataclass(frozen=True, slots=True)
class DatasetMix:
    """What a dataset is made of.

    Attributes
    ----------
    per_instrument
        Spectra observed with one instrument.
    contaminants
        Their share.
    """

    conditions: Conditions = field(default_factory=Conditions)
    contaminants: float = 0.25
    per_instrument: int = 192


def generate(
    source: StarSource,
    degrader: Degrader,
    n: int,
    seed: int,
    *,
    mix: DatasetMix | None = None,
    instrument: Callable[[np.random.Generator], Instrument | tuple[Instrument, ...]] = draw_instrument,
    advance: Callable[[int], None] = lambda n_done: None,
) -> Dataset:
    """Generate ``n`` spectra; the same seed gives the same bytes.

    Parameters
    ----------
    advance
        Called after every instrument with the number of spectra added.
    """
    mix = mix or DatasetMix()
    n_pix = degrader.rebin.target.n_pix
    arrays = {name: np.empty((n, n_pix), dtype=np.float16) for name in _ARRAYS}
    truths: list[Truth] = []
    snr, star = np.empty(n, dtype=np.float32), np.empty(n, dtype=np.int64)
    for first in range(0, n, mix.per_instrument):
        last = min(first + mix.per_instrument, n)
        rng = np.random.default_rng([seed, first])
        stars = source.draw(last - first, rng)
        stars, truth, number, left = _with_contaminants(stars, source, mix.contaminants, rng)
        seen = degrader(stars, source.wave, source.continuum_wave, instrument(rng), mix.conditions, rng, left)
        arrays["norm"][first:last] = seen.batch.norm
        arrays["ivar"][first:last] = np.minimum(seen.batch.ivar, MAX_IVAR)
        arrays["clean"][first:last] = seen.clean
        truths.append(truth)
        snr[first:last], star[first:last] = seen.snr, number
        advance(last - first)
    truth = Truth(*(np.concatenate([getattr(t, name) for t in truths]) for name in _FACTS[:5]))
    return Dataset(**arrays, truth=truth, snr=snr, star=star, weight=np.ones(n, dtype=np.float32))


def _with_contaminants(
    stars: Stars, source: StarSource, share: float, rng: np.random.Generator
) -> tuple[Stars, Truth, Array, Array]:
    """Replace a share of the stars by contaminants; a star's number is made of its Teff, log g and [Fe/H].

    The last array is the S/N per Å that is left of the light of an empty fibre, NaN for the others.
    """
    truth = label_truth(stars.labels)
    n = len(stars.labels)
    number = np.abs((stars.labels[:, :3] * [1e3, 1e6, 1e9]).sum(axis=1)).astype(np.int64)
    left = np.full(n, np.nan)
    rows = np.flatnonzero(rng.random(n) < share)
    if rows.size == 0:
        return stars, truth, number, left
    seeds = Stars(stars.labels[rows], stars.norm[rows], stars.continuum[rows])
    if source.wave.size == EMULATOR_GRID.n_pix and rng.random() < 0.5:
        norm, continuum, is_ood = draw_simulated(seeds, source.wave, source.continuum_wave, rng)
    else:
        norm, continuum, is_ood = draw_contaminants(seeds, vacuum_to_air(source.wave), rng)
    all_norm, all_continuum = stars.norm.copy(), stars.continuum.copy()
    all_norm[rows], all_continuum[rows] = norm, continuum
    empty = rng.random(rows.size) < EMPTY_SHARE
    all_norm[rows[empty]], is_ood[empty] = 1.0, 1
    n_empty = int(empty.sum())
    low, high = np.log(EMPTY_SNR)
    left[rows[empty]] = np.exp(rng.uniform(low, high, n_empty)) * rng.choice([-1, 1], n_empty)
    parameters, is_cemp = truth.parameters.copy(), truth.is_cemp.copy()
    corrected, subclass, ood = truth.is_cemp_corrected.copy(), truth.subclass.copy(), truth.is_ood.copy()
    parameters[rows] = np.nan
    is_cemp[rows] = corrected[rows] = False
    subclass[rows] = -1
    ood[rows] = is_ood
    number[rows] = -1
    if parameters.shape[1] != len(PARAMETERS):
        raise ValueError(f"{parameters.shape[1]} parameters; {PARAMETERS} are needed")
    return (
        Stars(stars.labels, all_norm, all_continuum),
        Truth(parameters, is_cemp, corrected, subclass, ood),
        number,
        left,
    )
