"""Spectrum packets: there and back, and a reason for everything that can be wrong."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import fields, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest

from cempstream.processors.grid import ExplicitGrid, LinearGrid, LogGrid
from cempstream.processors.spectrum import STAR_FACTS, BadSpectrum, Reason, Spectrum
from cempstream.schemas.avro_schema import SchemaError
from cempstream.schemas.avro_writer import compile_writer, encode_long
from cempstream.schemas.codec import decode_spectrum, encode_spectrum, peek_ids, spectrum_record
from cempstream.schemas.packets import MAX_PACKET_BYTES, pack, survey_resolver
from cempstream.schemas.registry import Kind, sample, schema
from cempstream.schemas.samples import sample_spectrum

Record = dict[str, Any]


def small_spectrum(**changes: Any) -> Spectrum:
    """Return a spectrum of 16 pixels with every optional field filled."""
    rng = np.random.default_rng(3)
    n_pix = 16
    whole = Spectrum(
        spectrum_id="spec-1",
        survey="csst",
        object_id="star ☆",
        exposure_id="e-7",
        exposure_size=800,
        observed_at=datetime(2026, 11, 20, 2, 3, 4, 567, UTC),
        reduced_at=datetime(2026, 11, 20, 3, 0, 0, 1, UTC),
        reduction_version="v2",
        ra=359.5,
        dec=-12.25,
        epoch=2016.0,
        gaia_source_id=4_611_686_018_427_387_905,
        grid=LinearGrid(4000.0, 5.0, n_pix),
        medium="air",
        frame="rest",
        wave_zero_error_aa=1.5,
        flux=rng.normal(size=n_pix).astype(np.float32),
        ivar=np.where(rng.random(n_pix) < 0.2, 0, 3).astype(np.float32),
        mask=rng.integers(0, 2, n_pix).astype(np.uint8),
        contamination=rng.random(n_pix).astype(np.float32),
        flux_unit="absolute",
        resolving_power=np.linspace(200, 250, n_pix).astype(np.float32),
        grating="GV",
        rv_kms=12.5,
        photometry={"G": (15.0, 0.01), "z": (14.0, float("inf"))},
        parallax_mas=-0.2,
        parallax_error_mas=0.1,
        ebv=0.03,
        ebv_error=0.01,
        teff_phot=4800.0,
        teff_phot_error=90.0,
        logg_phot=1.4,
        logg_phot_error=0.2,
        stellarity=0.97,
        uri="s3://bucket/spec-1",
        flags=("medium_estimated",),
    )
    return replace(whole, **changes)


def assert_same(one: Spectrum, other: Spectrum) -> None:
    for field in fields(Spectrum):
        mine, theirs = getattr(one, field.name), getattr(other, field.name)
        if isinstance(mine, np.ndarray):
            assert mine.dtype == theirs.dtype, field.name
            np.testing.assert_array_equal(mine, theirs, err_msg=field.name)
        else:
            assert mine == theirs, field.name


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"grid": LogGrid(3.6, 1e-3, 16)},
        {"grid": ExplicitGrid(np.geomspace(4000.0, 5000.0, 16))},
        {"resolving_power": 1800.0},
        {"mask": None, "contamination": None, "photometry": {}, "flags": ()},
        {"ra": None, "dec": None, "observed_at": None, "object_id": None, "gaia_source_id": None},
        {"exposure_size": None, "epoch": None, "rv_kms": None, "uri": None, "wave_zero_error_aa": None},
        dict.fromkeys(STAR_FACTS),
        {"exposure_id": "", "reduction_version": "", "grating": None, "frame": "observed"},
    ],
)
def test_a_spectrum_comes_back_as_it_was(changes: dict[str, Any]) -> None:
    spectrum = small_spectrum(**changes)
    assert_same(decode_spectrum(encode_spectrum(spectrum)), spectrum)


def test_nan_and_infinite_pixels_come_back_bit_by_bit() -> None:
    flux = np.array([np.nan, np.inf, -np.inf, -0.0] * 4, dtype=np.float32)
    back = decode_spectrum(encode_spectrum(small_spectrum(flux=flux))).flux
    assert back.tobytes() == flux.tobytes()


def test_arrays_are_read_only_aligned_float32() -> None:
    spectrum = decode_spectrum(sample(Kind.SPECTRUM))
    for array in (spectrum.flux, spectrum.ivar):
        assert array.dtype == np.float32
        assert array.flags.aligned
        assert not array.flags.writeable


def test_arrays_are_little_endian_on_the_wire() -> None:
    packet = encode_spectrum(small_spectrum(flux=np.full(16, 1.0, np.float32)))
    assert b"\x00\x00\x80\x3f" * 16 in packet


def wrong(change: Callable[[Record], object]) -> bytes:
    """Return the packet of a small spectrum after a change to its record."""
    record = spectrum_record(small_spectrum(resolving_power=200.0))
    change(record)
    return pack(Kind.SPECTRUM, record)


def put(**values: Any) -> Callable[[Record], object]:
    return lambda record: record.update(values)


def f4(*values: float) -> bytes:
    return np.array(values, dtype="<f4").tobytes()


SMALL = encode_spectrum(small_spectrum())


@pytest.mark.parametrize(
    ("packet", "reason", "detail"),
    [
        (b"", Reason.NOT_AVRO, "empty"),
        (b'{"flux": [1, 2]}', Reason.NOT_AVRO, "starts with byte 123"),
        (b"\0\0\0", Reason.TRUNCATED, "3 bytes"),
        (SMALL[:5], Reason.TRUNCATED, "spectrum_id"),
        (SMALL[:-1], Reason.TRUNCATED, "flags"),
        (SMALL[:300], Reason.TRUNCATED, "'"),
        (SMALL + b"\0", Reason.NOT_AVRO, "1 bytes are left"),
        (
            b"\0\0\0\x27\x76" + SMALL[5:],
            Reason.UNSUPPORTED_VERSION,
            "spectrum 1.2; what is read here is spectrum 1.0, 1.1",
        ),
        (b"\0\0\0\x27\xd8" + SMALL[5:], Reason.UNSUPPORTED_VERSION, "spectrum 2.0"),
        (sample(Kind.ALERT), Reason.UNSUPPORTED_VERSION, "the packet is alert 1.3"),
        (b"\0\0\0\0\x07" + SMALL[5:], Reason.UNSUPPORTED_VERSION, "schema id 7"),
        (b"\0\xff\xff\xff\xff" + SMALL[5:], Reason.UNSUPPORTED_VERSION, "schema id 4294967295"),
        (b"\0" * (MAX_PACKET_BYTES + 1), Reason.TOO_LARGE, "4194305 bytes"),
        (wrong(put(flux=f4(1, 2, 3))), Reason.LENGTH_MISMATCH, "'flux' has 3 values"),
        (wrong(put(ivar=b"\0" * 63)), Reason.LENGTH_MISMATCH, "'ivar' has 63 bytes"),
        (wrong(put(mask=b"\0")), Reason.LENGTH_MISMATCH, "'mask'"),
        (wrong(put(contamination=f4(0.5))), Reason.LENGTH_MISMATCH, "'contamination'"),
        (wrong(put(resolving_power=f4(200))), Reason.LENGTH_MISMATCH, "'resolving_power'"),
        (wrong(put(resolving_power=f4(*[3.4e38] * 16))), Reason.BAD_FIELD, "'resolving_power'"),
        (wrong(put(resolving_power=float("nan"))), Reason.BAD_FIELD, "'resolving_power'"),
        (wrong(put(flux=b"", ivar=b"")), Reason.LENGTH_MISMATCH, "'flux' has 0 values"),
        (wrong(lambda r: r["grid"].update(n_pix=0)), Reason.NO_PIXELS, "no pixels"),
        (wrong(lambda r: r["grid"].update(n_pix=-3)), Reason.BAD_WAVELENGTH, "increase"),
        (wrong(lambda r: r["grid"].update(n_pix=2**31 - 1)), Reason.TOO_LARGE, "2147483647 pixels"),
        (wrong(lambda r: r["grid"].update(start_aa=-4000.0)), Reason.BAD_WAVELENGTH, "-4000"),
        (wrong(lambda r: r["grid"].update(step_aa=float("inf"))), Reason.BAD_WAVELENGTH, "inf"),
        (
            wrong(put(grid={"log10_start": 400.0, "log10_step": 1e-4, "n_pix": 16})),
            Reason.BAD_WAVELENGTH,
            "400",
        ),
        (wrong(put(grid={"wave": b""}, flux=b"", ivar=b"")), Reason.NO_PIXELS, "no pixels"),
        (wrong(put(grid={"wave": b"\0" * 127})), Reason.LENGTH_MISMATCH, "'wave' has 127 bytes"),
        (
            wrong(put(grid={"wave": np.array([-1.7e308, 1.7e308] * 8).tobytes()})),
            Reason.BAD_WAVELENGTH,
            "increase",
        ),
        (wrong(put(medium="unknown")), Reason.BAD_FIELD, "'medium'"),
        (wrong(put(frame="unknown")), Reason.BAD_FIELD, "'frame'"),
        (wrong(put(spectrum_id="")), Reason.BAD_FIELD, "'spectrum_id'"),
        (wrong(put(survey="x" * 1025)), Reason.BAD_FIELD, "1025 bytes long"),
        (wrong(put(ra=720.0)), Reason.BAD_FIELD, "'ra' is 720"),
        (wrong(put(dec=float("nan"))), Reason.BAD_FIELD, "'dec' is nan"),
        (wrong(put(rv_kms=1e9)), Reason.BAD_FIELD, "'rv_kms'"),
        (wrong(put(flags=["a"] * 65)), Reason.BAD_FIELD, "65 items"),
        (
            wrong(put(photometry={str(i): {"mag": 1.0, "error": 1.0} for i in range(65)})),
            Reason.BAD_FIELD,
            "65 items",
        ),
    ],
)
def test_what_is_wrong_has_its_reason(packet: bytes, reason: Reason, detail: str) -> None:
    with pytest.raises(BadSpectrum) as caught:
        decode_spectrum(packet)
    assert caught.value.reason == reason
    assert detail in caught.value.detail


@pytest.mark.parametrize("cut", [0, 1], ids=["wrong", "damaged"])
def test_what_is_wrong_says_whose_it_is(cut: int) -> None:
    packet = wrong(put(rv_kms=1e9))
    whole = decode_spectrum(SMALL)
    with pytest.raises(BadSpectrum) as caught:
        decode_spectrum(packet[: len(packet) - cut])
    bad = caught.value
    assert (bad.spectrum_id, bad.survey) == (whole.spectrum_id, whole.survey)
    assert bad.exposure_id == (whole.exposure_id or None)


def test_the_size_limit_comes_first_and_is_the_callers() -> None:
    packet = sample(Kind.SPECTRUM)
    decode_spectrum(packet, max_packet_bytes=len(packet))
    with pytest.raises(BadSpectrum, match="too_large"):
        decode_spectrum(packet, max_packet_bytes=len(packet) - 1)
    with pytest.raises(BadSpectrum, match="too_large"):
        decode_spectrum(b"\xff" * 100, max_packet_bytes=99)


def test_a_time_beyond_the_calendar_is_refused() -> None:
    at = SMALL.index(encode_long(1_795_143_600_000_001))  # reduced_at
    late = encode_long(2**60)
    packet = SMALL[:at] + late + SMALL[at + 8 :]
    with pytest.raises(BadSpectrum, match="outside the years 1 to 9999"):
        decode_spectrum(packet)


def test_text_that_is_not_utf8_is_refused() -> None:
    with pytest.raises(BadSpectrum, match="not UTF-8"):
        decode_spectrum(SMALL.replace(b"spec-1", b"spec\xff1", 1))


# --- a survey with its own registry


def framed(number: int, part: Any, record: Record) -> bytes:
    pieces = [b"\0" + number.to_bytes(4, "big")]
    compile_writer(part)(record, pieces.append)
    return b"".join(pieces)


def test_a_survey_may_have_ids_of_its_own() -> None:
    resolver = survey_resolver({7: schema(Kind.SPECTRUM)})
    spectrum = small_spectrum()
    packet = framed(7, schema(Kind.SPECTRUM), spectrum_record(spectrum))
    assert_same(decode_spectrum(packet, resolver=resolver), spectrum)
    assert_same(decode_spectrum(SMALL, resolver=resolver), spectrum)  # ours are read all the same
    with pytest.raises(BadSpectrum, match="schema id 8"):
        decode_spectrum(framed(8, schema(Kind.SPECTRUM), spectrum_record(spectrum)), resolver=resolver)


def test_a_survey_may_order_drop_and_add_fields() -> None:
    theirs = copy.deepcopy(schema(Kind.SPECTRUM))
    theirs["name"] = "TheirSpectrum"
    optional = {"mask", "contamination", "photometry", "flags", "flux_unit", "epoch"}
    theirs["fields"] = [
        {"name": "fibre", "type": "int"},
        *(f for f in reversed(theirs["fields"]) if f["name"] not in optional - {"flux_unit"}),
    ]
    spectrum = small_spectrum(mask=None, contamination=None, photometry={}, flags=(), epoch=None)
    record = spectrum_record(spectrum) | {"fibre": 17}
    packet = framed(7, theirs, record)
    assert_same(decode_spectrum(packet, resolver=survey_resolver({7: theirs})), spectrum)
    assert peek_ids(packet) == (None, None)  # where its ids stand is the survey's own affair


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda f: f.pop("flux"), r"\.flux: it is missing and has no default"),
        (lambda f: f.update(ra={"name": "ra", "type": "string"}), r"\.ra: it is string"),
        (lambda f: f.update(reduced_at={"name": "reduced_at", "type": "long"}), r"\.reduced_at: it is long"),
        (lambda f: f.update(flux={"name": "flux", "type": ["null", "bytes"]}), r"\.flux: it is null"),
        (lambda f: f.update(flags={"name": "flags", "type": {"type": "array"}}), "not an Avro schema"),
    ],
)
def test_a_survey_schema_that_cannot_be_read_is_refused_at_the_start(
    change: Callable[[dict[str, Any]], Any], problem: str
) -> None:
    theirs = copy.deepcopy(schema(Kind.SPECTRUM))
    by_name = {field["name"]: field for field in theirs["fields"]}
    change(by_name)
    theirs["fields"] = list(by_name.values())
    with pytest.raises(SchemaError, match=problem):
        survey_resolver({7: theirs})


# --- ids of a bad packet


def test_ids_are_found_in_a_packet_that_cannot_be_read() -> None:
    assert peek_ids(sample(Kind.SPECTRUM)) == ("sample-20261120-001-001", "sample")
    assert peek_ids(SMALL[:20]) == ("spec-1", "csst")
    assert peek_ids(SMALL[:14]) == ("spec-1", None)
    newer = b"\0\0\0\x27\x75" + SMALL[5:]
    assert peek_ids(newer) == ("spec-1", "csst")
    for junk in (b"", b"\0", b"junk", sample(Kind.SCORE), SMALL[:8], SMALL[:5] + b"\xff" * 20):
        assert peek_ids(junk) == (None, None)


def test_the_sample_spectrum_is_a_lamost_sized_packet() -> None:
    assert_same(decode_spectrum(encode_spectrum(sample_spectrum())), sample_spectrum())
    assert 31_000 < len(encode_spectrum(sample_spectrum())) < 32_000
