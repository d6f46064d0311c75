"""A table of stars (CSV or ECSV) with magnitudes, parallaxes and reddening, to complete spectra with."""

from __future__ import annotations

import csv
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np

from cempstream.processors.grid import Array
from cempstream.processors.readers.options import UnreadableFile
from cempstream.processors.readers.source import ASTROPY_DAMAGE
from cempstream.processors.spectrum import Spectrum

#: Farther than this a row is another star, arcsec.
MATCH_RADIUS_ARCSEC = 2.0

#: Names of columns, the first that a table has; ours, then those of Gaia's archive and of 2MASS.
_IDS = ("id", "spectrum_id", "object_id", "source_id", "gaia_source_id")
_BANDS = {
    "G": ("G", "gaia_g", "phot_g_mean_mag"),
    "BP": ("BP", "gaia_bp", "phot_bp_mean_mag"),
    "RP": ("RP", "gaia_rp", "phot_rp_mean_mag"),
    "J": ("J", "j", "j_m"),
    "H": ("H", "h", "h_m"),
    "Ks": ("Ks", "ks", "k_m"),
}
_FACTS = {
    "parallax_mas": ("parallax_mas", "parallax"),
    "parallax_error_mas": ("parallax_error_mas", "parallax_error"),
    "ebv": ("ebv", "EBV", "E(B-V)"),
    "ebv_error": ("ebv_error",),
    "teff_phot": ("teff_phot",),
    "teff_phot_error": ("teff_phot_error",),
    "logg_phot": ("logg_phot",),
    "logg_phot_error": ("logg_phot_error",),
    "stellarity": ("stellarity",),
}
_WANTED = (
    "columns id, or ra and dec, and some of G, BP, RP, J, H, Ks, parallax, ebv, teff_phot, logg_phot (each "
    "with _error) and stellarity are needed, in mag, mas, K and deg"
)


@dataclass(frozen=True, slots=True, eq=False)
class StarTable:
    """What a table knows of stars, by id and by position.

    Attributes
    ----------
    rows
        Fields of a ``Spectrum`` by name, one mapping per star.
    by_id
        Row of each id.
    place
        Unit vectors of the rows' positions, shape ``(n, 3)``; NaN where a row has none.
    """

    rows: Sequence[Mapping[str, Any]] = field(repr=False)
    by_id: Mapping[str, int] = field(repr=False)
    place: Array = field(repr=False)

    def find(self, spectrum: Spectrum) -> int | None:
        """Return a spectrum's row: by its id, its star's id or Gaia's, else the nearest within 2 arcsec."""
        for name in (spectrum.spectrum_id, spectrum.object_id, spectrum.gaia_source_id):
            if name is not None and (row := self.by_id.get(str(name))) is not None:
                return row
        if spectrum.ra is None or spectrum.dec is None or not len(self.place):
            return None
        away = np.linalg.norm(self.place - _vectors(np.array([[spectrum.ra, spectrum.dec]])), axis=1)
        away = np.where(np.isfinite(away), away, np.inf)
        nearest = int(np.argmin(away))
        return nearest if np.degrees(away[nearest]) * 3600.0 <= MATCH_RADIUS_ARCSEC else None

    def complete(self, spectrum: Spectrum) -> Spectrum:
        """Return a spectrum with what the table knows of its star; the table's values come first."""
        row = self.find(spectrum)
        if row is None:
            return spectrum
        known = dict(self.rows[row])
        photometry = {**spectrum.photometry, **known.pop("photometry")}
        return replace(spectrum, photometry=photometry, **known)


def read_star_table(path: Path) -> StarTable:
    """Read a table of stars.

    Raises
    ------
    UnreadableFile
        It is no such table, or lacks the columns that are needed.
    """
    columns = _read_columns(path)
    name_of_id = _first(_IDS, columns)
    has_position = "ra" in columns and "dec" in columns
    bands = {band: found for band, names in _BANDS.items() if (found := _first(names, columns))}
    facts = {fact: found for fact, names in _FACTS.items() if (found := _first(names, columns))}
    if (name_of_id is None and not has_position) or not (bands or facts):
        raise UnreadableFile(path, f"has the columns {', '.join(columns) or 'none'}", _WANTED)
    ids = columns[name_of_id] if name_of_id else []
    n = len(next(iter(columns.values())))
    numbers = {name: _numbers(columns[name], path, name) for name in (*bands.values(), *facts.values())}
    nothing = [""] * n
    errors = {
        band: _numbers(columns.get(f"{name}_error", nothing), path, f"{name}_error")
        for band, name in bands.items()
    }
    rows = []
    for i in range(n):
        known: dict[str, Any] = {
            fact: float(numbers[name][i]) for fact, name in facts.items() if np.isfinite(numbers[name][i])
        }
        known["photometry"] = {
            band: (float(numbers[name][i]), float(errors[band][i]))
            for band, name in bands.items()
            if np.isfinite(numbers[name][i])
        }
        rows.append(known)
    by_id = {text.strip(): i for i, text in enumerate(ids) if text.strip()}
    if has_position:
        degrees = np.stack([_numbers(columns[name], path, name) for name in ("ra", "dec")], axis=1)
        return StarTable(rows, by_id, _vectors(degrees))
    return StarTable(rows, by_id, np.zeros((0, 3)))


def _read_columns(path: Path) -> dict[str, list[str]]:
    """Return a table's cells as text, by column."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UnreadableFile(path, "is no text", "give a CSV or an ECSV") from error
    if text.startswith("# %ECSV"):
        from astropy.io import ascii as astropy_ascii

        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                table = astropy_ascii.read(text.splitlines(), format="ecsv", guess=False)
        except ASTROPY_DAMAGE as error:
            raise UnreadableFile(path, f"is a damaged ECSV table ({error})", "write it by astropy") from error
        return {
            name: ["" if np.ma.is_masked(cell) else str(cell) for cell in table[name]]
            for name in table.colnames
        }
    rows = list(csv.reader(StringIO(text)))
    if len(rows) < 2:
        raise UnreadableFile(path, "holds no rows below a header", "give a CSV or an ECSV")
    header, *body = ([cell.strip() for cell in row] for row in rows if row)
    for row in body:
        if len(row) != len(header):
            raise UnreadableFile(
                path, f"has a row of {len(row)} cells below {len(header)} names", "give one cell for each"
            )
    return {name: [row[i] for row in body] for i, name in enumerate(header)}


def _first(names: Sequence[str], columns: Mapping[str, object]) -> str | None:
    return next((name for name in names if name in columns), None)


def _numbers(cells: Sequence[str], path: Path, name: str) -> Array:
    """Return cells as numbers, NaN where they are empty."""
    try:
        return np.array([float(cell) if cell.strip() not in ("", "--", "null") else np.nan for cell in cells])
    except ValueError as error:
        raise UnreadableFile(path, f"column '{name}': {error}", "it must hold numbers") from error


def _vectors(degrees: Array) -> Array:
    """Return unit vectors of right ascension and declination, shape ``(n, 2)`` to ``(n, 3)``."""
    ra, dec = np.radians(degrees).T
    return np.stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)], axis=1)
