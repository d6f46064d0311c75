"""Read any file of spectra; its format is recognised by its content, never by its name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from cempstream.processors.outcome import Rejected
from cempstream.processors.readers.astropy_tables import ECSV_MAGIC, is_votable, read_ecsv, read_votable
from cempstream.processors.readers.csst import read_csst
from cempstream.processors.readers.desi import is_desi, read_desi
from cempstream.processors.readers.fits_file import FitsFile
from cempstream.processors.readers.image_spectra import read_image, spectral_image
from cempstream.processors.readers.lamost import is_lamost, read_lamost
from cempstream.processors.readers.npz import read_npy, read_npz
from cempstream.processors.readers.options import ReadOptions
from cempstream.processors.readers.sdss import is_milky_way_mapper, is_sdss, read_sdss
from cempstream.processors.readers.source import Source, open_source
from cempstream.processors.readers.tables import read_fits_table, table_indices
from cempstream.processors.readers.text import read_text
from cempstream.processors.spectrum import Spectrum

#: Files in a folder that are not spectra; any other file is read, or reported as unreadable.
DOCUMENTS = (
    ".md", ".rst", ".pdf", ".png", ".jpg", ".jpeg", ".gif", ".svg", ".html", ".htm", ".css", ".js", ".py",
    ".pyc", ".ipynb", ".sh", ".log", ".tex", ".json", ".jsonl", ".parquet", ".yaml", ".yml", ".toml", ".ini",
    ".cfg", ".md5", ".sha1", ".sha256", ".tmp", ".bak", ".part", ".lock", ".onnx",
)  # fmt: skip
_DOCUMENT_NAMES = ("readme", "license", "licence", "copying", "changelog", "makefile", "checksums")

_FITS_MAGIC, _HDF5_MAGIC, _ZIP_MAGICS = b"SIMPLE  =", b"\x89HDF\r\n\x1a\n", (b"PK\x03\x04", b"PK\x05\x06")
_NPY_MAGIC = b"\x93NUMPY"
_DEFAULTS = ReadOptions()


def read_spectra(path: Path | str, options: ReadOptions = _DEFAULTS) -> Iterator[Spectrum | Rejected]:
    """Read the spectra of a file, in its order.

    Formats: LAMOST low resolution (image or table), SDSS and BOSS, DESI (coadd, spectra, cframe), CSST as the
    CESS emulator writes it, FITS tables, CSV, npz; each also packed as ``.gz``, ``.bz2``, ``.xz`` or alone in
    a ``.zip``. docs/formats.md says how each gives medium, frame, noise, mask and identity.

    Parameters
    ----------
    path
        A file.
    options
        What the caller states; it overrides the file.

    Yields
    ------
    Spectrum or Rejected
        One per spectrum of the file; a bad one gives a ``Rejected`` in its place, without a packet.

    Raises
    ------
    UnreadableFile
        The file as a whole cannot be read, mostly before the first spectrum, or holds none.
    """
    source = open_source(Path(path))
    is_empty = True
    for read in _read(source, options):
        is_empty = False
        yield read
    if is_empty:
        raise source.unreadable("holds no spectra", "give a file with at least one")


def _read(source: Source, options: ReadOptions) -> Iterator[Spectrum | Rejected]:
    if source.head.startswith(_FITS_MAGIC):
        yield from _read_fits(source, options)
    elif source.head.startswith(_HDF5_MAGIC):
        yield from read_csst(source, options)
    elif source.head.startswith(_ZIP_MAGICS):
        yield from read_npz(source, options)
    elif source.head.startswith(_NPY_MAGIC):
        yield from read_npy(source, options)
    elif source.head.startswith(ECSV_MAGIC.encode()):
        yield from read_ecsv(source, options)
    elif is_votable(source.head):
        yield from read_votable(source, options)
    else:
        yield from read_text(source, options)


def _read_fits(source: Source, options: ReadOptions) -> Iterator[Spectrum | Rejected]:
    file = FitsFile(source)
    try:
        if is_lamost(file):
            yield from read_lamost(file, options)
        elif is_sdss(file):
            yield from read_sdss(file, options)
        elif is_desi(file):
            yield from read_desi(file, options)
        else:
            if is_milky_way_mapper(file):
                options = replace(options, medium=options.medium or "vacuum", survey=options.survey or "sdss")
            tables = table_indices(file)
            image = spectral_image(file) if not tables else None
            if image is not None:
                yield from read_image(file, image, options)
            elif not tables:
                raise source.unreadable(
                    f"is a FITS file of no known kind (extensions {', '.join(file.names[:8])})",
                    "give a LAMOST, SDSS or DESI file, a table with wave, flux and ivar, or an image with "
                    "CRVAL1 and CDELT1",
                )
            for index in tables:
                label = file.names[index] or str(index) if len(tables) > 1 else ""
                yield from read_fits_table(file, index, options, label=label)
    finally:
        file.close()


def expand_paths(paths: Iterable[Path | str]) -> list[Path]:
    """Replace folders by the files in them; the order of the paths is kept, files of a folder are sorted.

    All files below a folder that may hold spectra are taken: hidden files and documents are left out. Paths
    that do not exist, and folders without any such file, are kept, so that reading them gives the error.
    """
    files: list[Path] = []
    for path in map(Path, paths):
        if path.is_dir():
            found = sorted(p for p in path.rglob("*") if p.is_file() and _is_wanted(p.relative_to(path)))
            files.extend(found or [path])
        else:
            files.append(path)
    return files


def _is_wanted(path: Path) -> bool:
    name = path.name.lower()
    is_document = name.endswith(DOCUMENTS) or name.split(".")[0] in _DOCUMENT_NAMES
    return not is_document and not any(part.startswith(".") for part in path.parts)
