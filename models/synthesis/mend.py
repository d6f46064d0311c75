"""Remove impossible CH lines from spectra computed with them, at a fifth of the cost of new spectra.

The number of CH molecules over the continuous opacity, at one depth of the star's atmosphere, tells well
enough how much each of these lines absorbs. Only where that matters the spectrum is computed again without
them; where they are weak their absorption is proportional to that opacity, with the factor found in the
recomputed pieces of the same star.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import Event

import numpy as np

from cempstream.models.synthesis.abundances import number_fractions
from cempstream.models.synthesis.atmosphere import AtmosphereGrid, AtmosphereNotCovered
from cempstream.models.synthesis.chunks import (
    MENDED,
    LibraryRows,
    chunk_path,
    computed,
    read_rows,
    write_rows,
)
from cempstream.models.synthesis.errors import SynspecFailed
from cempstream.models.synthesis.grid_run import CHUNK_SIZE, GridRun, TellChunks, in_parallel, prepare
from cempstream.models.synthesis.grid_spectrum import LIBRARY_WAVE, PIXELS_PER_FWHM, smooth_to_library
from cempstream.models.synthesis.grid_stars import Star
from cempstream.models.synthesis.linelists import LineSet, MoogLines, impossible_lines, isotopologue_shares
from cempstream.models.synthesis.synspec import SynspecRunner
from cempstream.processors.grid import Array

logger = logging.getLogger(__name__)

#: A pixel is computed again above this log10 of the opacity (over the continuous one, up to a constant).
#: There lines are 1 to 2 % deep at R = 5000; weaker ones are corrected to a third of that.
RECOMPUTE_ABOVE = -2.0
#: A weaker opacity has no visible effect.
_NOTHING_BELOW = -5.0
#: The factor of weak lines is measured below this, on at least this many pixels; otherwise it is typical.
_WEAK_BELOW, _ENOUGH_PIXELS, _USUAL_FACTOR = -1.5, 30, 1.2

#: Pixels around one to be computed again, 2.8 σ of the library's line-spread function; and how far, in σ,
#: smoothed spectra are spoilt at the ends of a piece.
_MARGIN_PIX, _SPOILT_SIGMA = 3, 2.5

#: Pieces that reach an end of the library's grid are computed this far beyond it.
_BEYOND_AA = 6.0

#: Synspec's last step may go this far beyond the end of a piece; the next piece is a pixel or more away.
_TOLERANCE_AA = 0.12

_FWHM_PER_SIGMA = 2.35482
_SIGMA_PIX = PIXELS_PER_FWHM / _FWHM_PER_SIGMA

#: cgs.
_BOLTZMANN, _PLANCK, _ATOMIC_MASS = 1.380649e-16, 6.62607015e-27, 1.66053907e-24
_EV_LOG = 5040.0

#: Temperature over Teff at the depth that represents the atmosphere; helium nuclei add to the hydrogen.
_WARMTH, _NUCLEI_PER_H = 0.85, 1.09


def molecules_over_continuum(star: Star, atmospheres: AtmosphereGrid) -> tuple[float, float]:
    """Return log10 of n(CH) over the H⁻ opacity, up to a constant, and the temperature there (K).

    CO takes carbon and oxygen by the law of mass action; CH is a trace of the remaining carbon.
    """
    layers = atmospheres.interpolate(star.teff, star.logg, star.feh)
    _, temperature, pressure, electrons = layers[np.argmin(np.abs(layers[:, 1] - _WARMTH * star.teff))]
    hydrogen = pressure / (_BOLTZMANN * temperature) / _NUCLEI_PER_H
    fractions = number_fractions(star)
    carbon, oxygen = fractions[5] * hydrogen, fractions[7] * hydrogen
    dissociated = 10.0 ** _log_dissociation(temperature, 11.092, 6.857, 81.0, 1.931, 2170.0)
    excess = dissociated + oxygen - carbon
    free_carbon = 0.5 * (np.sqrt(excess**2 + 4.0 * dissociated * carbon) - excess)
    log_ch = np.log10(free_carbon * hydrogen) - _log_dissociation(
        temperature, 3.465, 0.93, 4.5, 14.46, 2861.0
    )
    log_continuum = (
        np.log10(hydrogen * electrons * _BOLTZMANN * temperature)
        + 0.754 * _EV_LOG / temperature
        - 2.5 * np.log10(temperature)
    )
    return float(log_ch - log_continuum), float(temperature)


def _log_dissociation(
    temperature: float, energy_ev: float, mass: float, partition: float, rotation: float, vibration: float
) -> float:
    """Return log10 of n(A) n(B) / n(AB) in cm⁻³ of a rigid rotor; constants in cm⁻¹.

    ``partition`` is that of both atoms multiplied, over that of the molecule's electrons.
    """
    translation = 1.5 * np.log10(2.0 * np.pi * mass * _ATOMIC_MASS * _BOLTZMANN * temperature / _PLANCK**2)
    inner = np.log10(temperature / (1.4388 * rotation)) - np.log10(
        1.0 - np.exp(-1.4388 * vibration / temperature)
    )
    return float(translation + np.log10(partition) - inner - energy_ev * _EV_LOG / temperature)


def impossible_opacity(
    lines: MoogLines, ratio_12c_13c: float, log_ch: float, temperature: float, *, saturation: float = 0.0
) -> Array:
    """Return the lines' opacity at R = 5000 on ``LIBRARY_WAVE``, over the continuous one, up to a constant.

    Parameters
    ----------
    log_ch, temperature
        From ``molecules_over_continuum``.
    saturation
        When given, each line's opacity x counts as log(1 + s x) / s.
    """
    shares = isotopologue_shares(ratio_12c_13c)
    log_share = np.log10([shares[code] for code in lines.code])
    strength = 10.0 ** (lines.log_gf + log_share - lines.excitation_ev * _EV_LOG / temperature + log_ch)
    if saturation > 0.0:
        strength = np.log1p(saturation * strength) / saturation
    at = np.interp(np.log(lines.wave), np.log(LIBRARY_WAVE), np.arange(LIBRARY_WAVE.size))
    pixels = np.rint(at).astype(int)[:, None] + np.arange(-4, 5)
    profile = np.exp(-0.5 * ((pixels - at[:, None]) / _SIGMA_PIX) ** 2)
    inside = (pixels >= 0) & (pixels < LIBRARY_WAVE.size)
    return np.bincount(
        pixels[inside], weights=(strength[:, None] * profile)[inside], minlength=LIBRARY_WAVE.size
    )


def find_pieces(opacity: Array) -> Array:
    """Return the ranges (air Å) to compute again, shape ``(n, 2)``, with margins for the smoothing."""
    strong = (opacity > 10.0**RECOMPUTE_ABOVE).astype(np.float64)
    wide = np.convolve(strong, np.ones(2 * _MARGIN_PIX + 1), mode="same") > 0.5
    edges = np.diff(np.concatenate(([0], wide.astype(int), [0])))
    first, last = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1) - 1
    low = LIBRARY_WAVE[first] - _BEYOND_AA * (first == 0)
    high = LIBRARY_WAVE[last] + _BEYOND_AA * (last == LIBRARY_WAVE.size - 1)
    return np.stack([low, high], axis=1)


def mend(norm: Array, star: Star, lines: MoogLines, runner: SynspecRunner) -> Array:
    """Return the normalised flux of one star without these lines.

    Parameters
    ----------
    norm
        The star's row of a library computed with these lines, on ``LIBRARY_WAVE``.
    runner
        Runner with cleaned lines.

    Returns
    -------
    Array
        float16, shape of ``norm``.
    """
    opacity = impossible_opacity(lines, star.r1213, *molecules_over_continuum(star, runner.atmospheres))
    pieces = find_pieces(opacity)
    mended = norm.astype(np.float64)
    is_new = np.zeros(norm.shape, dtype=bool)
    if len(pieces):
        raw = runner(star, pieces)
        flux = raw.flux / np.interp(raw.wave, raw.continuum_wave, raw.continuum)
        for low, high in pieces:
            inside = (raw.wave > low - _TOLERANCE_AA) & (raw.wave < high + _TOLERANCE_AA)
            _replace(mended, is_new, raw.wave[inside], flux[inside])
    return _mend_weak(mended, is_new, norm.astype(np.float64), opacity).astype(np.float16)


def _replace(mended: Array, is_new: Array, wave: Array, flux: Array) -> None:
    """Smooth one computed piece and put it into the spectrum, without its ends, which are not valid."""
    spoilt = np.exp(_SPOILT_SIGMA / (5000.0 * _FWHM_PER_SIGMA))
    first, last = np.searchsorted(LIBRARY_WAVE, (wave[0] * spoilt, wave[-1] / spoilt))
    if last > first:
        mended[first:last] = smooth_to_library(wave, flux, LIBRARY_WAVE[first:last])
        is_new[first:last] = True


def _mend_weak(mended: Array, is_new: Array, norm: Array, opacity: Array) -> Array:
    """Add back what weak lines absorbed where nothing was recomputed, in proportion to their opacity.

    Weak lines absorb less where other lines already absorb: their depth is proportional to the flux squared.
    """
    depth = opacity * norm**2
    known = is_new & (opacity > 10.0**_NOTHING_BELOW) & (opacity < 10.0**_WEAK_BELOW)
    factor = _USUAL_FACTOR
    if known.sum() >= _ENOUGH_PIXELS:
        factor = float(np.sum((mended - norm)[known] * depth[known]) / np.sum(depth[known] ** 2))
    weak = np.minimum(opacity, 10.0**RECOMPUTE_ABOVE)
    lighter = norm + max(factor, 0.0) * np.where(weak > 10.0**_NOTHING_BELOW, weak, 0.0) * norm**2
    return np.where(is_new, mended, np.minimum(lighter, np.maximum(norm, 1.0)))


@dataclass(frozen=True, slots=True)
class _Mender:
    """Removes impossible lines from chunks of a library."""

    runner: SynspecRunner
    lines: MoogLines
    stop: Event

    def __call__(self, rows: LibraryRows) -> tuple[LibraryRows | None, list[str], int]:
        """Return corrected rows, failures, and how many were tried."""
        spectra: list[Array] = []
        kept: list[int] = []
        failures: list[str] = []
        for i, labels in enumerate(rows.labels):
            if self.stop.is_set():
                break
            try:
                spectra.append(mend(rows.norm[i], Star.from_row(labels), self.lines, self.runner))
            except (SynspecFailed, AtmosphereNotCovered) as error:
                logger.warning("%s %d: %s", rows.stratum[i], rows.index[i], error)
                failures.append(f"{rows.stratum[i]} {rows.index[i]}: {error}")
            else:
                kept.append(i)
        if not kept:
            return None, failures, len(rows.labels)
        part = rows.select(np.array(kept))
        mended = LibraryRows(
            np.stack(spectra),
            part.continuum,
            part.labels,
            part.stratum,
            part.seed,
            part.index,
            np.full(len(kept), MENDED),
        )
        return mended, failures, len(rows.labels)


def run_mend(
    library: Sequence[Path], workers: int, out: Path, cache: Path, progress: TellChunks | None = None
) -> GridRun:
    """Remove impossible lines from the published spectra of these files that are not in ``out`` yet.

    Parameters
    ----------
    workers
        Synspec processes that run in parallel.
    out
        Folder of the chunks.
    """
    done = computed(out, MENDED)
    chunks: list[LibraryRows] = []
    n_due = 0
    for path in library:
        rows = read_rows(path)
        published = np.flatnonzero(rows.line_set == LineSet.PUBLISHED.value)
        n_due += len(published)
        left = [i for i in published.tolist() if _key(rows, i) not in done]
        chunks += [rows.select(np.array(left[k : k + CHUNK_SIZE])) for k in range(0, len(left), CHUNK_SIZE)]
    n_before = n_due - sum(len(chunk.index) for chunk in chunks)
    if progress is not None:
        progress(n_before, n_due)
    if not chunks:
        return GridRun(0, n_before, ())
    mender = _Mender(prepare(cache, LineSet.CLEANED), impossible_lines(cache), Event())
    failures: list[str] = []
    n_computed = n_tried = 0
    with ThreadPoolExecutor(workers) as pool:
        try:
            for mended, failed, n_stars in in_parallel(pool, workers, chunks, mender):
                failures += failed
                n_tried += n_stars
                if mended is not None:
                    stratum, seed, first = _key(mended, 0)
                    write_rows(chunk_path(out, stratum, seed, MENDED, first), mended)
                    n_computed += len(mended.index)
                if progress is not None:
                    progress(n_before + n_tried, n_due)
        finally:
            mender.stop.set()
    return GridRun(n_computed, n_before, tuple(failures))


def _key(rows: LibraryRows, i: int) -> tuple[str, int, int]:
    return str(rows.stratum[i]), int(rows.seed[i]), int(rows.index[i])
