"""Simulated survey nights with truth: emulated stars, contaminants, and the effects of telescope and sky.

    profile, mix = load_profile("lamost"), load_mix("galaxy")
    for batch in simulate(profile, n=10_000, seed=1, mix=mix):
        spectra = batch.spectra()          # list[Spectrum], as a reader returns them
        batch.truth["is_cemp"]             # structured array, one row per spectrum

The steps can be called one by one, to simulate other telescopes:

    sources = draw_sources(256, mix, rng)                       # kinds, labels, velocities, reddening
    sources, weight = draw_stratified(256, mix, Strata(), rng)  # or mostly the hard ones, weighted
    flux = model_flux(sources, emulator, rng)                   # at rest on EMULATOR_GRID (vacuum)
    flux = scale_to_magnitude(redden(flux, sources.ebv), magnitude, band_aa)
    seen = observe(flux, sources.rv_kms, profile, profile.grating[0], rng)

``observe`` takes any ``SurveyProfile``, and a profile is a pydantic model: make one per batch with any
resolving power, pixels, throughput, sky and faults (``profile.model_copy(update=…)`` or a constructor).
Profiles and mixes are TOML files; see ``profiles/`` and ``mixes/``. Imports the emulator and processors.
"""

from cempstream.models.simulator.light import model_flux, redden, scale_to_magnitude
from cempstream.models.simulator.mix import Mix, load_mix
from cempstream.models.simulator.observe import Observed, observe
from cempstream.models.simulator.profile import SurveyProfile, load_profile
from cempstream.models.simulator.simulator import SimulatedBatch, simulate
from cempstream.models.simulator.sources import Sources, draw_sources
from cempstream.models.simulator.strata import Strata, draw_stratified

__all__ = [
    "Mix",
    "Observed",
    "SimulatedBatch",
    "Sources",
    "Strata",
    "SurveyProfile",
    "draw_sources",
    "draw_stratified",
    "load_mix",
    "load_profile",
    "model_flux",
    "observe",
    "redden",
    "scale_to_magnitude",
    "simulate",
]
