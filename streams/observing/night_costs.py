"""What each star would cost, whenever it is begun: observability, airmass and moonlight as time passes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from cempstream.processors.grid import Array
from cempstream.streams.observing.candidates import Candidate, Why
from cempstream.streams.observing.exposure_time import (
    BANDS,
    Question,
    exposure_s,
    moonlight_mag,
    n_exposures,
    needed_snr,
    star_flux,
)
from cempstream.streams.observing.instrument import Instrument
from cempstream.streams.observing.night import Night, SkyView, look

#: Where an alert gives no temperature: a CEMP giant's.
_USUAL_TEFF = 5000.0
_V_AA = 5500.0


@dataclass(frozen=True, slots=True, eq=False)
class Costs:
    """What stars cost in a night.

    Attributes
    ----------
    snr
        That is needed, a pixel.
    view
        Where the stars stand.
    exposure_s
        Open-shutter time if all of it were in one slot's conditions, shape ``(n_star, n_slot)``; infinite
        where the star is out of limits.
    total_s
        From pointing to the last readout when begun with a slot, shape ``(n_star, n_slot)``; infinite where
        it cannot be.
    slots
        The same in whole slots, integer; 0 where it cannot be.
    why_not
        For each star that can be begun in no slot, the reason; None for the others.
    """

    snr: float
    view: SkyView = field(repr=False)
    exposure_s: Array = field(repr=False)
    total_s: Array = field(repr=False)
    slots: Array = field(repr=False)
    why_not: tuple[Why | None, ...] = field(repr=False)


def night_costs(
    stars: Sequence[Candidate],
    night: Night,
    instrument: Instrument,
    question: Question,
    *,
    snr: float | None = None,
) -> Costs:
    """Return what every star costs in every slot.

    Parameters
    ----------
    snr
        A pixel; None: what the question needs with this instrument.
    """
    snr = needed_snr(question, instrument) if snr is None else snr
    view = look(night, np.array([star.ra_deg for star in stars]), np.array([star.dec_deg for star in stars]))
    seconds = _exposures(stars, view, instrument, question, snr)
    limits = instrument.limits
    airmass = view.airmass
    is_up = (airmass <= limits.max_airmass) & (view.altitude_deg >= limits.min_altitude_deg)
    is_clear = (view.moon_distance_deg >= limits.min_moon_distance_deg) | (view.moon_altitude_deg <= 0.0)
    is_short = seconds <= limits.max_star_s
    magnitude = np.array([star.magnitude for star in stars])
    in_range = (magnitude >= limits.bright_mag) & (magnitude <= limits.faint_mag)
    seconds = np.where(is_up & is_clear & is_short & in_range[:, None], seconds, np.inf)
    total_s = _totals(seconds, instrument, night.slot_s)
    slots = np.where(
        np.isfinite(total_s), np.ceil(np.where(np.isfinite(total_s), total_s, 0) / night.slot_s), 0
    )
    why = tuple(
        _why_not(magnitude[i], is_up[i], is_clear[i], is_short[i], slots[i], instrument)
        for i in range(len(stars))
    )
    return Costs(snr, view, seconds, total_s, slots.astype(np.int64), why)


def sky_mag(view: SkyView, instrument: Instrument, wave_aa: float) -> Array:
    """Return the sky's AB magnitude of an arcsec² where each star stands, shape ``(n_star, n_slot)``."""
    moon = moonlight_mag(
        view.moon_phase_deg,
        view.moon_altitude_deg,
        view.altitude_deg,
        view.moon_distance_deg,
        instrument.extinction_mag.at(_V_AA),
        instrument.sky_mag_arcsec2.at(_V_AA),
    )
    return np.asarray(instrument.sky_mag_arcsec2.at(wave_aa) - moon)


def candidate_flux(stars: Sequence[Candidate], question: Question) -> Array:
    """Return the stars' flux at the feature, above the atmosphere, erg/s/cm²/Å, shape ``(n_star,)``."""
    teff = np.array([star.parameters["teff"].value for star in stars], dtype=np.float64)
    teff = np.where(np.isfinite(teff) & (teff > 1000.0), teff, _USUAL_TEFF)
    return np.array(
        [
            float(star_flux(star.magnitude, BANDS[star.band], t, question.wave_aa))
            for star, t in zip(stars, teff, strict=True)
        ]
    )


def _exposures(
    stars: Sequence[Candidate], view: SkyView, instrument: Instrument, question: Question, snr: float
) -> Array:
    flux = candidate_flux(stars, question)[:, None]
    sky = sky_mag(view, instrument, question.wave_aa)
    return exposure_s(flux, view.airmass, sky, snr, instrument, question.wave_aa)


def _totals(seconds: Array, instrument: Instrument, slot_s: float) -> Array:
    """Return the time from pointing to the last readout for every beginning, as conditions change.

    In each slot the exposure gets on by the slot's length over the whole time that it would need in this
    slot.
    """
    n_star, n_slot = seconds.shape
    with np.errstate(invalid="ignore"):
        whole = seconds + instrument.readout_s * n_exposures(seconds, instrument)
    share = np.where(np.isfinite(seconds), slot_s / whole, 0.0)
    done = np.concatenate([np.zeros((n_star, 1)), np.cumsum(share, axis=1)], axis=1)
    edges = np.arange(n_slot + 1) * slot_s
    # How many slots from here on are within limits without a break.
    open_until = np.full((n_star, n_slot + 1), n_slot)
    for s in range(n_slot - 1, -1, -1):
        open_until[:, s] = np.where(np.isfinite(seconds[:, s]), open_until[:, s + 1], s)
    total = np.full(seconds.shape, np.inf)
    for i in range(n_star):
        begin = edges[:-1]
        exposed = begin + instrument.acquisition_s
        goal = np.interp(exposed, edges, done[i]) + 1.0
        # Beyond the last slot nothing gets on, so an exposure that would end there has no end.
        end = np.interp(goal, done[i] + 1e-12 * np.arange(n_slot + 1), edges, right=np.inf)
        fits = (
            (exposed < edges[-1]) & (end <= edges[open_until[i, :-1]] + 1e-6) & (goal <= done[i, -1] + 1e-12)
        )
        total[i, fits] = (end - begin)[fits]
    return total


def _why_not(
    magnitude: float, is_up: Array, is_clear: Array, is_short: Array, slots: Array, instrument: Instrument
) -> Why | None:
    """Return why a star cannot be begun: the first reason that an observer would find."""
    if slots.any():
        return None
    if magnitude < instrument.limits.bright_mag:
        return Why.TOO_BRIGHT
    if magnitude > instrument.limits.faint_mag:
        return Why.TOO_FAINT
    if not is_up.any():
        return Why.NEVER_UP
    if not (is_up & is_clear).any():
        return Why.NEAR_MOON
    if not (is_up & is_clear & is_short).any():
        return Why.TOO_FAINT
    return Why.NO_ROOM
