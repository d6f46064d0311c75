"""How many alerts a second are compared with a catalogue of a million stars."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from cempstream.processors.grid import Array
from cempstream.schemas.alert import Alert, decode_alert
from cempstream.schemas.registry import Kind, sample
from cempstream.streams.observing.catalogue import Catalogue
from cempstream.streams.observing.known_stars import KnownStars
from cempstream.streams.rehearsal.machine import Machine, this_machine

_EPOCH, _ALERT_EPOCH = 2016.0, 2026.0
_SEED = 1
_LABELS = {"feh": "-2.5", "class": "CEMP-s"}


@dataclass(frozen=True, slots=True)
class KnownReport:
    """What was measured.

    Attributes
    ----------
    layout
        Where the stars are: over the whole sky, or in one strip of declination.
    fast_share
        Share of the stars that move by more than 0.3 arcsec a year.
    n_found
        Alerts at a star's place, of ``n_alerts``, whose star was found.
    us_p50, us_p99
        Microseconds an alert takes, of the repeat that is the median.
    """

    n_stars: int
    n_alerts: int
    layout: str
    fast_share: float
    ready_s: float
    rate: float
    us_p50: float
    us_p99: float
    n_found: int
    machine: Machine


def measure_known(n_stars: int, n_alerts: int, *, strip_deg: float | None, repeats: int) -> KnownReport:
    """Measure with stars at random, a few of them fast, and alerts where they are ten years later.

    Parameters
    ----------
    strip_deg
        Put all stars into a strip of declination of this width: the search's hardest case.
    """
    machine = this_machine()
    catalogue = _catalogue(n_stars, strip_deg)
    began_s = time.perf_counter()
    known = KnownStars(catalogue)
    ready_s = time.perf_counter() - began_s
    alerts = _alerts(catalogue, n_alerts)
    runs = [_seconds(known, alerts) for _ in range(repeats)]
    taken_s, n_found = sorted(runs, key=lambda run: float(run[0].sum()))[repeats // 2]
    speed = np.hypot(catalogue.pmra_mas_yr, catalogue.pmdec_mas_yr)
    return KnownReport(
        n_stars=n_stars,
        n_alerts=n_alerts,
        layout="the whole sky" if strip_deg is None else f"a strip of {strip_deg:g}°",
        fast_share=float((speed > 300).mean()),
        ready_s=ready_s,
        rate=n_alerts / float(taken_s.sum()),
        us_p50=1e6 * float(np.median(taken_s)),
        us_p99=1e6 * float(np.percentile(taken_s, 99)),
        n_found=n_found,
        machine=machine,
    )


def _catalogue(n_stars: int, strip_deg: float | None) -> Catalogue:
    rng = np.random.default_rng(_SEED)
    half = np.pi / 2 if strip_deg is None else np.radians(strip_deg) / 2
    dec = np.degrees(np.arcsin(rng.uniform(-np.sin(half), np.sin(half), n_stars)))
    # Most stars move by a few mas a year and one in some ten thousand by more than an arcsecond.
    speed = np.minimum(5.0 * rng.pareto(1.2, n_stars), 10_000.0)
    angle = rng.uniform(0, 2 * np.pi, n_stars)
    texts = np.dtypes.StringDType()
    return Catalogue(
        name="bench",
        ra_deg=rng.uniform(0, 360, n_stars),
        dec_deg=dec,
        pmra_mas_yr=speed * np.cos(angle),
        pmdec_mas_yr=speed * np.sin(angle),
        epoch=np.full(n_stars, _EPOCH),
        names=np.array([f"star {i}" for i in range(n_stars)], dtype=texts),
        labels={name: np.full(n_stars, text, dtype=texts) for name, text in _LABELS.items()},
    )


def _alerts(catalogue: Catalogue, n_alerts: int) -> list[Alert]:
    """Return alerts where stars are ten years later, to within the linear motion in the plane of the sky."""
    rng = np.random.default_rng(_SEED + 1)
    rows = rng.integers(0, catalogue.n_stars, n_alerts)
    years = _ALERT_EPOCH - _EPOCH
    dec: Array = catalogue.dec_deg[rows] + catalogue.pmdec_mas_yr[rows] * years / 3.6e6
    along: Array = catalogue.pmra_mas_yr[rows] * years / 3.6e6 / np.cos(np.radians(dec))
    ra = (catalogue.ra_deg[rows] + along) % 360.0
    one = decode_alert(sample(Kind.ALERT))
    return [
        one.model_copy(update={"ra": a, "dec": d, "epoch": _ALERT_EPOCH, "matches": (), "compared_with": ()})
        for a, d in zip(ra.tolist(), dec.tolist(), strict=True)
    ]


def _seconds(known: KnownStars, alerts: list[Alert]) -> tuple[Array, int]:
    """Return the seconds that each alert took, and how many have a match."""
    taken_s, n_found = np.empty(len(alerts)), 0
    for i, alert in enumerate(alerts):
        began_s = time.perf_counter()
        marked = known.mark(alert)
        taken_s[i] = time.perf_counter() - began_s
        n_found += bool(marked.matches)
    return taken_s, n_found
