"""Make spectra of tables in any format, from the meaning of their columns."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from cempstream.processors.grid import Array
from cempstream.processors.outcome import Rejected
from cempstream.processors.readers.build import Origin, fill_gaps, to_float64
from cempstream.processors.readers.columns import (
    ascending,
    bad_of,
    check_linear,
    first_of,
    is_per_frequency,
    ivar_of,
    wavelengths,
)
from cempstream.processors.readers.conventions import TableRow, build_row, conventions_of
from cempstream.processors.readers.fits_file import parse_utc
from cempstream.processors.readers.options import ReadOptions, one_line
from cempstream.processors.readers.source import Source
from cempstream.processors.readers.star_facts import photometry_of, star_facts_of
from cempstream.processors.readers.statements import (
    OBJECT_KEYS,
    Said,
    flux_unit_stated,
    frame_of,
    gaia_source_of,
    medium_of,
    object_of,
    observed_at_of,
    of_all_sources,
    position_of,
    power_of,
    text_of,
    wave_unit_stated,
)
from cempstream.processors.readers.vocabulary import CERTAIN_NAMES, ID_NAMES, Layout, split_medium
from cempstream.processors.spectrum import Flag, Reason, Spectrum

_LOG = logging.getLogger(__name__)
_NOTHING = np.zeros(0)
_TYPICAL_WAVE_AA = 5000.0
#: Words by which ESO's Phase 3 and the virtual observatory mark wavelengths in air.
UCD_OF_AIR = "em.wl;obs.atmos"
#: Names that change after fewer pixels than this do not name spectra.
_SHORTEST_RUN = 10
#: A mask that marks more of a file than this as bad probably has the opposite meaning.
_LARGEST_MASKED_SHARE = 0.5


@dataclass(frozen=True, slots=True, eq=False)
class Entry:
    """One spectrum of a table.

    Attributes
    ----------
    values
        By the layout's names, each of shape ``(n_pix,)``, as the file has them.
    said
        What the table states about this spectrum alone.
    spectrum_id
        None if the file does not name it.
    """

    values: Mapping[str, Array]
    said: Said = field(default_factory=dict)
    spectrum_id: str | None = None


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class GenericTable:
    """A table of spectra, the common output of the readers of each format.

    Attributes
    ----------
    wave_unit
        As the file states it, apart from the column's name; None if it does not.
    said
        What the table states about all its spectra.
    flux_unit
        As the file states it; None if it does not.
    label
        Distinguishes the table's spectra from those of other tables in the file.
    flags
        What the reader had to assume.
    """

    layout: Layout
    entries: Sequence[Entry]
    wave_unit: str | None = None
    flux_unit: str | None = None
    said: Said = field(default_factory=dict)
    label: str = ""
    flags: tuple[Flag, ...] = ()


def without_scalars(layout: Layout, dimensions: Mapping[str, int], n_dim: int) -> Layout:
    """Leave out columns of one value per row in a table of vectors: the S/N of a spectrum is not per pixel.

    Parameters
    ----------
    dimensions
        Number of dimensions of each column of the layout.
    n_dim
        Number of dimensions of the flux.
    """
    return replace(
        layout,
        noises=tuple(one for one in layout.noises if dimensions[one[0]] == n_dim),
        masks=tuple(one for one in layout.masks if dimensions[one[0]] == n_dim),
    )


def entries_by_name(
    values: Mapping[str, Array], layout: Layout, stated: Mapping[str, Sequence[Any]], n_dim: int = 1
) -> list[Entry]:
    """Split a table into spectra.

    Parameters
    ----------
    values
        By the layout's names: vectors, one per row, or columns with one pixel per row, where a new spectrum
        starts when the name of the spectrum or of its source changes.
    stated
        Columns with information about each row.
    n_dim
        2 for vectors.
    """
    name = first_of((*ID_NAMES, *OBJECT_KEYS), stated)
    names = [text_of(cell) for cell in stated[name]] if name is not None else []
    n_rows = len(values[layout.flux])
    if n_dim > 1:
        spans = [(i, i + 1) for i in range(n_rows)]
        cut = {part: [_vector(column, i) for i in range(n_rows)] for part, column in values.items()}
    else:
        starts = [0, *(i for i in range(1, n_rows) if names and names[i] != names[i - 1])]
        if len(starts) * _SHORTEST_RUN > n_rows:
            starts, names = [0], []  # they are pixel numbers
        spans = list(zip(starts, [*starts[1:], n_rows], strict=True))
        cut = {part: [column[start:stop] for start, stop in spans] for part, column in values.items()}
    is_one_each = len(spans) > 1 and len({names[start] for start, _ in spans if names}) == len(spans)
    if name not in ID_NAMES and not is_one_each:
        names = []  # one spectrum is named after its file, several of one source are numbered
    return [
        Entry(
            {part: vectors[i] for part, vectors in cut.items()},
            said={key: _text(cells[start]) for key, cells in stated.items() if start < len(cells)},
            spectrum_id=(names[start] or None) if names else None,
        )
        for i, (start, _) in enumerate(spans)
    ]


def _vector(column: Array, i: int) -> Array:
    """Return a spectrum's vector; a single wavelength grid is shared by all."""
    if column.ndim == 1 and column.dtype.kind != "O":
        return column
    return np.asarray(column[i if len(column) > i else 0], dtype=np.float64)


def _text(cell: object) -> object:
    return cell.decode(errors="replace").strip() if isinstance(cell, bytes) else cell


def read_table(source: Source, table: GenericTable, options: ReadOptions) -> Iterator[Spectrum | Rejected]:
    """Make spectra of a table, in order.

    Raises
    ------
    ValueError
        Its unit or medium is not understood.
    """
    table = _without_supposed_marks(table)
    layout, n_spec = table.layout, len(table.entries)
    said = table.said if n_spec == 1 else of_all_sources(table.said)
    unit, medium = split_medium(table.wave_unit or layout.wave_unit or wave_unit_stated(said) or "")
    unit = unit or layout.wave_unit
    medium = options.medium or medium_of(said) or medium or layout.medium
    frame = options.frame or frame_of(said) or layout.frame
    flux_unit = table.flux_unit or flux_unit_stated(said)
    check_linear(flux_unit)
    stem = f"{source.stem}-{table.label}" if table.label else source.stem
    rows = []
    for i, entry in enumerate(table.entries):
        whole = {**said, **entry.said}
        origin = origin_of(
            source,
            whole,
            entry.spectrum_id or (stem if n_spec == 1 else f"{stem}-{i}"),
            exposure_size=n_spec,
            row=i if n_spec > 1 else None,
        )
        wave = wavelengths(
            entry.values[layout.wave], layout.wave, unit, log=layout.log, chosen=options.wave_unit
        )
        values = {**entry.values, layout.wave: wave}
        if is_per_frequency(flux_unit):
            values = per_wavelength(values, layout)
        rows.append(row_of(origin, layout, values, resolving_power=power_of(whole), flags=table.flags))
    rows = refuse_doubtful_masks(rows, layout)
    is_by_order = Flag.COLUMNS_BY_ORDER in table.flags
    conventions = conventions_of(rows, options, medium=medium, frame=frame, is_by_order=is_by_order)
    if layout.puzzles:
        tell_of_puzzles(source, layout)
    for row in rows:
        yield build_row(row, conventions, options)


def _without_supposed_marks(table: GenericTable) -> GenericTable:
    """Ignore a third column without a name that holds zeros and ones: a mask of unknown sense."""
    if Flag.COLUMNS_BY_ORDER not in table.flags or not table.layout.noises:
        return table
    name = table.layout.noises[0][0]
    if not all(np.isin(entry.values[name], (0.0, 1.0)).all() for entry in table.entries):
        return table
    return replace(table, layout=replace(table.layout, noises=(), puzzles=(name,)))


def per_wavelength(values: Mapping[str, Array], layout: Layout) -> dict[str, Array]:
    """Convert a flux per Hz and its noises to per Å, up to a constant factor."""
    wave = values[layout.wave]
    if values[layout.flux].shape != wave.shape:
        return dict(values)
    with np.errstate(divide="ignore", invalid="ignore"):
        factor = (_TYPICAL_WAVE_AA / wave) ** 2
    powers = {"ivar": -2, "error": 1, "variance": 2, "snr": 0}
    turned = {layout.flux: values[layout.flux] * factor}
    for name, kind in layout.noises:
        if values[name].shape == wave.shape:
            turned[name] = values[name] * factor ** powers[kind]
    return {**values, **turned}


def tell(source: Source, text: str) -> None:
    """Warn about a file, where no result can hold the warning; on stderr unless logs go elsewhere."""
    _LOG.warning("%s", one_line(f"{source.path}: {text}"))


def origin_of(
    source: Source, said: Said, spectrum_id: str, *, exposure_size: int | None = None, row: int | None = None
) -> Origin:
    """Return where a spectrum comes from, as far as a header states it."""
    place = position_of(said)
    return Origin(
        spectrum_id=spectrum_id,
        survey=str(said.get("survey") or "generic").lower(),
        exposure_id=source.stem,
        exposure_size=exposure_size,
        object_id=object_of(said),
        observed_at=observed_at_of(said),
        reduced_at=parse_utc(str(said.get("date", ""))) or source.modified_at,
        ra=place[0] if place else None,
        dec=place[1] if place else None,
        gaia_source_id=gaia_source_of(said),
        photometry=photometry_of(said),
        star_facts=star_facts_of(said),
        uri=source.uri if row is None else f"{source.uri}#{row}",
    )


def tell_of_puzzles(source: Source, layout: Layout) -> None:
    """Warn about columns that might be a noise and are not understood."""
    names = ", ".join(f"'{name}'" for name in layout.puzzles)
    tell(
        source,
        f"{names} might be a noise, but is not understood: the noise is estimated from the scatter; name it "
        "error, variance, ivar or snr",
    )


def row_of(
    origin: Origin,
    layout: Layout,
    values: Mapping[str, Array],
    *,
    resolving_power: float | Array | None = None,
    contamination: Array | None = None,
    flags: Sequence[Flag] = (),
) -> TableRow:
    """Return one spectrum from its columns.

    Parameters
    ----------
    values
        By the layout's names, each of shape ``(n_pix,)``; the wavelengths in Å.

    Returns
    -------
    TableRow
        With a fault where the columns differ in length. A noise without any valid value (all NaN, zero
        or negative) is ignored and estimated later; of several, the best one with valid values is used. An
        ``ivar`` of zeros is valid: all pixels are bad.
    """
    wave, flux = values[layout.wave], values[layout.flux]
    for name in layout.names:
        if values[name].shape != wave.shape:
            sizes = f"'{name}' has {values[name].size} values, '{layout.wave}' has {wave.size}"
            fault = (Reason.LENGTH_MISMATCH, f"{sizes}; they must be one per pixel")
            return TableRow(origin, _NOTHING, _NOTHING, None, fault=fault)
    ivar = None
    for name, kind in layout.noises:
        found = ivar_of(kind, values[name], flux)
        with np.errstate(invalid="ignore"):
            if np.any(found > 0) or (kind == "ivar" and np.any(found == 0)):
                ivar = found
                break
    is_bad = None
    for name, sense in layout.masks:
        ruled_out = bad_of(sense, values[name])
        is_bad = ruled_out if is_bad is None else is_bad | ruled_out
    powers = resolving_power if isinstance(resolving_power, np.ndarray) else None
    wave, (flux_up, ivar, is_bad, contamination, powers) = ascending(
        wave, flux, ivar, is_bad, contamination, powers
    )
    assert flux_up is not None
    wave, is_gap = fill_gaps(wave)
    if is_gap.any():
        is_bad = is_gap if is_bad is None else is_bad | is_gap
    return TableRow(
        origin,
        wave,
        flux_up,
        ivar,
        is_bad=is_bad,
        contamination=contamination,
        resolving_power=powers if powers is not None else resolving_power,
        flags=(*flags, *((Flag.NOISE_NOT_UNDERSTOOD,) if ivar is None and layout.puzzles else ())),
    )


def refuse_doubtful_masks(rows: list[TableRow], layout: Layout) -> list[TableRow]:
    """Refuse the spectra of a file whose mask marks most measured pixels as bad.

    ``mask`` and ``quality`` mark bad pixels in most conventions and good ones in some: a file read with the
    wrong one would be scored on its worst pixels.
    """
    names = [
        name
        for name, _ in layout.masks
        if "".join(c for c in name.lower() if c.isalpha()) not in CERTAIN_NAMES
    ]
    if not names:
        return rows
    n_measured = n_masked = 0
    for row in rows:
        if row.is_bad is not None and row.fault is None:
            measured = np.isfinite(to_float64(row.flux))
            if row.ivar is not None:
                with np.errstate(invalid="ignore"):
                    measured &= row.ivar > 0
            n_measured += int(np.count_nonzero(measured))
            n_masked += int(np.count_nonzero(measured & row.is_bad))
    if n_masked <= _LARGEST_MASKED_SHARE * n_measured:
        return rows
    fault = (
        Reason.NO_GOOD_PIXELS,
        f"'{names[0]}' marks {n_masked / n_measured:.0%} of the measured pixels as bad; call the column "
        "'good' if 1 means good, or 'bad' if the mask is right",
    )
    return [replace(row, fault=row.fault or fault) for row in rows]
