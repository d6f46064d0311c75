"""Write the sample packet of every latest schema version: ``python -m cempstream.schemas.samples``.

The star is invented and the packets say so (survey ``sample``, tense ``test``): a smooth continuum with the
carbon bands of a CEMP giant as Gaussians and photon noise from a fixed seed. An existing sample is not
changed, since published versions never change.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np

from cempstream.processors.grid import LogGrid
from cempstream.processors.outcome import (
    Classification,
    Decision,
    Estimate,
    NamedBand,
    Provenance,
    TemplateMatch,
)
from cempstream.processors.spectrum import Spectrum
from cempstream.processors.stars.life import Sent
from cempstream.processors.stars.observation import Observation, Said
from cempstream.processors.stars.star import Star
from cempstream.schemas.alert import alert_record
from cempstream.schemas.codec import encode_spectrum
from cempstream.schemas.exposure import Exposure, encode_exposure
from cempstream.schemas.heartbeat import Heartbeat, encode_heartbeat
from cempstream.schemas.observation import observation_record
from cempstream.schemas.packets import pack
from cempstream.schemas.registry import Kind, latest, sample_path
from cempstream.schemas.score import score_record
from cempstream.schemas.sky import Match, Sky
from cempstream.schemas.stamp import Stamp
from cempstream.schemas.star import StarPacket, encode_star

#: LAMOST's pixels.
_GRID = LogGrid(log10_start=3.5682, log10_step=1e-4, n_pix=3909)

#: Name, centre and width in Å, depth: CH, C2 (Swan), Ca II K, Hβ, Mg b.
_BANDS = (
    ("CH G", 4300.0, 22.0, 0.55),
    ("C2 4737", 4715.0, 22.0, 0.35),
    ("C2 5165", 5130.0, 28.0, 0.40),
    ("Ca II K", 3934.8, 5.0, 0.50),
    ("H beta", 4862.7, 5.0, 0.35),
    ("Mg b", 5175.0, 8.0, 0.15),
)

_REDUCED_AT = datetime(2026, 11, 20, 3, 0, 0, 250_000, tzinfo=UTC)
_SNR = 40.0


def sample_spectrum() -> Spectrum:
    """Return the invented star's spectrum: 31 KB as a packet, S/N 40 a pixel, read-only arrays."""
    wave = _GRID.wave
    flux = 100.0 * np.exp(-(((wave - 6500.0) / 4000.0) ** 2))
    for _, centre_aa, width_aa, depth in _BANDS:
        flux *= 1.0 - depth * np.exp(-0.5 * ((wave - centre_aa) / width_aa) ** 2)
    error = flux / _SNR
    noisy = (flux + error * np.random.default_rng(2026).standard_normal(wave.size)).astype(np.float32)
    ivar = (error**-2).astype(np.float32)
    ivar[100:104] = 0.0  # a cosmic ray
    noisy.setflags(write=False)
    ivar.setflags(write=False)
    return Spectrum(
        spectrum_id="sample-20261120-001-001",
        survey="sample",
        object_id="SAMPLE J104508.24+412345.6",
        exposure_id="sample-20261120-001",
        exposure_size=1,
        observed_at=_REDUCED_AT - timedelta(minutes=45),
        reduced_at=_REDUCED_AT,
        reduction_version="1.0",
        ra=161.284333,
        dec=41.396,
        epoch=2016.0,
        gaia_source_id=4_611_686_018_427_387_905,  # above 2**53, which a float64 could not hold
        grid=_GRID,
        flux=noisy,
        ivar=ivar,
        resolving_power=1800.0,
        rv_kms=-123.4,
        photometry={"G": (14.82, 0.003), "BP": (15.21, 0.004), "RP": (14.25, 0.004)},
        parallax_mas=0.35,
        parallax_error_mas=0.02,
        ebv=0.03,
        ebv_error=0.01,
        stellarity=0.98,
        uri="https://example.org/sample/sample-20261120-001-001.fits",
    )


def sample_classification() -> Classification:
    """Return an invented classification of it; no model has run."""
    edges_aa = np.linspace(3800.0, 5800.0, 81)
    centres_aa = 0.5 * (edges_aa[1:] + edges_aa[:-1])
    weight = np.full(centres_aa.size, 0.002)
    for _, centre_aa, width_aa, depth in _BANDS[:3]:
        weight += depth * np.exp(-0.5 * ((centres_aa - centre_aa) / width_aa) ** 2)
    weight /= weight.sum()
    return Classification(
        spectrum=sample_spectrum(),
        bundle="sample/1.0",
        snr=_SNR,
        flags=(),
        rv_kms=-121.9,
        rv_error_kms=4.2,
        template=TemplateMatch(teff=4750.0, logg=1.5, feh=-2.5, cfe=1.5, chi2=1.08),
        lines={"G4300": (7.9, 0.2), "C2_4668": (9.1, 0.4), "CaK": (4.4, 0.1), "CN1": (0.11, 0.01)},
        parameters={
            "teff": Estimate(4810.0, 4730.0, 4895.0),
            "logg": Estimate(1.6, 1.3, 1.9),
            "feh": Estimate(-2.41, -2.53, -2.28),
            "cfe": Estimate(1.52, 1.38, 1.67),
            "ac": Estimate(7.54, 7.41, 7.68),
            "bafe": Estimate(float("nan"), float("nan"), float("nan")),
        },
        cfe_corrected=1.61,
        p_cemp=0.97,
        p_cemp_corrected=0.98,
        subclass_p={"cemp_no": 0.15, "cemp_s": 0.7, "cemp_r": 0.05, "undetermined": 0.1},
        ood_score=0.12,
        attribution=weight,
        attribution_wave_aa=edges_aa,
        bands=(NamedBand("C2 5165", 0.4), NamedBand("CH G", 0.3), NamedBand("C2 4737", 0.2)),
        decision=Decision(is_candidate=True, threshold=0.5, prior=3e-4, policy_version="1.0", priority=0.9),
        provenance=(Provenance("sample", "1.0", "0" * 64, "CPUExecutionProvider"),),
        expected_purity=0.93,
    )


def sample_sky() -> Sky:
    """Return an invented catalogue's star at its position."""
    labels = {"feh": "-2.4", "class": "CEMP-s"}
    star = Match("known", "sample", "SAMPLE J104508.24+412345.6", 0.4, labels)
    return Sky((star,), ("sample", "sample watchlist"))


def sample_stamp() -> Stamp:
    """Return plausible times, marked as a test."""
    return Stamp(
        tense="test",
        ingested_at=_REDUCED_AT + timedelta(milliseconds=40),
        inferred_at=_REDUCED_AT + timedelta(milliseconds=110),
        published_at=_REDUCED_AT + timedelta(milliseconds=115),
    )


def sample_heartbeat() -> Heartbeat:
    """Return the heartbeat of an idle worker."""
    return Heartbeat(
        worker_id="sample-worker-0",
        sent_at=_REDUCED_AT + timedelta(seconds=1),
        started_at=_REDUCED_AT - timedelta(hours=6),
        state="running",
        code_version="0.1.0",
        bundles=("sample/1.0",),
        provider="CPUExecutionProvider",
        topics=("sample.spectra.v1",),
        lag_messages=0,
        lag_seconds=0.0,
        last_spectrum_at=_REDUCED_AT + timedelta(milliseconds=40),
        n_in=1,
        n_scored=1,
        n_alerts=1,
    )


def sample_exposure() -> Exposure:
    """Return an exposure of one spectrum, complete."""
    stamp, spectrum = sample_stamp(), sample_spectrum()
    return Exposure.of(
        spectrum.survey,
        spectrum.exposure_id,
        spectrum.reduction_version,
        status="complete",
        n_expected=1,
        n_scored=1,
        n_dead_letters=0,
        n_alerts=1,
        first_reduced_at=_REDUCED_AT,
        last_published_at=stamp.published_at,
        reported_at=stamp.published_at + timedelta(milliseconds=200),
        n_received=1,
    )


def sample_observation() -> Observation:
    """Return the invented star's spectrum as an observation; the bundle's pixels are LAMOST's."""
    result = sample_classification()
    return Observation(
        spectrum=result.spectrum,
        said=replace(Said.of(result), bundle="sample-1.0.0"),
        shift_kms=-121.9,
        is_shift_certain=True,
    )


def sample_star() -> StarPacket:
    """Return the star after that observation and its alert."""
    observation, stamp = sample_observation(), sample_stamp()
    said, spectrum = observation.said, observation.spectrum
    assert spectrum.object_id is not None
    star = Star(
        object_id=spectrum.object_id,
        tense=stamp.tense,
        observations=(observation,),
        together=(said,),
        sent=Sent(
            alert_id="4c8f0ab7-3ab1-5d2c-9b2a-52d8e86d0c0e",
            alert_type="initial",
            revision=0,
            subclass=said.subclass,
            parameters=said.parameters,
        ),
    )
    return StarPacket(star=star, survey=spectrum.survey, updated_at=stamp.published_at, offset=0)


def sample_packets() -> dict[Kind, bytes]:
    """Return one packet of every kind, the same on every machine but for the last bit of ``exp``."""
    result, stamp = sample_classification(), sample_stamp()
    code = {"version": "0.1.0", "commit": ""}  # fixed, so that the bytes are reproducible
    return {
        Kind.SPECTRUM: encode_spectrum(result.spectrum),
        Kind.SCORE: pack(Kind.SCORE, score_record(result, stamp) | {"code_version": code["version"]}),
        Kind.ALERT: pack(Kind.ALERT, alert_record(result, stamp, sky=sample_sky()) | {"code": code}),
        Kind.HEARTBEAT: encode_heartbeat(sample_heartbeat()),
        Kind.EXPOSURE: encode_exposure(sample_exposure()),
        Kind.OBSERVATION: pack(
            Kind.OBSERVATION,
            observation_record(sample_observation(), stamp) | {"code_version": code["version"]},
        ),
        Kind.STAR: encode_star(sample_star()),
    }


def write_missing_samples() -> list[Kind]:
    """Write the samples that the latest versions lack, and return which."""
    written = []
    for kind, packet in sample_packets().items():
        path = sample_path(kind, latest(kind))
        if not path.exists():
            path.write_bytes(packet)
            written.append(kind)
    return written


if __name__ == "__main__":
    for kind in write_missing_samples():
        print(f"{kind} {latest(kind)}: {sample_path(kind, latest(kind)).name} written")
