"""Noise-free stars at R = 5000: rows of the synthetic library, or the emulator trained on it.

Both stand on the emulator's grid (vacuum). What is held out is held out by star, by the hash with which the
library keeps stars from its emulator; half of those calibrate, the other half test.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np

from cempstream.models.emulator.emulator import Emulator
from cempstream.models.emulator.grids import EMULATOR_GRID
from cempstream.models.training.emulator.stellar_library import Library
from cempstream.models.training.star_labels import COLUMN, draw_labels
from cempstream.processors.grid import Array


@dataclass(frozen=True, slots=True, eq=False)
class Stars:
    """Stars at rest before any instrument.

    Attributes
    ----------
    labels
        float64, shape ``(n, 11)``, columns ``LABEL_NAMES``.
    norm
        Flux over continuum on the source's wavelengths, float32, shape ``(n, n_wave)``.
    continuum
        H_λ on the source's ``continuum_wave``, float32, shape ``(n, n_nodes)``.
    """

    labels: Array = field(repr=False)
    norm: Array = field(repr=False)
    continuum: Array = field(repr=False)


class StarSource(Protocol):
    """Where training stars come from; ``wave`` and ``continuum_wave`` are vacuum Å."""

    @property
    def wave(self) -> Array:
        """Wavelengths of ``Stars.norm``, evenly spaced in ln λ."""
        ...

    @property
    def continuum_wave(self) -> Array:
        """Wavelengths of ``Stars.continuum``."""
        ...

    def draw(self, n: int, rng: np.random.Generator) -> Stars:
        """Draw ``n`` stars."""
        ...


Part = Literal["train", "calibration", "test"]


class LibraryStars:
    """Rows of the synthetic library.

    Parameters
    ----------
    library
        All of it.
    part
        ``train`` is what the emulator saw; ``calibration`` and ``test`` are halves of what it did not,
        without spectra that are only estimated: those may teach, not judge.
    """

    def __init__(self, library: Library, part: Part) -> None:
        keep = ~library.is_held_out
        if part != "train":
            held_out = np.flatnonzero(library.is_held_out)
            keep = np.zeros(len(library.labels), dtype=bool)
            # Sorted by a label, every other one: both halves cover label space alike.
            order = held_out[np.argsort(library.labels[held_out, COLUMN["feh"]])]
            keep[order[int(part == "test") :: 2]] = True
            keep &= ~library.is_estimated
        self.wave = EMULATOR_GRID.wave
        self.continuum_wave = library.continuum_wave
        #: What to say of the lines that these spectra were computed with, for a card or a report.
        self.caveat = "" if library.is_cleaned[keep].all() else ", with CH lines that no star has"
        self.labels = library.labels[keep]
        self.norm = library.norm[keep]
        self.continuum = np.exp(library.log_continuum[keep]).astype(np.float32)

    def rows(self, rows: Array) -> Stars:
        """Return rows by number."""
        return Stars(self.labels[rows], self.norm[rows], self.continuum[rows])

    def draw(self, n: int, rng: np.random.Generator) -> Stars:
        """Draw rows, each about as often as the others."""
        n_rows = len(self.labels)
        rows = np.concatenate([rng.permutation(n_rows) for _ in range(-(-n // n_rows))])[:n]
        return self.rows(rows)


class EmulatedStars:
    """Stars of any label, from the emulator."""

    def __init__(self, emulator: Emulator) -> None:
        self._emulator = emulator
        self.wave = emulator.wave
        # The continuum is smooth: every hundredth pixel and the last hold it.
        self._nodes = np.append(np.arange(0, emulator.wave.size - 50, 100), emulator.wave.size - 1)
        self.continuum_wave = emulator.wave[self._nodes]

    def draw(self, n: int, rng: np.random.Generator) -> Stars:
        """Draw stars around the decision border, see ``draw_labels``."""
        labels = draw_labels(n, rng)
        spectra = self._emulator(labels)
        return Stars(labels, spectra.norm, spectra.continuum[:, self._nodes])


def carbon_rich_cool(labels: Array) -> Array:
    """Say which stars have C/O > 1 below 4700 K, where carbon-normal atmospheres make C2 too strong."""
    carbon = labels[:, COLUMN["cfe"]] + 8.43
    oxygen = labels[:, COLUMN["ofe"]] + 8.69
    return np.asarray((carbon > oxygen) & (labels[:, COLUMN["teff"]] < 4700))
