"""From settings to a pipeline: load the bundles, check and warm them, and give each its route."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import partial

import numpy as np

from cempstream.errors import FixableError
from cempstream.models.bundle import Bundle
from cempstream.models.carbon_evolution import carbon_correction
from cempstream.models.card import FUSE, Card
from cempstream.models.pinned import open_bundle
from cempstream.models.sessions import OrtGraph, Provider
from cempstream.processors.bands import CEMP_BANDS, resolved_bands
from cempstream.processors.chain import FlagLimits, ProcessorChain, StageTimer, untimed
from cempstream.processors.classify import BandNamer, Scorer
from cempstream.processors.continuum import Normaliser
from cempstream.processors.decide import Policy
from cempstream.processors.denoise import Denoiser
from cempstream.processors.features import FeatureExtractor
from cempstream.processors.fuse import Fuser
from cempstream.processors.grid import Array
from cempstream.processors.lines import LineMeter
from cempstream.processors.outcome import Provenance
from cempstream.processors.rebin import Rebinner
from cempstream.processors.regress import Regressor
from cempstream.processors.spectrum import Spectrum
from cempstream.processors.templates import TemplateMatcher
from cempstream.processors.velocity import VelocityFinder
from cempstream.schemas.codec import decode_spectrum
from cempstream.streams.scoring.pipeline import Pipeline, Route
from cempstream.streams.settings import ModelSettings, PolicySettings, Settings, StarSettings

#: S/N per pixel of a bundle's reference spectrum.
_REFERENCE_SNR = 50.0
#: Good fraction of a bundle's grid below which a spectrum is refused.
_LEAST_COVERAGE = 0.052
#: At lower resolution a shift comes from the wavelength zero point rather than from the star.
_LEAST_VELOCITY_POWER = 500.0


class NoLooseThreshold(FixableError, ValueError):
    """Stars are to be followed, and nothing says from which p_cemp on; the message says what to set."""


class NoPurity(FixableError, ValueError):
    """A least purity is asked for, and the card measured none; the message says what to do."""


def load_pipeline(settings: Settings, timer: StageTimer = untimed) -> Pipeline:
    """Load every bundle of the settings and warm it.

    Raises
    ------
    BundleError
        A bundle is missing, is not what its manifest and its card say, or is not signed by a trusted key.
    ProviderUnavailable
        The networks do not run on the provider asked for.
    NoPurity
        A least purity is asked for, and a card measured none.
    NoLooseThreshold
        Stars are to be followed, and neither the settings nor a card says from which ``p_cemp`` on.
    """
    routes = load_routes(settings.models, settings.policy, settings.stars)
    for route in routes:
        for n_spec in (1, settings.batch.size):
            route.chain.process_spectra([route.reference] * n_spec, route.policy(route.reference.survey))
    decode = partial(decode_spectrum, max_packet_bytes=settings.limits.max_packet_bytes)
    return Pipeline(decode, routes, timer)


def load_routes(models: ModelSettings, policy: PolicySettings, stars: StarSettings) -> list[Route]:
    """Load the bundles; of a name without a version, the promoted or else the newest."""
    bundles = [open_bundle(name, models.root, models.keys) for name in models.bundles]
    return [
        Route(
            chain=build_chain(bundle, models.provider, threads=models.threads),
            resolving_power=bundle.card.served,
            policy=partial(_policy, policy, stars, bundle.card),
            reference=reference_spectrum(bundle),
        )
        for bundle in bundles
    ]


def build_chain(bundle: Bundle, provider: Provider, *, threads: int = 0) -> ProcessorChain:
    """Put a bundle's graphs and tables into the processors."""
    card, grid = bundle.card, bundle.card.grid.grid
    graphs = {name: OrtGraph(name, model, provider, threads=threads) for name, model in bundle.graphs.items()}
    bank = bundle.templates
    # A template without all its labels (a hot star has no [C/Fe]) serves velocities, not the match.
    labelled = np.isfinite(bank.labels[:, :3]).all(axis=1)
    edges = np.array(card.attribution_edges_aa)
    return ProcessorChain(
        name=bundle.name,
        rebin=Rebinner(grid, card.resolving_power, min_pixels=round(_LEAST_COVERAGE * grid.n_pix)),
        normalise=Normaliser(card.sigma_pix),
        find_velocity=VelocityFinder(grid, bank.norm[bank.velocity]),
        denoise=Denoiser(graphs["denoise"]),
        extract=FeatureExtractor(
            graphs["features"],
            LineMeter(grid, resolved_bands(CEMP_BANDS, card.resolving_power)),
            TemplateMatcher(bank.norm[labelled], bank.labels[labelled]),
        ),
        classify=Scorer(graphs["classify"], card.cemp.calibration, card.cemp_corrected.calibration),
        regress=Regressor(graphs["regress"], card.intervals.table, corrected_cfe, card.unmeasured),
        name_bands=BandNamer(edges),
        attribution_edges_aa=edges,
        limits=FlagLimits(
            ood_score=card.ood.threshold,
            ranges=card.ranges,
            low_coverage=card.low_coverage,
            trained_snr=card.trained_snr,
        ),
        measures_velocity=card.resolving_power > _LEAST_VELOCITY_POWER,
        fuse=_fuser(card, graphs),
        provenance=(
            # the session's actual provider, which may not be the one asked for
            *(
                Provenance(f"{card.name}.{name}", card.version, graph.sha256, graphs[name].provider.value)
                for name, graph in card.graphs.items()
            ),
            # The whole bundle: its card and templates make numbers too.
            Provenance(
                f"{card.name}.manifest", card.version, bundle.sha256, graphs["regress"].provider.value
            ),
        ),
    )


def _fuser(card: Card, graphs: Mapping[str, OrtGraph]) -> Fuser | None:
    if card.fused is None:
        return None
    cemp, corrected = card.fused.cemp.calibration, card.fused.cemp_corrected.calibration
    return Fuser(
        graphs[FUSE],
        Scorer(graphs["classify"], cemp, corrected),
        Regressor(graphs["regress"], card.fused.intervals.table, corrected_cfe, card.unmeasured),
    )


def reference_spectrum(bundle: Bundle) -> Spectrum:
    """Return a template of the bundle as a spectrum: one that its models must be able to score."""
    grid = bundle.card.grid.grid
    flux = bundle.templates.norm[0].astype(np.float32)
    return Spectrum(
        spectrum_id="reference",
        survey="reference",
        grid=grid,
        flux=flux,
        ivar=np.full(grid.n_pix, _REFERENCE_SNR**2, dtype=np.float32),
        resolving_power=bundle.card.resolving_power,
        reduced_at=datetime(2000, 1, 1, tzinfo=UTC),
        frame="rest",
    )


def corrected_cfe(logg: Array, feh: Array, cfe: Array) -> Array:
    """Return the [C/Fe] that the star was born with."""
    return cfe + carbon_correction(logg, feh, cfe)


def _policy(policy: PolicySettings, stars: StarSettings, card: Card, survey: str) -> Policy:
    prior = policy.prior_of(survey)
    observed_from = None
    if stars.enabled:
        observed_from = stars.observed_from or card.observed_from(prior)
        if observed_from is None:
            raise NoLooseThreshold(
                f"CEMP_STARS__ENABLED is true and the card of {card.name}/{card.version} does not say from "
                "which p_cemp on a spectrum is added to its star; set CEMP_STARS__OBSERVED_FROM, "
                "for example to 0.001"
            )
    if policy.least_purity > 0 and card.purity is None:
        raise NoPurity(
            f"CEMP_POLICY__LEAST_PURITY is {policy.least_purity} and the card of {card.name}/{card.version} "
            "gives no purity by S/N; serve a newer version, or set it to 0"
        )
    return policy.policy(
        survey, card.threshold(prior), observed_from, None if card.purity is None else card.purity.table
    )
