"""Simulated nights on disk: spectra as ``.npz`` for the readers, and the truth in a second file."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from shutil import copyfileobj
from tempfile import TemporaryFile
from typing import IO, Any
from zipfile import ZIP_STORED, ZipFile, ZipInfo

import numpy as np

from cempstream.models.simulator.profile import SurveyProfile
from cempstream.models.simulator.simulator import NIGHT, TRUTH_DTYPE, SimulatedBatch
from cempstream.processors.grid import Array

#: When the first night of a simulation begins, ``NIGHT`` as a modified Julian date.
_FIRST_MJD = (NIGHT - datetime(1858, 11, 17, tzinfo=UTC)) / timedelta(days=1)

TRUTH_SUFFIXES = (".csv", ".parquet")


def write_night(
    path: Path, profile: SurveyProfile, n: int, batches: Iterator[SimulatedBatch], *, visits: int = 1
) -> Array:
    """Write a night while it is simulated, with one batch in memory; the same batches give the same bytes.

    Arrays are those of ``cempstream.processors.readers``: with one grating ``wave`` of one spectrum and
    tables ``flux`` and ``ivar``; with several, concatenated spectra and ``offsets``. Of several visits
    ``mjd`` says when each began.

    Returns
    -------
    Array
        The truth, row i of spectrum i.
    """
    is_table = len(profile.grating) == 1
    collected: dict[str, list[Array]] = {
        name: [] for name in ("truth", "wave", "power", "contamination", "mjd")
    }
    lengths: list[int] = []
    each = profile.grating * visits
    n_values = sum((n + len(each) - 1 - i) // len(each) * g.pixels.n_pix for i, g in enumerate(each))
    shape = (n, profile.grating[0].pixels.n_pix) if is_table else (n_values,)
    with TemporaryFile(dir=path.parent) as later, ZipFile(path, "w", ZIP_STORED, allowZip64=True) as archive:
        with _member(archive, "flux") as member:
            _write_header(member, shape, np.dtype("<f4"))
            for batch in batches:
                member.write(batch.observed.flux.astype("<f4", copy=False).tobytes())
                later.write(batch.observed.ivar.astype("<f4", copy=False).tobytes())
                _collect(collected, batch, is_table=is_table)
                lengths += [batch.grating.pixels.n_pix] * len(batch)
        later.seek(0)
        with _member(archive, "ivar") as member:
            _write_header(member, shape, np.dtype("<f4"))
            copyfileobj(later, member, 1 << 20)
        truth = np.concatenate(collected["truth"])
        media = {grating.medium for grating in profile.grating}
        arrays: dict[str, Any] = {
            "ids": truth["spectrum_id"],
            "object_id": truth["object_id"],
            "survey": np.array(profile.survey),
            "medium": np.array(media.pop()),
            "frame": np.array("observed"),
        }
        if is_table:
            arrays["wave"] = profile.grating[0].pixels.grid.wave
            power = collected["power"][0]
            arrays["resolving_power"] = power if power.ndim < 2 else np.concatenate(collected["power"])
        else:
            arrays["grating"] = truth["grating"]
            arrays["offsets"] = np.concatenate([[0], np.cumsum(lengths)])
            arrays["wave"] = np.concatenate(collected["wave"])
            arrays["resolving_power"] = np.concatenate(collected["power"])
        if collected["contamination"]:
            arrays["contamination"] = np.concatenate(collected["contamination"])
        if visits > 1:
            arrays["mjd"] = np.concatenate(collected["mjd"])
        for name, array in arrays.items():
            with _member(archive, name) as member:
                np.lib.format.write_array(member, array, allow_pickle=False)
    return truth


def _collect(collected: dict[str, list[Array]], batch: SimulatedBatch, *, is_table: bool) -> None:
    n, n_pix = batch.observed.flux.shape
    power = np.asarray(batch.observed.resolving_power, dtype=np.float32)
    collected["truth"].append(batch.truth)
    collected["mjd"].append(np.full(n, _FIRST_MJD + batch.visit))
    if is_table:
        if power.ndim == 2 or not collected["power"]:
            collected["power"].append(power)
    else:
        collected["power"].append(np.broadcast_to(power, (n, n_pix)).ravel())
        collected["wave"].append(np.tile(batch.grating.pixels.grid.wave.astype(np.float32), n))
    if batch.observed.contamination is not None:
        contamination = batch.observed.contamination
        collected["contamination"].append(contamination if is_table else contamination.ravel())


@contextmanager
def _member(archive: ZipFile, name: str) -> Iterator[IO[bytes]]:
    # numpy.savez stores the current time with each array; the same night must give the same bytes.
    info = ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
    with archive.open(info, "w", force_zip64=True) as member:
        yield member


def _write_header(member: IO[bytes], shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_2_0(member, header)


class TruthFile:
    """Write the truth batch by batch, as ``.csv`` or ``.parquet``; NaN is an empty cell.

    Use it as a context manager.
    """

    def __init__(self, path: Path) -> None:
        if path.suffix not in TRUTH_SUFFIXES:
            raise ValueError(f"{path}: the truth's name must end in {' or '.join(TRUTH_SUFFIXES)}")
        self.path = path
        self._rows: list[Array] = []
        self._text: IO[str] | None = None

    def __enter__(self) -> TruthFile:
        if self.path.suffix == ".csv":
            self._text = self.path.open("w", encoding="utf-8", newline="")
            csv.writer(self._text).writerow(TRUTH_DTYPE.names or ())
        return self

    def write(self, truth: Array) -> None:
        """Add rows of ``TRUTH_DTYPE``."""
        if self._text is None:
            self._rows.append(truth)
            return
        csv.writer(self._text).writerows([_cell(value) for value in row] for row in truth.tolist())

    def __exit__(self, *error: object) -> None:
        if self._text is not None:
            self._text.close()
        elif error[0] is None:
            import pyarrow
            from pyarrow import parquet

            truth = np.concatenate([np.zeros(0, dtype=TRUTH_DTYPE), *self._rows])
            columns = {
                name: pyarrow.array(truth[name].tolist() if truth[name].dtype.kind == "U" else truth[name])
                for name in TRUTH_DTYPE.names or ()
            }
            parquet.write_table(pyarrow.table(columns), self.path)


def _cell(value: Any) -> Any:
    if isinstance(value, float):
        return "" if np.isnan(value) else f"{value:.6g}"
    return value
