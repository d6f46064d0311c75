"""Files that are made to harm: they are refused in one line, open no other file and take little memory."""

from __future__ import annotations

import bz2
import gzip
import lzma
import subprocess
import sys
import zipfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import h5py
import numpy as np
import pytest
from astropy.io import fits

from cempstream.processors.grid import LogGrid
from cempstream.processors.readers import UnreadableFile, read_spectra
from cempstream.processors.readers.fits_file import FitsFile
from cempstream.processors.readers.source import open_source
from tests.support.survey_files import star, write_cess

WAVE = np.linspace(3810.0, 6590.0, 530)
SECRET = b"root:x:0:0:" * 1000


def cess(path: Path) -> Path:
    return write_cess(
        path,
        {"GV": {"wave": WAVE, "flux_ujy_with_noise": np.ones((2, 530)), "ferr": np.full((2, 530), 0.1)}},
    )


def external_storage(folder: Path) -> Path:
    path = cess(folder / "a.h5")
    (folder / "secret").write_bytes(SECRET)
    with h5py.File(path, "a") as file:
        del file["GV/flux_ujy_with_noise"]
        file["GV"].create_dataset(
            "flux_ujy_with_noise", (2, 530), "f8", external=[(str(folder / "secret"), 0, 8480)]
        )
    return path


def external_link(folder: Path) -> Path:
    path, other = cess(folder / "a.h5"), cess(folder / "other.h5")
    with h5py.File(path, "a") as file:
        del file["GV/flux_ujy_with_noise"]
        file["GV/flux_ujy_with_noise"] = h5py.ExternalLink(str(other), "GV/flux_ujy_with_noise")
    return path


def external_group(folder: Path) -> Path:
    other = cess(folder / "other.h5")
    with h5py.File(folder / "a.h5", "w") as file:
        file["elsewhere"] = h5py.ExternalLink(str(other), "/")
        file["GV"] = h5py.SoftLink("/elsewhere/GV")
    return folder / "a.h5"


def virtual_dataset(folder: Path) -> Path:
    path, other = cess(folder / "a.h5"), cess(folder / "other.h5")
    layout = h5py.VirtualLayout((2, 530), "f8")
    layout[:] = h5py.VirtualSource(str(other), "GV/flux_ujy_with_noise", shape=(2, 530))
    with h5py.File(path, "a") as file:
        del file["GV/flux_ujy_with_noise"]
        file["GV"].create_virtual_dataset("flux_ujy_with_noise", layout)
    return path


@pytest.mark.parametrize("make", [external_storage, external_link, external_group, virtual_dataset])
def test_hdf5_opens_no_other_file(tmp_path: Path, make: Callable[[Path], Path]) -> None:
    with pytest.raises(UnreadableFile, match=r"another file|link to another place"):
        list(read_spectra(make(tmp_path)))


def never_written(folder: Path) -> Path:
    with h5py.File(folder / "a.h5", "w") as file:
        file["GV/wave"] = WAVE
        file["GV"].create_dataset("flux_ujy_with_noise", (2_000_000, 530), "f8", chunks=(16, 530))
    return folder / "a.h5"


def one_great_chunk(folder: Path) -> Path:
    with h5py.File(folder / "a.h5", "w") as file:
        file["GV/wave"] = WAVE
        file["GV"].create_dataset(
            "flux_ujy_with_noise", (4, 530), "f8", chunks=(1, 530), maxshape=(None, None)
        )
        wide = file["GV"].create_dataset(
            "ferr", (4, 262_144), "f8", chunks=(64, 262_144), maxshape=(None, None), compression=9
        )
        wide[:] = 1.0
    return folder / "a.h5"


def one_long_name_for_all(folder: Path) -> Path:
    path = cess(folder / "a.h5")
    with h5py.File(path, "a") as file:
        del file["ID"]
        file.create_dataset("ID", (2,), h5py.string_dtype(), data=["x" * 1_000_000] * 2)
    return path


def packed(pack: Callable[[bytes], bytes]) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        (folder / "a").write_bytes(pack(b"SIMPLE  =" + bytes(300 << 20)))
        return folder / "a"

    return make


def zip_bomb(folder: Path) -> Path:
    with zipfile.ZipFile(folder / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.fits", bytes(300 << 20))
    return folder / "a.zip"


def npz_bomb(folder: Path) -> Path:
    np.savez_compressed(folder / "a.npz", wave=np.zeros(10_000_000), flux=np.zeros(10_000_000))
    return folder / "a.npz"


def image_bomb(folder: Path) -> Path:
    image = fits.CompImageHDU(np.zeros((4000, 9000), np.int32), compression_type="GZIP_1")
    image.header["CRVAL1"], image.header["CDELT1"], image.header["APNUM1"] = 4000.0, 1.0, "1 1"
    fits.HDUList([fits.PrimaryHDU(), image]).writeto(folder / "a.fits")
    return folder / "a.fits"


def tile_bomb(folder: Path) -> Path:
    """A tile of 100 pixels whose packed bytes are 200 MB of zeros."""
    heap = gzip.compress(bytes(200 << 20))
    image = fits.CompImageHDU(np.zeros((1, 100), np.int32), compression_type="GZIP_1")
    image.header["CRVAL1"], image.header["CDELT1"] = 4000.0, 1.0
    fits.HDUList([fits.PrimaryHDU(), image]).writeto(folder / "a.fits")
    content = bytearray((folder / "a.fits").read_bytes())
    start = content.index(b"XTENSION")
    table = content.index(b"END ", start) // 2880 * 2880 + 2880
    content[table : table + 8] = np.array([len(heap), 0], ">i4").tobytes()
    pcount = content.index(b"PCOUNT  =", start)
    content[pcount + 10 : pcount + 30] = f"{len(heap):>20}".encode()
    whole = bytes(content[: table + 8]) + heap
    (folder / "a.fits").write_bytes(whole + bytes(-len(whole) % 2880))
    return folder / "a.fits"


def great_header_of_arrays(folder: Path) -> Path:
    """Rows whose arrays of variable length all are the same long part of the heap."""
    rows = 60_000
    column = fits.Column("flux", "PE()", array=np.array([np.ones(2000, np.float32)], dtype=object))
    table = fits.BinTableHDU.from_columns([fits.Column("wave", "E", array=np.ones(1)), column])
    table.writeto(folder / "b.fits")
    content = (folder / "b.fits").read_bytes()
    start = content.index(b"XTENSION")
    data = content.index(b"END ", start) // 2880 * 2880 + 2880
    row, heap = content[data : data + 12], content[data + 12 : data + 12 + 8000]
    header = content[:data].replace(f"NAXIS2  = {1:>20}".encode(), f"NAXIS2  = {rows:>20}".encode())
    (folder / "a.fits").write_bytes(header + row * rows + heap)
    return folder / "a.fits"


BOMBS: tuple[Callable[[Path], Path], ...] = (
    never_written,
    one_great_chunk,
    packed(gzip.compress),
    packed(bz2.compress),
    packed(lzma.compress),
    zip_bomb,
    npz_bomb,
    image_bomb,
    tile_bomb,
    great_header_of_arrays,
)


def test_bombs_are_refused_and_take_little_memory(tmp_path: Path) -> None:
    paths = []
    for i, make in enumerate(BOMBS):
        folder = tmp_path / str(i)
        folder.mkdir()
        paths.append(make(folder))
        assert paths[-1].stat().st_size < 4 << 20
    code = """
import resource, sys
from cempstream.processors.readers import UnreadableFile, read_spectra
from cempstream.processors.readers.fits_file import FitsFile
from cempstream.processors.readers.source import open_source
for path in sys.argv[1:]:
    try:
        print(len(list(read_spectra(path))), path)
    except UnreadableFile as error:
        assert "\\n" not in str(error)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""
    run = subprocess.run(
        [sys.executable, "-c", code, *map(str, paths)], capture_output=True, text=True, timeout=240
    )
    assert run.returncode == 0, run.stderr
    *read, peak_kib = run.stdout.splitlines()
    assert read == [], "a bomb was read"
    assert int(peak_kib) < 1 << 20


def test_one_long_name_for_all_is_cut(tmp_path: Path) -> None:
    for spectrum in read_spectra(one_long_name_for_all(tmp_path)):
        assert len(spectrum.spectrum_id or "") < 300


def test_a_sound_compressed_image_is_read(tmp_path: Path) -> None:
    grid = LogGrid(3.6, 1e-4, 2000)
    for method in ("RICE_1", "GZIP_1", "GZIP_2"):
        image = fits.CompImageHDU(
            star(grid.wave).astype(np.float32)[None],
            compression_type=method,
            quantize_level=0.0 if method != "RICE_1" else 256.0,
        )
        image.header["CRVAL1"], image.header["CDELT1"], image.header["DC-FLAG"] = 3.6, 1e-4, 1
        path = tmp_path / f"{method}.fits"
        fits.HDUList([fits.PrimaryHDU(), image]).writeto(path)
        (spectrum,) = read_spectra(path)
        assert np.median(spectrum.flux) == pytest.approx(100, rel=0.1)  # type: ignore[union-attr]


def test_a_file_without_a_name_in_a_zip_is_read_or_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(zipfile.ZipInfo(""), b"no spectrum at all")
    with pytest.raises(UnreadableFile, match=r"a\.zip"):
        list(read_spectra(path))


def test_tiles_that_cannot_be_unpacked_are_damage(tmp_path: Path) -> None:
    """What the unpacking library raises has no public class."""
    path = tmp_path / "a.fits"
    flux = np.ones((2, 300), np.float32)
    fits.HDUList(
        [
            fits.PrimaryHDU(flux, fits.Header([("CRVAL1", 4000.0), ("CDELT1", 1.0), ("CRPIX1", 1.0)])),
            fits.CompImageHDU(
                np.arange(600, dtype=np.int32).reshape(2, 300), name="MASK", compression_type="RICE_1"
            ),
        ]
    ).writeto(path)
    with fits.open(path, disable_image_compression=True) as file:
        table = file[1]
        begin = table.fileinfo()["datLoc"] + table.header["NAXIS1"] * table.header["NAXIS2"]
        n_bytes = table.header["PCOUNT"]
    content = bytearray(path.read_bytes())
    content[begin : begin + n_bytes] = b"\xff" * n_bytes
    path.write_bytes(bytes(content))
    with fits.open(path) as file, pytest.raises(Exception, match="decompress"):
        file[1].data  # noqa: B018 - it is read here
    message = "is a damaged FITS file: the data of extension 1"
    with closing(FitsFile(open_source(path))) as damaged, pytest.raises(UnreadableFile, match=message):
        damaged.image(1)
