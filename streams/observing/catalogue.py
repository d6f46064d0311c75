"""A catalogue of stars from a table: which column is what, in which unit, and which rows are stars.

Columns are found by their UCDs, else by their names as Gaia, SIMBAD, VizieR and people write them. A row
without a usable position is left out and counted; a table without such columns is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from cempstream.errors import FixableError
from cempstream.plain import shown
from cempstream.processors.grid import Array

#: So many columns of a catalogue, beside position and name, go into alerts as labels.
MAX_LABELS = 16

#: Longer names and labels are cut: every alert carries those of its matches.
MAX_CHARS = 100

#: The epoch of positions that state none: that of SIMBAD and of most catalogues.
DEFAULT_EPOCH = 2000.0

#: Barnard's star, the fastest, moves by 10.4 arcsec a year.
_FASTEST_MAS_YR = 15_000.0
_EPOCHS = (1800.0, 2200.0)

_NAMES: Mapping[str, tuple[str, ...]] = {
    "ra": (
        *("ra", "ra_deg", "ra_icrs", "_ra_icrs", "raj2000", "_raj2000", "ra_j2000", "_ra", "radeg", "ra_d"),
        *("ra_hms", "right_ascension", "rightascension", "alpha"),
    ),
    "dec": (
        *(
            "dec",
            "dec_deg",
            "de_icrs",
            "_de_icrs",
            "dec_icrs",
            "dej2000",
            "_dej2000",
            "dec_j2000",
            "decj2000",
        ),
        *("_de", "de", "decdeg", "dedeg", "dec_d", "dec_dms", "declination", "delta"),
    ),
    "pmra": ("pmra", "pm_ra", "pmra_cosdec", "pm_ra_cosdec", "pmra_mas_yr"),
    "pmdec": ("pmdec", "pm_dec", "pmde", "pm_de", "pmdec_mas_yr"),
    "epoch": ("ref_epoch", "epoch", "refepoch", "epoch_yr"),
    "name": (
        *("name", "main_id", "designation", "star", "target", "object", "object_id", "objid"),
        *("simbad_identifier", "simbad", "source_id", "gaia_source_id", "id"),
    ),
}

_UCDS: Mapping[str, tuple[str, ...]] = {
    "ra": ("pos.eq.ra;meta.main",),
    "dec": ("pos.eq.dec;meta.main",),
    "pmra": ("pos.pm;pos.eq.ra",),
    "pmdec": ("pos.pm;pos.eq.dec",),
    "name": ("meta.id;meta.main",),
}

#: Units as they are written, without spaces, times which they are degrees, or mas/yr.
_ANGLES = {
    "": 1.0,
    "deg": 1.0,
    "degree": 1.0,
    "degrees": 1.0,
    "rad": 180 / np.pi,
    "hourangle": 15.0,
    "h": 15.0,
}
_MOTIONS = {
    **dict.fromkeys(("", "mas/yr", "mas.yr-1", "masyr-1", "mas*yr**-1", "mas/year", "masyr**-1"), 1.0),
    **dict.fromkeys(("arcsec/yr", "arcsec.yr-1", "arcsecyr-1", "arcsec/year", "arcsecyr**-1"), 1e3),
    **dict.fromkeys(("deg/yr", "deg.yr-1", "degyr-1", "deg/year", "degyr**-1"), 3.6e6),
}
_YEARS = dict.fromkeys(("", "yr", "year", "years", "a", "jyear"), 1.0)
_UNITS: Mapping[str, Mapping[str, float]] = {
    **{"ra": _ANGLES, "dec": _ANGLES, "pmra": _MOTIONS, "pmdec": _MOTIONS, "epoch": _YEARS}
}

_SEXAGESIMAL = re.compile(r"([+-]?)\s*(\d+)[\s:hd°]+(\d+)[\s:m'′]+(\d+(?:\.\d*)?)\s*[s\"″]?", re.ASCII)


class CatalogueError(FixableError, ValueError):
    """A catalogue cannot be used; the message names file and column, and what would be right."""


@dataclass(frozen=True, slots=True, eq=False)
class Column:
    """A column of a table: numbers, NaN where there is none, or texts; with its unit and UCD, if any."""

    name: str
    values: Array
    unit: str = ""
    ucd: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Catalogue:
    """The stars of a catalogue.

    Attributes
    ----------
    ra_deg, dec_deg, pmra_mas_yr, pmdec_mas_yr, epoch
        Shape ``(n,)``, float64, finite; ICRS, the first motion with the cosine of the declination.
    names
        Empty where a star has none.
    labels
        What else the table says of every star, by column.
    skipped
        How many rows were left out, by the reason, and the first of each.
    notes
        What was assumed.
    """

    name: str
    ra_deg: Array
    dec_deg: Array
    pmra_mas_yr: Array
    pmdec_mas_yr: Array
    epoch: Array
    names: Array
    labels: Mapping[str, Array]
    skipped: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def n_stars(self) -> int:
        """Number of stars."""
        return len(self.ra_deg)

    def describe(self) -> str:
        """Return one line for a person: how many stars, what was left out, what was assumed."""
        skipped = [f"{n:,} left out: {reason}" for reason, n in self.skipped.items()]
        return "; ".join((f"{shown(self.name)}: {self.n_stars:,} stars", *skipped, *self.notes))

    def labels_of(self, row: int) -> dict[str, str]:
        """Return what the table says of a star; empty cells are left out."""
        return {name: text for name, values in self.labels.items() if (text := str(values[row]))}


def catalogue_of(name: str, columns: Sequence[Column]) -> Catalogue:
    """Return the catalogue that a table holds.

    Raises
    ------
    CatalogueError
        No column is a position, a unit is not understood, or no row has a position.
    """
    of = _roles(columns)
    missing = [role for role in ("ra", "dec") if role not in of]
    if missing:
        found = ", ".join(shown(column.name, longest=30) for column in columns[:20]) or "none"
        raise CatalogueError(
            f"{name}: no column is {' or '.join(missing)}; it has {found}. "
            "Call them ra and dec: degrees, or hours and degrees as 10:45:08.2 +41:23:45"
        )
    n_rows = len(of["ra"].values)
    ra, dec = _angles(name, "ra", of["ra"]), _angles(name, "dec", of["dec"])
    pmra, pmdec = (_numbers(name, role, of.get(role), n_rows, 0.0) for role in ("pmra", "pmdec"))
    pmra, pmdec = np.nan_to_num(pmra, nan=0.0), np.nan_to_num(pmdec, nan=0.0)
    epoch = _numbers(name, "epoch", of.get("epoch"), n_rows, DEFAULT_EPOCH)
    epoch = np.where(np.isnan(epoch), DEFAULT_EPOCH, epoch)
    is_bad = {
        "no position": ~(np.isfinite(ra) & np.isfinite(dec)),
        "a position off the sky": ~((np.abs(dec) <= 90) & (ra >= -180) & (ra <= 360)),
        "a proper motion that no star has": ~(np.hypot(pmra, pmdec) <= _FASTEST_MAS_YR),
        "an epoch that is no Julian year": ~((epoch >= _EPOCHS[0]) & (epoch <= _EPOCHS[1])),
    }
    skipped, keep = {}, np.ones(n_rows, bool)
    for reason, bad in is_bad.items():
        bad = bad & keep
        if bad.any():
            skipped[f"{reason} (first: row {int(bad.argmax()) + 1:,})"] = int(bad.sum())
        keep &= ~bad
    if n_rows and not keep.any():
        raise CatalogueError(f"{name}: none of the {n_rows:,} rows is a star: {', '.join(skipped)}")
    notes = []
    if "epoch" not in of and bool((pmra != 0).any() | (pmdec != 0).any()):
        notes.append(f"no column is the epoch: {DEFAULT_EPOCH:.1f} is assumed")
    others = [column for column in columns if column not in of.values()]
    if len(others) > MAX_LABELS:
        notes.append(f"the first {MAX_LABELS} of {len(others)} further columns go into alerts")
    names = texts(of["name"].values) if "name" in of else texts(np.full(n_rows, ""))
    return Catalogue(
        name=name,
        ra_deg=ra[keep] % 360.0,
        dec_deg=dec[keep],
        pmra_mas_yr=pmra[keep],
        pmdec_mas_yr=pmdec[keep],
        epoch=epoch[keep],
        names=names[keep],
        labels={_cut(column.name): texts(column.values)[keep] for column in others[:MAX_LABELS]},
        skipped=skipped,
        notes=tuple(notes),
    )


def _roles(columns: Iterable[Column]) -> dict[str, Column]:
    """Return which column is what."""
    by_ucd: dict[str, Column] = {}
    by_name: dict[str, Column] = {}
    for column in columns:
        by_ucd.setdefault(column.ucd.strip().lower(), column)
        by_name.setdefault(re.sub(r"[\s.\-()]+", "_", column.name.strip().lower()).strip("\ufeff"), column)
    found = {}
    for role, names in _NAMES.items():
        candidates = [by_ucd.get(ucd) for ucd in _UCDS.get(role, ())] + [by_name.get(name) for name in names]
        known = [column for column in candidates if column is not None]
        if known:
            found[role] = known[0]
    return found


def _factor(name: str, role: str, column: Column) -> float:
    unit = column.unit.strip().lower().replace(" ", "")
    if unit not in _UNITS[role]:
        right = ", ".join(filter(None, list(_UNITS[role])[:3]))
        given = f"{name}: column {shown(column.name)} ({role}) is in {shown(column.unit)!r}"
        raise CatalogueError(f"{given}; understood are {right}")
    return _UNITS[role][unit]


def _numbers(name: str, role: str, column: Column | None, n_rows: int, missing: float) -> Array:
    if column is None:
        return np.full(n_rows, missing)
    return as_numbers(column.values) * _factor(name, role, column)


def _angles(name: str, role: str, column: Column) -> Array:
    """Return degrees, from numbers or from sexagesimal text; NaN where it is neither."""
    if column.values.dtype.kind == "f" or not _is_sexagesimal(column.values):
        return as_numbers(column.values) * _factor(name, role, column)
    per_unit = 15.0 if role == "ra" else 1.0
    return np.array([sexagesimal_degrees(str(text)) * per_unit for text in column.values])


def _is_sexagesimal(values: Array) -> bool:
    """Say by the first texts whether a column is written as 10:45:08.2."""
    first = [str(value) for value in values[:1000]]
    return any(_SEXAGESIMAL.fullmatch(text.strip()) for text in first)


def sexagesimal_degrees(text: str) -> float:
    """Return ``-41:23:45.6`` or ``41 23 45.6`` in its first unit; NaN where it is no such text or number."""
    match = _SEXAGESIMAL.fullmatch(text.strip())
    if match is None:
        try:
            return float(text) if text.isascii() and ":" not in text else np.nan
        except ValueError:
            return np.nan
    sign, whole, minutes, seconds = match.groups()
    if float(minutes) >= 60 or float(seconds) > 60:
        return np.nan
    value = float(whole) + float(minutes) / 60 + float(seconds) / 3600
    return -value if sign == "-" else value


def as_numbers(values: Array) -> Array:
    """Return a column as float64; NaN where it is no number."""
    if values.dtype.kind in "fiu":
        return values.astype(np.float64)
    listed = [str(value).strip() or "nan" for value in values]
    try:
        return np.array(listed, dtype=np.float64)
    except ValueError:
        return np.fromiter(_each_number(listed), np.float64, len(listed))


def _each_number(listed: Iterable[str]) -> Iterator[float]:
    for text in listed:
        try:
            yield float(text)
        except ValueError:
            yield np.nan


def texts(values: Array) -> Array:
    """Return a column as texts of variable length; empty where it is empty or NaN."""
    if values.dtype.kind == "T":
        return values
    return np.array([_text(value) for value in values.tolist()], dtype=np.dtypes.StringDType())


def _text(value: object) -> str:
    if value is None or value != value:  # NaN is not itself
        return ""
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    return _cut(f"{value:.10g}" if isinstance(value, float) else str(value))


def _cut(text: str) -> str:
    return text.strip()[:MAX_CHARS]
