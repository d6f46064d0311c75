"""Any file at all: spectra or one clear line, whatever rubbish it holds."""

from __future__ import annotations

import gzip
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cempstream.processors.grid import LogGrid
from cempstream.processors.outcome import Rejected
from cempstream.processors.readers import ReadOptions, UnreadableFile, expand_paths, read_spectra
from cempstream.processors.spectrum import Spectrum
from tests.support.survey_files import star, write_cess, write_lamost_image

RUBBISH = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def read_or_complain(path: Path) -> list[Spectrum | Rejected] | UnreadableFile:
    """Read a file that may be rubbish: any other exception than ``UnreadableFile`` fails the test."""
    complaint: UnreadableFile | None = None
    try:
        return list(read_spectra(path))
    except UnreadableFile as error:
        complaint = error
    assert "\n" not in str(complaint)
    assert len(str(complaint)) < 800
    return complaint


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Return one good file of each container."""
    folder = tmp_path_factory.mktemp("samples")
    grid = LogGrid(3.5682, 1e-4, 3909)
    flux = star(grid.wave)
    zeros = np.zeros(grid.n_pix)
    lamost = write_lamost_image(folder / "a.fits", np.stack([flux, zeros + 0.25, grid.wave, zeros, zeros]))
    wave = np.linspace(3810, 6590, 530)
    band = {"wave": wave, "flux_ujy_with_noise": np.ones((3, 530)), "ferr": np.full((3, 530), 0.1)}
    cess = write_cess(folder / "a.h5", {"GV": band})
    np.savez(folder / "a.npz", wave=grid.wave, flux=flux, ivar=zeros + 0.25)
    csv = "wave,flux,ivar\n" + "\n".join(f"{w},{f},0.25" for w, f in zip(grid.wave, flux, strict=True))
    return {
        "fits": lamost.read_bytes(),
        "gz": gzip.compress(lamost.read_bytes()),
        "h5": cess.read_bytes(),
        "npz": (folder / "a.npz").read_bytes(),
        "csv": csv.encode(),
    }


@pytest.mark.parametrize("kind", ["fits", "gz", "h5", "npz", "csv"])
def test_samples_are_good(tmp_path: Path, samples: dict[str, bytes], kind: str) -> None:
    path = tmp_path / "sample"  # formats are known by content
    path.write_bytes(samples[kind])
    spectra = list(read_spectra(path))
    assert spectra
    assert all(isinstance(s, Spectrum) for s in spectra)


@RUBBISH
@given(content=st.binary(max_size=4000))
def test_random_bytes_are_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "rubbish"
    path.write_bytes(content)
    assert isinstance(read_or_complain(path), UnreadableFile)


@RUBBISH
@given(kind=st.sampled_from(["fits", "gz", "h5", "npz"]), share=st.floats(0.0, 0.999))
def test_cut_files_are_one_line(tmp_path: Path, samples: dict[str, bytes], kind: str, share: float) -> None:
    path = tmp_path / "cut"
    whole = samples[kind]
    # The last FITS block is padding: a file that only lacks some of it is whole.
    end = len(whole) - (2880 if kind == "fits" else 0)
    path.write_bytes(whole[: int(share * end)])
    assert isinstance(read_or_complain(path), UnreadableFile)


@RUBBISH
@given(
    kind=st.sampled_from(["fits", "gz", "h5", "npz", "csv"]),
    places=st.lists(st.tuples(st.floats(0.0, 1.0), st.integers(0, 255)), min_size=1, max_size=30),
    reach=st.sampled_from([1.0, 0.1, 0.02]),
)
def test_flipped_bytes_never_raise_anything_else(
    tmp_path: Path,
    samples: dict[str, bytes],
    kind: str,
    places: list[tuple[float, int]],
    reach: float,
) -> None:
    content = bytearray(samples[kind])
    for share, value in places:
        content[int(share * reach * (len(content) - 1))] = value
    path = tmp_path / "flipped"
    path.write_bytes(content)
    read_or_complain(path)


def test_truncated_real_files_are_one_line(tmp_path: Path, shared_data: Path) -> None:
    for folder in ("lamost", "sdss", "desi"):
        real = expand_paths([shared_data / "real" / folder])[0]
        unpacked = gzip.decompress(real.read_bytes())
        for name, content in (("packed", real.read_bytes()), ("unpacked", unpacked)):
            for share in (0.001, 0.1, 0.5, 0.9):
                path = tmp_path / f"{folder}-{name}-{share}"
                path.write_bytes(content[: int(share * len(content))])
                outcome = read_or_complain(path)
                # An SDSS file has the spectrum first; what is cut off after it is not needed.
                assert isinstance(outcome, UnreadableFile) or (folder == "sdss" and share == 0.9)


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("missing.fits", "does not exist"),
        (".", "is a folder"),
        ("empty.fits", "is empty"),
        ("nul\0.fits", "cannot be opened"),
    ],
)
def test_what_is_no_file_is_one_line(tmp_path: Path, name: str, complaint: str) -> None:
    (tmp_path / "empty.fits").touch()
    with pytest.raises(UnreadableFile, match=complaint):
        list(read_spectra(tmp_path / name))


def test_gzip_bomb_is_refused_before_it_fills_the_memory(tmp_path: Path) -> None:
    path = tmp_path / "bomb.fits.gz"
    bomb = gzip.compress(b"SIMPLE  =" + b"\0" * (80 << 20), compresslevel=1)
    path.write_bytes(bomb)
    with pytest.raises(UnreadableFile, match="unpacks"):
        list(read_spectra(path))
    path.write_bytes(bomb[:-4] + (1000).to_bytes(4, "little"))  # lies about its size
    with pytest.raises(UnreadableFile):
        list(read_spectra(path))


def test_header_that_claims_more_than_the_file_is_refused(tmp_path: Path, samples: dict[str, bytes]) -> None:
    path = tmp_path / "claim.fits"
    path.write_bytes(
        samples["fits"].replace(b"NAXIS1  =                 3909", b"NAXIS1  =         390900000000")
    )
    assert isinstance(read_or_complain(path), UnreadableFile)


def test_npz_whose_array_claims_more_than_the_file_is_refused(
    tmp_path: Path, samples: dict[str, bytes]
) -> None:
    path = tmp_path / "claim.npz"
    with zipfile.ZipFile(path, "w") as archive:
        header = b"\x93NUMPY\x01\x00v\x00{'descr': '<f8', 'fortran_order': False, 'shape': (99999999999,), }"
        for name in ("wave", "flux"):
            archive.writestr(f"{name}.npy", header.ljust(127) + b"\n" + bytes(80))
    with pytest.raises(UnreadableFile, match="claims the shape"):
        list(read_spectra(path))


def test_folders_stand_for_their_spectra_in_order(tmp_path: Path) -> None:
    for name in ("b.fits", "a.fits.gz", "sub/c.npz", "README.md", ".hidden.fits", "d.CSV"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = expand_paths([tmp_path / "README.md", tmp_path, tmp_path / "missing.fits"])
    names = [str(path.relative_to(tmp_path)) for path in found]
    assert names == ["README.md", "a.fits.gz", "b.fits", "d.CSV", "sub/c.npz", "missing.fits"]


@pytest.mark.parametrize(
    "options", [{"medium": "water"}, {"frame": "galactic"}, {"resolving_power": 0.0}, {"survey": " "}]
)
def test_options_are_checked(options: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="must"):
        ReadOptions(**options)  # type: ignore[arg-type]


def test_importing_the_readers_needs_numpy_alone() -> None:
    code = (
        "import sys, cempstream.processors.readers; "
        "print([m for m in ('astropy', 'h5py', 'scipy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
