"""The alert packet: a likely CEMP star with all that a follow-up observer needs, and its spectrum."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from pydantic import Field, GetJsonSchemaHandler, InstanceOf, PrivateAttr
from pydantic_core import CoreSchema

from cempstream.processors.outcome import Classification, Decision, NamedBand, Provenance, TemplateMatch
from cempstream.processors.spectrum import BadSpectrum, Spectrum
from cempstream.processors.stars.star import Star
from cempstream.schemas.codec import photometry_record, spectrum_from_record, spectrum_record
from cempstream.schemas.healpix import healpix_nested
from cempstream.schemas.json_form import record_from_json, record_to_json
from cempstream.schemas.json_schema import json_schema
from cempstream.schemas.packets import HEADER_BYTES, MAX_PACKET_BYTES, PacketError, pack, unpack
from cempstream.schemas.registry import Kind
from cempstream.schemas.results import (
    CodeProvenance,
    Packet,
    Parameters,
    SubclassProbabilities,
    code_provenance,
    plain,
    result_record,
)
from cempstream.schemas.sky import NOT_LOOKED_UP, Match, Sky
from cempstream.schemas.stamp import Stamp, alert_id

#: A spectrum that takes more bytes is left out of the alert, which then gives its address.
MAX_SPECTRUM_BYTES = 64 * 1024


class NoSpectrumError(LookupError):
    """The alert does not carry its spectrum; the message says where it is."""


@dataclass(frozen=True, slots=True)
class Magnitude:
    """One band's magnitude and its 1σ error."""

    mag: float
    error: float


@dataclass(frozen=True, slots=True)
class LineIndex:
    """One line index and its 1σ error, in Å or mag depending on the index."""

    value: float
    error: float


@dataclass(frozen=True, slots=True)
class Attribution:
    """Which wavelengths the classification comes from.

    Attributes
    ----------
    wave_aa
        Edges of the bins in Å (vacuum, rest frame), one more than there are weights.
    weight
        Share of each bin, sum 1.
    """

    wave_aa: tuple[float, ...]
    weight: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Visit:
    """One spectrum of a star, and ``p_cemp`` of the star with it and the earlier ones."""

    spectrum_id: str
    grating: str | None
    observed_at: datetime | None
    snr: float
    p_cemp: float


class Alert(Packet):
    """One alert; the schema's ``doc`` texts say what each field means and its unit."""

    alert_id: str
    record_id: str
    spectrum_id: str
    survey: str
    object_id: str | None = None
    exposure_id: str = ""
    reduction_version: str = ""
    alert_type: str
    alert_tense: str
    revision: int = 0
    supersedes: str | None = None
    ra: float | None = None
    dec: float | None = None
    epoch: float | None = None
    gaia_source_id: int | None = None
    healpix29: int | None = None
    photometry: dict[str, Magnitude] = Field(default_factory=dict)
    observed_at: datetime | None = None
    reduced_at: datetime
    ingested_at: datetime
    inferred_at: datetime
    published_at: datetime
    snr: float
    flags: tuple[str, ...] = ()
    p_cemp: float
    p_cemp_corrected: float
    subclass: str
    subclass_p: SubclassProbabilities
    parameters: Parameters
    cfe_corrected: float
    template: TemplateMatch
    lines: dict[str, LineIndex] = Field(default_factory=dict)
    rv_kms: float | None = None
    rv_error_kms: float | None = None
    ood_score: float
    attribution: Attribution
    bands: tuple[NamedBand, ...] = ()
    decision: Decision
    bundle: str
    models: tuple[Provenance, ...] = ()
    code: CodeProvenance
    spectrum: InstanceOf[Spectrum] | None = None
    spectrum_uri: str | None = None
    n_observations: int = 1
    n_coadded: int = 1
    gratings: tuple[str, ...] = ()
    first_observed_at: datetime | None = None
    last_observed_at: datetime | None = None
    visits: tuple[Visit, ...] = ()
    expected_purity: float | None = None
    matches: tuple[Match, ...] = ()
    compared_with: tuple[str, ...] = ()

    _on_ack: Callable[[], None] | None = PrivateAttr(default=None)

    @property
    def name(self) -> str:
        """The star's name where the survey gave one, else the spectrum's id."""
        return self.object_id or self.spectrum_id

    def to_spectrum(self) -> Spectrum:
        """Return the spectrum that was scored: as the survey sent it, or the sum of ``n_coadded``.

        Raises
        ------
        NoSpectrumError
            It was too large for the alert.
        """
        if self.spectrum is None:
            place = (
                f"fetch it from {self.spectrum_uri}" if self.spectrum_uri else "the survey gave no address"
            )
            raise NoSpectrumError(f"alert {self.alert_id} carries no spectrum, it is too large: {place}")
        return self.spectrum

    def to_specutils(self) -> Any:
        """Return the same as a ``specutils.Spectrum``, with units, uncertainty, mask, and names in ``meta``.

        Raises
        ------
        NoSpectrumError
            It was too large for the alert.
        NoSpecutils
            specutils is not installed; the message says how to.
        """
        from cempstream.processors.as_specutils import to_specutils  # it needs more than the base install

        return to_specutils(self.to_spectrum())

    def ack(self) -> None:
        """Mark the alert as dealt with; this only has an effect in a stream with a named group.

        Such a group resumes at its first alert that was not acknowledged.
        """
        if self._on_ack is not None:
            self._on_ack()

    def on_ack(self, told: Callable[[], None]) -> None:
        """Set the function that `ack` calls; for the stream that the alert comes from."""
        self._on_ack = told

    def to_json(self, *, with_spectrum: bool = True) -> bytes:
        """Return the alert as one line of JSON, as in the JSON topic; most of it is the spectrum."""
        record: dict[str, Any] = {name: plain(value) for name, value in self if name != "spectrum"}
        spectrum = self.spectrum if with_spectrum else None
        record["spectrum"] = None if spectrum is None else spectrum_record(spectrum)
        return record_to_json(Kind.ALERT, record)

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """Give `model_json_schema` the schema of what `to_json` writes."""
        return json_schema(Kind.ALERT)


def encode_alert(
    result: Classification, stamp: Stamp, star: Star | None = None, sky: Sky = NOT_LOOKED_UP
) -> bytes:
    """Return the alert packet of a classification; of a star, where it is that of a star's sum."""
    return pack(Kind.ALERT, alert_record(result, stamp, star, sky))


def alert_to_json(
    result: Classification, stamp: Stamp, star: Star | None = None, sky: Sky = NOT_LOOKED_UP
) -> bytes:
    """Return the same alert as one line of JSON."""
    # Encoded and decoded first, so that both topics give the same values to the last digit.
    return record_to_json(Kind.ALERT, unpack(Kind.ALERT, encode_alert(result, stamp, star, sky)))


def decode_alert(packet: bytes, *, max_packet_bytes: int = MAX_PACKET_BYTES) -> Alert:
    """Read an alert packet.

    Raises
    ------
    PacketError
        Whatever is wrong with the bytes.
    """
    return _alert_from_record(unpack(Kind.ALERT, packet, max_packet_bytes=max_packet_bytes))


def alert_from_json(line: bytes | str) -> Alert:
    """Read an alert from a line of the JSON topic or of a recorded file.

    Raises
    ------
    PacketError
        It is not an alert of this major version.
    """
    return _alert_from_record(record_from_json(Kind.ALERT, line))


def _alert_from_record(record: dict[str, Any]) -> Alert:
    try:
        if record.get("spectrum") is not None:
            record["spectrum"] = spectrum_from_record(record["spectrum"])
    except BadSpectrum as error:
        raise PacketError(error.reason, f"its spectrum: {error.detail}") from error
    return Alert.from_record(record)


def alert_record(
    result: Classification, stamp: Stamp, star: Star | None = None, sky: Sky = NOT_LOOKED_UP
) -> dict[str, Any]:
    """Return an alert as the record that its packet holds.

    Parameters
    ----------
    result
        Of one spectrum, or of the sum that speaks for a star.
    star
        Whose sum it is; None where the spectrum stands for itself.
    sky
        What lies at the position.
    """
    spectrum = result.spectrum
    record = result_record(result, stamp)
    carried: dict[str, Any] | None = spectrum_record(spectrum)
    if len(pack(Kind.SPECTRUM, carried or {})) - HEADER_BYTES > MAX_SPECTRUM_BYTES:
        carried = None
    return record | {
        "alert_id": alert_id(record["record_id"], result.bundle, stamp.alert_type, stamp.revision),
        "alert_type": stamp.alert_type,
        "alert_tense": stamp.tense,
        "revision": stamp.revision,
        "supersedes": stamp.supersedes,
        "epoch": spectrum.epoch,
        "gaia_source_id": spectrum.gaia_source_id,
        "healpix29": _healpix29(spectrum),
        "photometry": photometry_record(spectrum.photometry),
        "lines": {name: {"value": value, "error": error} for name, (value, error) in result.lines.items()},
        "attribution": {
            "wave_aa": result.attribution_wave_aa.tolist(),
            "weight": result.attribution.tolist(),
        },
        "bands": plain(result.bands),
        "models": plain(result.provenance),
        "code": plain(code_provenance()),
        "spectrum": carried,
        "spectrum_uri": public_address(spectrum.uri),
        "expected_purity": result.expected_purity,
        "matches": plain(sky.matches),
        "compared_with": list(sky.compared_with),
        **(_of_one(result) if star is None else _of_star(star)),
    }


def public_address(uri: str | None) -> str | None:
    """Return an address where others can fetch it, else None.

    A file's name and an address of this machine mean nothing to them, and a password in one is not for them.
    """
    try:
        parts = urlsplit(uri or "")
        is_secret = parts.username is not None or parts.password is not None
        host = parts.hostname or ""
    except ValueError:
        return None
    # A drive's letter is no scheme: C:\spectra\a.fits.
    if len(parts.scheme) < 2 or parts.scheme == "file" or is_secret:
        return None
    return None if host == "localhost" or host.startswith("127.") or host == "::1" else uri


def _of_one(result: Classification) -> dict[str, Any]:
    """Return what an alert says of the observations of a star of which one spectrum is known."""
    spectrum = result.spectrum
    return {
        "n_observations": 1,
        "n_coadded": 1,
        "gratings": [spectrum.grating] if spectrum.grating else [],
        "first_observed_at": spectrum.observed_at,
        "last_observed_at": spectrum.observed_at,
        "visits": [_visit(spectrum, result.snr, result.p_cemp)],
    }


def _of_star(star: Star) -> dict[str, Any]:
    """Return what an alert says of a star's observations."""
    first, last = star.observed
    return {
        "n_observations": len(star.observations),
        "n_coadded": len(star.speaking()),
        "gratings": list(star.gratings),
        "first_observed_at": first,
        "last_observed_at": last,
        "visits": [
            _visit(seen.spectrum, seen.said.snr, math.nan if said is None else said.p_cemp)
            for seen, said in zip(star.observations, star.spokesmen(), strict=True)
        ],
    }


def _visit(spectrum: Spectrum, snr: float, p_cemp: float) -> dict[str, Any]:
    return {
        "spectrum_id": spectrum.spectrum_id,
        "grating": spectrum.grating,
        "observed_at": spectrum.observed_at,
        "snr": snr,
        "p_cemp": p_cemp,
    }


def _healpix29(spectrum: Spectrum) -> int | None:
    if spectrum.ra is None or spectrum.dec is None:
        return None
    return healpix_nested(spectrum.ra, spectrum.dec)
