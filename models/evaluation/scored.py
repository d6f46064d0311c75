"""Results of a bundle on simulated spectra, with the truth, as columns that can be stored."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from cempstream.models.simulator import SimulatedBatch
from cempstream.processors.chain import ProcessorChain
from cempstream.processors.confusion import neighbours_light
from cempstream.processors.decide import Policy
from cempstream.processors.grid import Array
from cempstream.processors.outcome import PARAMETERS, SUBCLASSES, Classification
from cempstream.processors.spectrum import Flag

_BATCH = 64
_TEMPLATE = ("teff", "logg", "feh", "cfe", "chi2")


@dataclass(frozen=True, slots=True, eq=False)
class Scored:
    """Simulated spectra and their results; one row per spectrum.

    Attributes
    ----------
    truth
        Structured array of ``TRUTH_DTYPE``; ``weight`` is the number of natural sources of a row.
    survey
        Name of the profile.
    is_scored
        False where the processors refused the spectrum; its numbers are NaN and its probabilities 0.
    p_cemp, p_cemp_corrected
        At the policy's prior.
    subclass_p
        Shape ``(n, 4)``, in the order of ``SUBCLASSES``.
    value, lo, hi
        Shape ``(n, 6)``, in the order of ``PARAMETERS``.
    is_odd
        Flagged as out of distribution.
    snr
        Mean S/N per good pixel of the models' grid, as measured by the pipeline.
    neighbours_light
        The largest share of a neighbour's light in a carbon band, as the survey states it; 0 without one.
    lines, template
        Line indices, shape ``(n, n_lines)``; Teff, log g, [Fe/H], [C/Fe] and chi² of the nearest template.
    cpu_s
        CPU seconds of the processors for all rows.
    """

    truth: Array = field(repr=False)
    survey: Array = field(repr=False)
    is_scored: Array = field(repr=False)
    p_cemp: Array = field(repr=False)
    p_cemp_corrected: Array = field(repr=False)
    subclass_p: Array = field(repr=False)
    value: Array = field(repr=False)
    lo: Array = field(repr=False)
    hi: Array = field(repr=False)
    ood: Array = field(repr=False)
    is_odd: Array = field(repr=False)
    snr: Array = field(repr=False)
    neighbours_light: Array = field(repr=False)
    lines: Array = field(repr=False)
    line_names: Array = field(repr=False)
    template: Array = field(repr=False)
    cpu_s: float

    def __len__(self) -> int:
        return len(self.truth)

    @property
    def is_star(self) -> Array:
        """Whether a row is a star with labels."""
        return np.asarray(np.isfinite(self.truth["teff"]))

    @property
    def parameters(self) -> Array:
        """True parameters in the order of ``PARAMETERS``, NaN where there are none, shape ``(n, 6)``."""
        names = ("teff", "logg", "feh", "cfe", "ac", "sfe")
        return np.stack([self.truth[name].astype(np.float64) for name in names], axis=1)

    def take(self, rows: Array) -> Scored:
        """Return some of the rows."""
        columns = {name: getattr(self, name)[rows] for name in _COLUMNS}
        return Scored(**columns, line_names=self.line_names, cpu_s=self.cpu_s * float(np.mean(rows)))

    @classmethod
    def joined(cls, parts: Sequence[Scored]) -> Scored:
        """Return the rows of all parts."""
        columns = {name: np.concatenate([getattr(part, name) for part in parts]) for name in _COLUMNS}
        return cls(**columns, line_names=parts[0].line_names, cpu_s=sum(part.cpu_s for part in parts))

    def save(self, path: Path) -> None:
        """Write all columns to an ``.npz``, atomically."""
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".tmp.npz")
        columns = {name: getattr(self, name) for name in _COLUMNS}
        np.savez(partial, **columns, line_names=self.line_names, cpu_s=self.cpu_s)
        partial.replace(path)

    @classmethod
    def load(cls, path: Path) -> Scored:
        """Read what ``save`` wrote."""
        with np.load(path, allow_pickle=False) as kept:
            columns = {name: kept[name] for name in _COLUMNS}
            return cls(**columns, line_names=kept["line_names"], cpu_s=float(kept["cpu_s"]))


_COLUMNS = tuple(name for name in Scored.__dataclass_fields__ if name not in ("line_names", "cpu_s"))


def score_batches(batches: Iterable[SimulatedBatch], chain: ProcessorChain, policy: Policy) -> Scored:
    """Run simulated spectra through the processors as they are served."""
    truths: list[Array] = []
    surveys: list[str] = []
    rows: list[dict[str, Array]] = []
    cpu_s = 0.0
    for batch in batches:
        spectra = batch.spectra()
        truths.append(batch.truth)
        surveys += [batch.profile.survey] * len(batch)
        for first in range(0, len(spectra), _BATCH):
            began = time.thread_time()
            results = chain.process_spectra(spectra[first : first + _BATCH], policy)
            cpu_s += time.thread_time() - began
            rows.append(_columns(results))
            rows[-1]["neighbours_light"] = np.array(
                [neighbours_light(s) for s in spectra[first : first + _BATCH]]
            )
    columns = {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}
    names = np.array(chain.extract.lines.names)
    return Scored(
        truth=np.concatenate(truths), survey=np.array(surveys), line_names=names, cpu_s=cpu_s, **columns
    )


def _columns(results: Sequence[object]) -> dict[str, Array]:
    n = len(results)
    n_lines = next((len(r.lines) for r in results if isinstance(r, Classification)), 0)
    out = {
        "is_scored": np.zeros(n, dtype=bool),
        "p_cemp": np.zeros(n),
        "p_cemp_corrected": np.zeros(n),
        "subclass_p": np.full((n, len(SUBCLASSES)), np.nan, dtype=np.float32),
        **{name: np.full((n, len(PARAMETERS)), np.nan, dtype=np.float32) for name in ("value", "lo", "hi")},
        "ood": np.full(n, np.nan),
        "is_odd": np.zeros(n, dtype=bool),
        "snr": np.full(n, np.nan, dtype=np.float32),
        "lines": np.full((n, n_lines), np.nan, dtype=np.float32),
        "template": np.full((n, len(_TEMPLATE)), np.nan, dtype=np.float32),
    }
    for i, result in enumerate(results):
        if not isinstance(result, Classification):
            continue
        out["is_scored"][i] = True
        out["p_cemp"][i], out["p_cemp_corrected"][i] = result.p_cemp, result.p_cemp_corrected
        out["subclass_p"][i] = [result.subclass_p[name] for name in SUBCLASSES]
        estimates = [result.parameters[name] for name in PARAMETERS]
        out["value"][i] = [e.value for e in estimates]
        out["lo"][i] = [e.lo for e in estimates]
        out["hi"][i] = [e.hi for e in estimates]
        out["ood"][i], out["snr"][i] = result.ood_score, result.snr
        out["is_odd"][i] = Flag.OUT_OF_DISTRIBUTION in result.flags
        out["lines"][i] = [value for value, _ in result.lines.values()]
        out["template"][i] = [getattr(result.template, name) for name in _TEMPLATE]
    return out
