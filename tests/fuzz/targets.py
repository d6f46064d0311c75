"""What is fuzzed: every function of ours that takes bytes from outside, and the errors that it may raise."""

from __future__ import annotations

import bz2
import gzip
import lzma
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from io import BytesIO, StringIO
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile

import numpy as np
from astropy.io import fits
from astropy.io.votable import from_table
from astropy.table import Table

from cempstream.processors.grid import Array, ExplicitGrid, LogGrid
from cempstream.processors.readers import UnreadableFile, read_spectra
from cempstream.processors.spectrum import BadSpectrum, Spectrum
from cempstream.schemas.alert import alert_from_json, alert_to_json, decode_alert
from cempstream.schemas.codec import decode_spectrum, encode_spectrum, peek_ids
from cempstream.schemas.exposure import decode_exposure, peek_exposure
from cempstream.schemas.heartbeat import decode_heartbeat
from cempstream.schemas.packets import HEADER_BYTES, PacketError, survey_resolver
from cempstream.schemas.registry import Kind, sample, schema, versions
from cempstream.schemas.samples import sample_classification, sample_spectrum, sample_stamp
from cempstream.schemas.score import decode_score
from tests.support.poison import poison
from tests.support.survey_files import star, write_cess, write_lamost_image, write_lamost_table, write_table

#: An id that some survey's registry gave to our own schema.
_SURVEYS_ID = 7
_RESOLVER = survey_resolver({_SURVEYS_ID: schema(Kind.SPECTRUM)})

_READERS: Mapping[int, Callable[[bytes], object]] = {
    Kind.SCORE.number: decode_score,
    Kind.ALERT.number: decode_alert,
    Kind.HEARTBEAT.number: decode_heartbeat,
    Kind.EXPOSURE.number: decode_exposure,
}


def decode_packet(packet: bytes) -> bool:
    """Decode bytes as a survey's packet and as what their header says; True where something was read."""
    peek_ids(packet)
    peek_exposure(packet)
    was_read = False
    try:
        decode_spectrum(packet, resolver=_RESOLVER)
        was_read = True
    except BadSpectrum:
        pass
    decode = _READERS.get(int.from_bytes(packet[1:HEADER_BYTES], "big") // 10_000)
    if decode is not None:
        try:
            decode(packet)
            was_read = True
        except PacketError:
            pass
    if packet[:1] == b"{":
        try:
            alert_from_json(packet)
            was_read = True
        except PacketError:
            pass
    return was_read


def read_file(content: bytes, path: Path) -> bool:
    """Read bytes as a file of spectra, written to a path; True where a spectrum came out."""
    path.write_bytes(content)
    try:
        return any(isinstance(read, Spectrum) for read in read_spectra(path))
    except UnreadableFile:
        return False


def small_spectrum() -> Spectrum:
    """Return the sample's star on 16 pixels: a packet of which most bytes mean something."""
    part = slice(0, 16)
    whole = sample_spectrum()
    return replace(
        whole,
        grid=LogGrid(3.6, 1e-3, 16),
        flux=whole.flux[part].copy(),
        ivar=whole.ivar[part].copy(),
        mask=np.zeros(16, np.uint8),
        contamination=np.full(16, 0.1, np.float32),
        resolving_power=np.linspace(1500, 2000, 16).astype(np.float32),
        flags=("medium_estimated",),
    )


def packet_seeds() -> list[bytes]:
    """Return packets of every kind and version, good ones and one of every way to be bad."""
    small = small_spectrum()
    explicit = replace(small, grid=ExplicitGrid(np.linspace(4000.0, 4100.0, 16)))
    bare = replace(small, mask=None, contamination=None, resolving_power=1800.0, photometry={}, flags=())
    spectra = [encode_spectrum(spectrum) for spectrum in (small, explicit, bare)]
    result = replace(sample_classification(), spectrum=small)
    return [
        *spectra,
        *(b"\0" + _SURVEYS_ID.to_bytes(4, "big") + packet[HEADER_BYTES:] for packet in spectra),
        *(sample(kind, version) for kind in Kind for version in versions(kind)),
        alert_to_json(result, sample_stamp()),
        *(packet for packet, _ in poison(bare).values()),
    ]


def file_seeds() -> list[bytes]:
    """Return small files of every container."""
    grid = LogGrid(3.6, 1e-3, 60)
    flux, zeros = star(grid.wave), np.zeros(grid.n_pix)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows = np.stack([flux, zeros + 0.25, grid.wave, zeros, zeros])
        image = write_lamost_image(folder / "image.fits", rows).read_bytes()
        table = write_lamost_table(folder / "table.fits", rows).read_bytes()
        plain = write_table(
            folder / "plain.fits", {"wave": grid.wave, "flux": flux, "ivar": zeros + 0.25}
        ).read_bytes()
        band = {
            "wave": grid.wave[:40],
            "flux_ujy_with_noise": np.ones((2, 40)),
            "ferr": np.full((2, 40), 0.1),
        }
        cess = write_cess(folder / "a.h5", {"GV": band}).read_bytes()
    archive = BytesIO()
    np.savez(archive, wave=grid.wave, flux=flux, ivar=zeros + 0.25)
    csv = "wave,flux,ivar\n" + "\n".join(
        f"{w:.3f},{f:.4f},0.25" for w, f in zip(grid.wave, flux, strict=True)
    )
    ecsv, votable, array = StringIO(), BytesIO(), BytesIO()
    columns = Table(
        {"wave": grid.wave, "flux": flux, "err": zeros + 2.0, "mask": zeros > 1}, meta={"medium": "air"}
    )
    columns.write(ecsv, format="ascii.ecsv")
    from_table(columns).to_xml(votable)
    np.save(array, np.stack([grid.wave, flux]))
    words = "# ra: 12:34:56\nwave [nm];flux;e_flux;mask\n" + "\n".join(
        f"{w / 10:.4f};{f:.4f};null;F" for w, f in zip(grid.wave, flux, strict=True)
    )
    bare = "\n".join(f"{w:.3f} {f:.4f}" for w, f in zip(grid.wave, flux, strict=True))
    texts = [text.encode() for text in (csv, bare, ecsv.getvalue())] + [words.encode("utf-16")]
    arrays = [archive.getvalue(), array.getvalue(), votable.getvalue()]
    packed = [gzip.compress(image), bz2.compress(plain), lzma.compress(plain), _zipped(plain)]
    return [image, table, plain, *packed, cess, *_fits_seeds(grid.wave, flux), *arrays, *texts]


def _zipped(content: bytes) -> bytes:
    stream = BytesIO()
    with ZipFile(stream, "w", ZIP_DEFLATED) as archive:
        archive.writestr("a.fits", content)
    return stream.getvalue()


def _fits_seeds(wave: Array, flux: Array) -> list[bytes]:
    """Return FITS files that are no plain table: IRAF's images, packed images, arrays of variable length."""
    n_pix = wave.size
    linear = fits.PrimaryHDU(flux.astype(np.float32))
    linear.header["CRVAL1"], linear.header["CDELT1"] = wave[0], wave[1] - wave[0]
    multispec = fits.PrimaryHDU(np.stack([np.stack([flux, flux]), np.stack([flux, flux])]).astype(np.float32))
    multispec.header["CTYPE1"] = "MULTISPE"
    multispec.header["BANDID2"] = "sigma - background fit"
    chebyshev = f"1 1 2 0 0 {n_pix} 0. 1. 2. 1. 0. 1 2. 1. {n_pix}. 4200. 300."
    text = f'wtype=multispec spec1 = "{chebyshev}" spec2 = "2 2 1 3.6 0.001 {n_pix} 0. 3. 4."'
    for i in range(0, len(text), 68):
        multispec.header[f"WAT2_{i // 68 + 1:03d}"] = text[i : i + 68]
    frame = [
        fits.PrimaryHDU(flux[None].astype(np.float32)),
        fits.ImageHDU(np.ones((1, n_pix), np.float32), name="IVAR"),
        fits.CompImageHDU(np.zeros((1, n_pix), np.uint32), name="MASK"),
        fits.ImageHDU(wave, name="WAVELENGTH"),
        fits.BinTableHDU.from_columns(
            [fits.Column("TARGETID", "K", array=[7]), fits.Column("FIBERSTATUS", "J", array=[0])],
            name="FIBERMAP",
        ),
    ]
    frame[0].header["EXTNAME"] = "FLUX"
    arms = [
        fits.BinTableHDU.from_columns(
            [
                fits.Column(name, "E", array=values)
                for name, values in (("FLUX", flux), ("IVAR", flux), ("LOGLAM", np.log10(wave)))
            ],
            name=f"COADD_{arm}",
        )
        for arm, wave in (("B", wave), ("R", 1.5 * wave))
    ]
    vectors = [
        fits.Column(name, "PE()", array=np.array([values, values[:9]], dtype=object))
        for name, values in (("wave", wave), ("flux", flux))
    ]
    telescope = fits.PrimaryHDU()
    telescope.header["TELESCOP"] = "LAMOST"
    files = (
        [linear],
        [multispec],
        frame,
        [telescope, *arms],
        [fits.PrimaryHDU(), fits.BinTableHDU.from_columns(vectors)],
    )
    made = []
    for hdus in files:
        stream = BytesIO()
        fits.HDUList(hdus).writeto(stream)
        made.append(stream.getvalue())
    return made
