"""The synthetic library as arrays on the emulator's grid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from zlib import crc32

import numpy as np
from scipy.interpolate import CubicSpline

from cempstream.models.emulator.grids import EMULATOR_GRID
from cempstream.models.emulator.labels import LABEL_NAMES
from cempstream.models.synthesis.grid_stars import EVERYTHING
from cempstream.processors.grid import Array, air_to_vacuum

#: Grids (air Å) of chunks that do not repeat them: 2.5 pixels per resolution element, evenly spaced nodes.
_WAVE_AIR = 3640.0 * np.exp(8e-5 * np.arange(12570))
_CONTINUUM_WAVE_AIR = np.linspace(3640.0, 9950.0, 128)

#: Line sets without the lines that cannot exist, as ``cempstream.models.synthesis`` names them.
_CLEANED, _ESTIMATED = ("cleaned", "ch-cleaned", "mended"), "estimated"

#: One star in eight is held out, by a hash of its labels: it stays held out whatever is added later.
HELD_OUT_IN = 8


@dataclass(frozen=True, slots=True, eq=False)
class Library:
    """Synthetic spectra.

    Attributes
    ----------
    labels
        float64, shape ``(n, 11)`` in the order of ``LABEL_NAMES``.
    norm
        Flux over the true continuum, float32, shape ``(n, EMULATOR_GRID.n_pix)``.
    is_cleaned
        Whether the CH lines that cannot exist were left out, bool, shape ``(n,)``. With them cool carbon-rich
        stars have lines up to 27 % deep that no star has.
    is_estimated
        Whether that was only estimated, so that the spectrum may teach but not judge, bool, shape ``(n,)``.
    is_stratum
        Whether the star was added where it matters, outside the sequence that fills label space evenly, bool,
        shape ``(n,)``.
    continuum_wave, log_continuum
        Vacuum Å, shape ``(n_nodes,)``; natural log of H_λ in erg/s/cm²/Å, shape ``(n, n_nodes)``.
    """

    labels: Array = field(repr=False)
    norm: Array = field(repr=False)
    is_cleaned: Array = field(repr=False)
    is_estimated: Array = field(repr=False)
    is_stratum: Array = field(repr=False)
    continuum_wave: Array = field(repr=False)
    log_continuum: Array = field(repr=False)

    @property
    def is_held_out(self) -> Array:
        """Which stars training must not see, bool, shape ``(n,)``."""
        keys = [crc32(np.round(row, 5).astype("<f8").tobytes()) for row in self.labels]
        return np.asarray(np.array(keys) % HELD_OUT_IN == 0)


def stellar_files(paths: Sequence[Path]) -> list[Path]:
    """Return the files of these files and folders, sorted; a folder stands for all ``*.npz`` in it."""
    found: list[Path] = []
    for path in paths:
        found += sorted(path.glob("**/*.npz")) if path.is_dir() else [path]
    return found


def read_library(files: Sequence[Path]) -> Library:
    """Read chunks of the library (air wavelengths) and put them on the emulator's grid (vacuum).

    Spectra with a NaN are left out, and a star counts once: with cleaned lines where it has them.
    """
    labels, norms, line_sets, strata, continua = [], [], [], [], []
    continuum_wave = air_to_vacuum(_CONTINUUM_WAVE_AIR)
    for path in files:
        with np.load(path, allow_pickle=False) as chunk:
            labels.append(np.stack([chunk[name].astype(np.float64) for name in LABEL_NAMES], axis=1))
            norm = chunk["norm"].astype(np.float32)
            line_sets.append(_line_set(chunk, len(norm)))
            strata.append(np.asarray(chunk.get("stratum", np.full(len(norm), EVERYTHING))))
            norms.append(_resample(air_to_vacuum(chunk.get("wave", _WAVE_AIR)), norm))
            nodes = air_to_vacuum(chunk.get("cont_wave", _CONTINUUM_WAVE_AIR))
            continua.append(np.stack([np.interp(continuum_wave, nodes, row) for row in chunk["cont"]]))
    if not labels:
        raise FileNotFoundError("no library file was given; name library.npz or a folder of chunks")
    # Cleaned ones first, estimated ones next, because the first of equal stars is kept.
    line_set = np.concatenate(line_sets)
    is_estimated = line_set == _ESTIMATED
    is_cleaned = is_estimated | np.isin(line_set, _CLEANED)
    order = np.argsort(is_estimated + 2 * ~is_cleaned, kind="stable")
    is_cleaned, is_estimated = is_cleaned[order], is_estimated[order]
    all_labels, norm, continuum = (np.concatenate(part)[order] for part in (labels, norms, continua))
    _, first = np.unique(np.round(all_labels, 5), axis=0, return_index=True)
    is_sound = (
        np.isfinite(norm).all(axis=1) & np.isfinite(continuum).all(axis=1) & (continuum > 0).all(axis=1)
    )
    keep = np.sort(first[is_sound[first]])
    return Library(
        all_labels[keep],
        norm[keep],
        is_cleaned[keep],
        is_estimated[keep],
        np.concatenate(strata)[order][keep] != EVERYTHING,
        continuum_wave,
        np.log(continuum[keep]),
    )


def _line_set(chunk: Mapping[str, Array], n: int) -> Array:
    """Return the line set of the rows of a chunk; files that do not say were made when there was one."""
    said = chunk.get("line_set", chunk.get("linelist"))
    return np.full(n, "published") if said is None else np.asarray(said)


def _resample(vacuum: Array, norm: Array) -> Array:
    """Interpolate by cubic splines; with 2.5 pixels per resolution element the error is negligible."""
    target = np.log(EMULATOR_GRID.wave)
    out = np.empty((len(norm), target.size), dtype=np.float32)
    for start in range(0, len(norm), 128):
        rows = slice(start, start + 128)
        out[rows] = CubicSpline(np.log(vacuum), norm[rows], axis=1)(target)
    return out
