"""Columns of FITS tables as the standard defines them, against astropy's own writer."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from cempstream.processors.readers.fits_file import FitsFile, parse_utc
from cempstream.processors.readers.source import open_source


@pytest.mark.parametrize("kind", ["u2", "u4", "u8", "i8"])
def test_whole_numbers_keep_all_their_digits(tmp_path: Path, kind: str) -> None:
    limits = np.iinfo(kind)
    values = np.array([limits.min, 905, limits.max // 2 + 1, limits.max - 1, limits.max], dtype=kind)
    fits.BinTableHDU.from_columns(fits.ColDefs(np.rec.array([values], names=["id"]))).writeto(
        tmp_path / "a.fits"
    )
    file = FitsFile(open_source(tmp_path / "a.fits"))
    assert file.column(1, "ID").tolist() == values.tolist()
    file.close()


def test_null_values_and_logicals_are_numbers_or_nan(tmp_path: Path) -> None:
    columns = [
        fits.Column("n", "J", null=999, array=np.array([1, 999, 3], np.int32)),
        fits.Column("u", "I", null=-5, bzero=32768, array=np.array([7, 32763, 9], np.uint16)),
        fits.Column("ok", "L", array=np.array([True, False, True])),
    ]
    fits.BinTableHDU.from_columns(columns).writeto(tmp_path / "a.fits")
    file = FitsFile(open_source(tmp_path / "a.fits"))
    np.testing.assert_array_equal(file.numbers(1, "n"), [1, np.nan, 3])
    np.testing.assert_array_equal(file.numbers(1, "u"), [7, np.nan, 9])
    np.testing.assert_array_equal(file.numbers(1, "ok"), [1, 0, 1])
    file.close()


@pytest.mark.parametrize(
    ("text", "hour"),
    [("2026-11-20T18:00:00", 18), ("2026-11-20T18:00:00.5Z", 18), ("2026-11-20 18:00+02:00", 16)],
)
def test_times_may_name_their_zone(text: str, hour: int) -> None:
    time = parse_utc(text)
    assert time is not None
    assert (time.tzinfo, time.hour) == (UTC, hour)
    assert parse_utc("2026-02-31") is None
    assert parse_utc("2026-02-28") == datetime(2026, 2, 28, tzinfo=UTC)
