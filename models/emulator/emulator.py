"""Run the emulator: ONNX Runtime for the network, one matrix product for the spectra."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from onnxruntime import InferenceSession, SessionOptions

from cempstream.models.bundle import require_models
from cempstream.models.emulator.grids import EMULATOR_GRID, line_spread_matrix
from cempstream.models.emulator.labels import LABEL_NAMES, check_labels
from cempstream.processors.grid import Array, WavelengthGrid

DATA = Path(__file__).parent / "data"
CARD_NAME = "card.json"
NETWORK_NAME = "emulator.onnx"
BASIS_NAME = "basis.npz"

_ROWS = 512


@dataclass(frozen=True, slots=True, eq=False)
class EmulatedSpectra:
    """Spectra of stars at rest.

    Attributes
    ----------
    norm
        Flux over the true continuum, float32, shape ``(n_spec, n_pix)``.
    continuum
        H_λ in erg/s/cm²/Å, float32, shape ``(n_spec, n_pix)``.
    """

    norm: Array = field(repr=False)
    continuum: Array = field(repr=False)

    @property
    def flux(self) -> Array:
        """H_λ in erg/s/cm²/Å, float32, shape ``(n_spec, n_pix)``."""
        return self.norm * self.continuum


@dataclass(frozen=True, slots=True, eq=False)
class _Basis:
    """Converts the network's output to spectra on one grid; float32."""

    mean: Array
    components: Array
    continuum: Array

    def sampled(self, matrix: Any) -> _Basis:
        """Smooth and sample the basis once, instead of every spectrum."""
        return _Basis(
            np.asarray(matrix @ self.mean, dtype=np.float32),
            np.ascontiguousarray((matrix @ self.components.T).T, dtype=np.float32),
            np.ascontiguousarray((matrix @ self.continuum.T).T, dtype=np.float32),
        )


class Emulator:
    """Stellar labels to spectra on one grid at one resolving power.

    ``Emulator.load()`` gives R = 5000 on ``EMULATOR_GRID``; ``at`` gives another, at the same speed.

    Attributes
    ----------
    wave
        Vacuum Å of the pixels, shape ``(n_pix,)``.
    card
        What the files are, how they were made, and their accuracy.
    """

    def __init__(self, session: InferenceSession, card: dict[str, Any], basis: _Basis, wave: Array) -> None:
        self.wave = wave
        self.card = card
        self._session = session
        self._basis = basis

    @classmethod
    def load(cls, path: Path | None = None, *, threads: int = 1) -> Emulator:
        """Load the emulator from a folder (the shipped one by default) and check it against its card.

        Raises
        ------
        BundleError
            The shipped one is not installed.
        ValueError
            A file does not match the card, or the card has other labels.
        """
        folder = path or DATA
        if folder == DATA:
            require_models(DATA)
        card = json.loads((folder / CARD_NAME).read_text())
        for name, expected in card["files"].items():
            found = sha256((folder / name).read_bytes()).hexdigest()
            if found != expected:
                raise ValueError(f"{name} has sha256 {found[:12]}…; its card describes {expected[:12]}…")
        names = tuple(label["name"] for label in card["labels"])
        if names != LABEL_NAMES:
            raise ValueError(f"the card's labels are {', '.join(names)}; {', '.join(LABEL_NAMES)} are needed")
        options = SessionOptions()
        options.intra_op_num_threads = threads
        session = InferenceSession(str(folder / NETWORK_NAME), options, providers=["CPUExecutionProvider"])
        with np.load(folder / BASIS_NAME, allow_pickle=False) as stored:
            basis = _Basis(
                stored["mean"].astype(np.float32),
                stored["components"].astype(np.float32),
                _interpolation(stored["continuum_wave"], EMULATOR_GRID.wave),
            )
        return cls(session, card, basis, EMULATOR_GRID.wave)

    def at(self, resolving_power: float | Array, grid: WavelengthGrid) -> Emulator:
        """Return this emulator smoothed to a resolving power and sampled on other pixels (vacuum).

        Parameters
        ----------
        resolving_power
            λ/FWHM, at most the library's 5000; a number, or one for each pixel of ``grid``.
        grid
            Within the emulator's 3642–9951 Å.
        """
        if self.wave.size != EMULATOR_GRID.n_pix:
            raise ValueError("this emulator is already sampled; sample the one that was loaded")
        wave = grid.wave
        if wave[0] < self.wave[0] or wave[-1] > self.wave[-1]:
            raise ValueError(
                f"the grid runs from {wave[0]:.1f} to {wave[-1]:.1f} Å; "
                f"the emulator covers {self.wave[0]:.1f} to {self.wave[-1]:.1f} Å"
            )
        matrix = line_spread_matrix(grid, resolving_power)
        return Emulator(self._session, self.card, self._basis.sampled(matrix), wave)

    def __call__(self, labels: Array) -> EmulatedSpectra:
        """Compute spectra; row i belongs to row i of the labels.

        Parameters
        ----------
        labels
            Shape ``(n, 11)``, columns in the order of ``LABEL_NAMES``.

        Raises
        ------
        LabelOutOfRange
            A label lies outside the library's range; the message names it.
        """
        labels = np.asarray(labels, dtype=np.float64)
        check_labels(labels)
        norm = np.empty((len(labels), self.wave.size), dtype=np.float32)
        continuum = np.empty_like(norm)
        for start in range(0, len(labels), _ROWS):
            rows = slice(start, start + _ROWS)
            coefficients, log_nodes = self._session.run(None, {"labels": labels[rows].astype(np.float32)})
            np.matmul(coefficients, self._basis.components, out=norm[rows])
            norm[rows] += self._basis.mean
            np.matmul(np.exp(log_nodes), self._basis.continuum, out=continuum[rows])
        # Saturated bands come out slightly below zero, as sums of components.
        np.maximum(norm, 0.0, out=norm)
        return EmulatedSpectra(norm, continuum)


def _interpolation(nodes: Array, points: Array) -> Array:
    """Return the linear interpolation from nodes to points as a matrix ``(n_nodes, n_points)``, float32."""
    unit = np.eye(nodes.size)
    return np.stack([np.interp(points, nodes, row) for row in unit]).astype(np.float32)
