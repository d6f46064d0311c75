"""JINAbase's layout (Abohalima & Frebel 2018, ApJS 238, 36): a row for each star in each paper, and log ε.

A star becomes one row. Of its papers the one that JINAbase prefers (priority 1) speaks first; what it lacks
is taken from the others in their order. Copies differ in how they call a column, and some hold [X/Fe]
already; they are known by the columns that all have.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from cempstream.streams.observing.catalogue import Column, as_numbers, texts

#: Our label, the columns that hold it, and those that hold its log ε, all in small letters.
_ABUNDANCES: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "cfe": (("cfe", "c/fe", "[c/fe]"), ("c", "c-h")),
    "bafe": (("bafe", "ba/fe", "[ba/fe]"), ("ba", "ba ii")),
    "eufe": (("eufe", "eu/fe", "[eu/fe]"), ("eu", "eu ii")),
}

#: log ε of the Sun (Asplund et al. 2009).
_SUN = {"cfe": 8.43, "bafe": 2.18, "eufe": 0.52}

_IRON = ("feh", "fe/h", "[fe/h]")
_PRIORITY = ("priority", "i/o")
_STAR = ("simbad_identifier", "simbad")
_CARBON = "c_key"

#: Other columns that say something of a star, by our label.
_TEXTS: Mapping[str, tuple[str, ...]] = {
    "carbon": (_CARBON,),
    "science": ("sci_key", "ncap_key"),
    "place": ("loc",),
    "type": ("type",),
    "reference": ("reference", "ref"),
}

_POSITION = ("ra", "ra_deg", "ra_hms", "dec", "dec_deg", "dec_dms")


def is_jinabase(names: Iterable[str]) -> bool:
    """Say whether a table has JINAbase's columns."""
    known = {name.strip().lower() for name in names}
    return all(known & {*wanted} for wanted in (_PRIORITY, _STAR, (_CARBON,), _IRON))


def jinabase_columns(columns: Sequence[Column]) -> list[Column]:
    """Return the table with one row for each star: name, position, and what `_ABUNDANCES` and `_TEXTS` name.

    [X/Fe] are relative to the Sun of Asplund et al. (2009); an upper limit keeps its ``<``.
    """
    of = {column.name.strip().lower(): column for column in columns}
    names = texts(_first(of, _STAR).values)
    names = np.where(names == "", texts(_first(of, ("name",) if "name" in of else _STAR).values), names)
    # Stable: of the rows with the same priority the first in the file comes first.
    is_preferred = as_numbers(_first(of, _PRIORITY).values) == 1
    order = np.argsort(~is_preferred, kind="stable")
    _, first = np.unique(names[order], return_index=True)
    leading = np.sort(order[first])
    row_of = {name: i for i, name in enumerate(names[leading].tolist())}
    star_of = np.array([row_of[name] for name in names.tolist()])

    def joined(values: np.ndarray) -> np.ndarray:
        told = np.full(len(leading), "", dtype=np.dtypes.StringDType())
        for row in order[::-1]:  # the preferred row last, so that it stays
            if values[row]:
                told[star_of[row]] = values[row]
        return told

    n_papers = np.bincount(star_of, minlength=len(leading))
    iron = texts(_first(of, _IRON).values)
    return [
        Column("name", names[leading]),
        *(Column(name, of[name].values[leading], of[name].unit) for name in _POSITION if name in of),
        Column("feh", joined(iron)),
        *(
            Column(label, joined(_relative(of, label, as_numbers(_number_part(iron)))))
            for label, (ready, absolute) in _ABUNDANCES.items()
            if of.keys() & {*ready, *absolute}
        ),
        *(
            Column(label, joined(texts(_first(of, wanted).values)))
            for label, wanted in _TEXTS.items()
            if of.keys() & {*wanted}
        ),
        Column("papers", n_papers),
    ]


def _first(of: Mapping[str, Column], names: Sequence[str]) -> Column:
    return next(of[name] for name in names if name in of)


def _number_part(values: np.ndarray) -> np.ndarray:
    return np.array([value.lstrip("<> ") for value in values.tolist()], dtype=np.dtypes.StringDType())


def _relative(of: Mapping[str, Column], label: str, iron: np.ndarray) -> np.ndarray:
    """Return [X/Fe] of every row as text, with ``<`` where it is an upper limit."""
    ready, absolute = _ABUNDANCES[label]
    if of.keys() & {*ready}:
        return texts(_first(of, ready).values)
    said = texts(_first(of, absolute).values)
    values = as_numbers(_number_part(said)) - _SUN[label] - iron
    return np.array(
        [
            f"{'<' if text.startswith('<') else ''}{value:.2f}" if np.isfinite(value) else ""
            for text, value in zip(said.tolist(), values.tolist(), strict=True)
        ],
        dtype=np.dtypes.StringDType(),
    )
