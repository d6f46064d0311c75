"""All processors of one model bundle, in order: spectra in, classifications out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace

import numpy as np

from cempstream.processors.batch import NormalisedBatch, SpectrumBatch
from cempstream.processors.classify import BandNamer, ClassScores, Scorer
from cempstream.processors.continuum import Normaliser
from cempstream.processors.decide import Policy
from cempstream.processors.denoise import Denoiser
from cempstream.processors.features import FeatureExtractor, Features
from cempstream.processors.fuse import Fuser, known_of
from cempstream.processors.graph import ModelError
from cempstream.processors.grid import Array
from cempstream.processors.outcome import (
    PARAMETERS,
    SUBCLASSES,
    Classification,
    Decision,
    Estimate,
    PhotometricEstimate,
    Provenance,
    Rebinned,
    TemplateMatch,
)
from cempstream.processors.photometric_stars import photometric_estimates, photometry_disagrees
from cempstream.processors.rebin import Rebinner, good_pixels
from cempstream.processors.regress import ParameterEstimates, Regressor
from cempstream.processors.spectrum import BadSpectrum, Flag, Reason, Spectrum
from cempstream.processors.velocity import Velocities, VelocityFinder, shift_to_rest

#: Called with a stage's name; the context lasts while the stage runs, so that it can be timed.
StageTimer = Callable[[str], AbstractContextManager[None]]


def untimed(stage: str) -> AbstractContextManager[None]:
    """Measure nothing."""
    return nullcontext()


#: A star's magnitude is taken from the first of these bands that the packet has.
_MAGNITUDE_BANDS = ("G", "phot_g", "r", "R", "V", "g", "i")
_CONTAMINATED = 0.1


@dataclass(frozen=True, slots=True)
class FlagLimits:
    """Limits at which a result is flagged.

    Attributes
    ----------
    ood_score
        Above it a spectrum is unlike the training data.
    low_snr, low_coverage
        Below them a result is flagged.
    trained_snr
        Smallest S/N per pixel of the training spectra: what is said below it is a guess. 0: not known.
    ranges
        Trained range per parameter name.
    """

    ood_score: float
    ranges: dict[str, tuple[float, float]]
    low_snr: float = 5.0
    trained_snr: float = 0.0
    low_coverage: float = 0.7


@dataclass(frozen=True, slots=True, eq=False)
class ProcessorChain:
    """The processors of one bundle.

    Attributes
    ----------
    name
        Bundle and version, as every result gives it.
    attribution_edges_aa
        Edges of the attribution's bins, shape ``(n_bins + 1,)``.
    measures_velocity
        False at low resolution, where the shift that is measured and removed is the wavelength zero point.
    fuse
        None where the bundle takes no photometry; it is then compared with the spectrum alone.
    """

    name: str
    rebin: Rebinner
    normalise: Normaliser
    find_velocity: VelocityFinder
    denoise: Denoiser
    extract: FeatureExtractor
    classify: Scorer
    regress: Regressor
    name_bands: BandNamer
    attribution_edges_aa: Array
    limits: FlagLimits
    provenance: tuple[Provenance, ...]
    measures_velocity: bool = True
    fuse: Fuser | None = None

    def process_spectra(
        self, spectra: Sequence[Spectrum], policy: Policy, timer: StageTimer = untimed
    ) -> list[Classification | BadSpectrum]:
        """Process spectra of one survey; entry i of the result belongs to spectrum i.

        Raises
        ------
        ModelError
            A graph fails or returns numbers that are not finite.
        """
        with timer("rebin"):
            batch = self.rebin(spectra)
            bad = [
                problem and (_without_pixels(spectrum) or problem)
                for spectrum, problem in zip(spectra, self.rebin.check_coverage(batch), strict=True)
            ]
        kept = [row for row, problem in enumerate(bad) if problem is None]
        results: list[Classification | BadSpectrum | None] = list(bad)
        if kept:
            if len(kept) < len(spectra):
                batch = SpectrumBatch(batch.grid, batch.flux[kept], batch.ivar[kept])
            rows = self._process([spectra[row] for row in kept], batch, policy, timer)
            for row, result in zip(kept, rows, strict=True):
                results[row] = result
        return [result for result in results if result is not None]

    def _process(
        self, spectra: Sequence[Spectrum], batch: SpectrumBatch, policy: Policy, timer: StageTimer
    ) -> Iterable[Classification]:
        with timer("normalise"):
            normalised = self.normalise(batch)
        with timer("velocity"):
            velocities = self._velocities(spectra, normalised)
            rest = shift_to_rest(normalised, velocities.rv_kms)
        with timer("denoise"):
            denoised = self.denoise(rest)
        with timer("features"):
            features = self.extract(rest, denoised)
        with timer("classify"):
            scores = self.classify(features, policy.prior)
        with timer("regress"):
            parameters = self.regress(features)
        with timer("photometry"):
            photometric = photometric_estimates(spectra)
            disagrees = _disagreements(photometric, parameters)
            if self.fuse is not None:
                photometric = [
                    replace(one, is_used=True) if one is not None and not is_apart else one
                    for one, is_apart in zip(photometric, disagrees.tolist(), strict=True)
                ]
                known = known_of([one if one is not None and one.is_used else None for one in photometric])
                scores, parameters = self.fuse(features, scores, parameters, known, policy.prior)
        _check_finite(scores, parameters)
        with timer("decide"):
            mixed, extended = policy.confusions(spectra)
            threshold, purity, is_trusted = policy.rules(features.snr)
            decisions = policy.decide(
                scores,
                parameters,
                [_magnitude(s) for s in spectra],
                confused=mixed | extended | ~is_trusted,
                threshold=threshold,
            )
            is_impure = (scores.p_cemp >= policy.threshold) & (~is_trusted | (scores.p_cemp < threshold))
            rebinned = self._rebinned(spectra, batch, velocities, scores, policy)
            marks = {
                Flag.CONTAMINATED: mixed | np.array([_is_contaminated(s) for s in spectra]),
                Flag.PHOTOMETRY_DISAGREES: disagrees,
                Flag.EXTENDED: extended,
                Flag.IMPURE_AT_SNR: is_impure,
            }
            flags = self._flags(spectra, velocities, features, scores, parameters, marks)
            return self._rows(
                spectra,
                velocities,
                features,
                scores,
                parameters,
                decisions,
                flags,
                photometric,
                rebinned,
                [value if np.isfinite(value) else None for value in purity.tolist()],
            )

    def _rebinned(
        self,
        spectra: Sequence[Spectrum],
        batch: SpectrumBatch,
        velocities: Velocities,
        scores: ClassScores,
        policy: Policy,
    ) -> list[Rebinned | None]:
        """Copy the rows that the policy wants as observations; a view would keep the whole batch."""
        rows: list[Rebinned | None] = [None] * len(spectra)
        if policy.observed_from is None:
            return rows
        for row in np.flatnonzero(scores.p_cemp >= policy.observed_from).tolist():
            rows[row] = Rebinned(
                grid=batch.grid,
                flux=batch.flux[row].copy(),
                ivar=batch.ivar[row].copy(),
                resolving_power=min(spectra[row].typical_resolving_power, self.rebin.resolving_power),
                shift_kms=float(velocities.rv_kms[row]),
                is_shift_certain=bool(velocities.is_certain[row]),
            )
        return rows

    def _velocities(self, spectra: Sequence[Spectrum], batch: NormalisedBatch) -> Velocities:
        """Measure velocities, except where the survey gives one or has already removed it."""
        found = self.find_velocity(batch)
        given = np.array(
            [0.0 if s.frame == "rest" else np.nan if s.rv_kms is None else s.rv_kms for s in spectra]
        )
        known = np.isfinite(given)
        if not known.any():
            return found
        return Velocities(
            rv_kms=np.where(known, given, found.rv_kms),
            error_kms=np.where(known, 0.0, found.error_kms),
            is_certain=known | found.is_certain,
        )

    def _rows(
        self,
        spectra: Sequence[Spectrum],
        velocities: Velocities,
        features: Features,
        scores: ClassScores,
        parameters: ParameterEstimates,
        decisions: Sequence[Decision],
        flags: Sequence[tuple[str, ...]],
        photometric: Sequence[PhotometricEstimate | None],
        rebinned: Sequence[Rebinned | None],
        purity: Sequence[float | None],
    ) -> list[Classification]:
        """Turn columns into one value per spectrum; ``tolist`` once is far cheaper than indexing arrays."""
        bands = self.name_bands(scores.attribution)
        columns = zip(
            spectra,
            flags,
            features.snr.tolist(),
            velocities.rv_kms.tolist(),
            velocities.error_kms.tolist(),
            zip(features.templates.labels.tolist(), features.templates.chi2.tolist(), strict=True),
            zip(features.lines.value.tolist(), features.lines.error.tolist(), strict=True),
            zip(parameters.value.tolist(), parameters.lo.tolist(), parameters.hi.tolist(), strict=True),
            parameters.cfe_corrected.tolist(),
            zip(scores.p_cemp.tolist(), scores.p_cemp_corrected.tolist(), strict=True),
            scores.subclass_p.tolist(),
            scores.ood.tolist(),
            scores.attribution,
            bands,
            decisions,
            photometric,
            rebinned,
            purity,
            strict=True,
        )
        names = features.lines.names
        return [
            Classification(
                spectrum=spectrum,
                bundle=self.name,
                snr=snr,
                flags=flag,
                rv_kms=rv if self.measures_velocity else spectrum.rv_kms,
                rv_error_kms=rv_error if self.measures_velocity else None,
                template=TemplateMatch(label[0], label[1], label[2], label[3], chi2),
                lines=dict(zip(names, zip(value, error, strict=True), strict=True)),
                parameters=dict(zip(PARAMETERS, map(Estimate, *estimate), strict=True)),
                cfe_corrected=cfe_corrected,
                p_cemp=p_cemp,
                p_cemp_corrected=p_corrected,
                subclass_p=dict(zip(SUBCLASSES, subclass, strict=True)),
                ood_score=ood,
                attribution=attribution,
                attribution_wave_aa=self.attribution_edges_aa,
                bands=named,
                decision=decision,
                provenance=self.provenance,
                photometric=by_colour,
                rebinned=kept,
                expected_purity=expected,
            )
            for (
                spectrum,
                flag,
                snr,
                rv,
                rv_error,
                (label, chi2),
                (value, error),
                estimate,
                cfe_corrected,
                (p_cemp, p_corrected),
                subclass,
                ood,
                attribution,
                named,
                decision,
                by_colour,
                kept,
                expected,
            ) in columns
        ]

    def _flags(
        self,
        spectra: Sequence[Spectrum],
        velocities: Velocities,
        features: Features,
        scores: ClassScores,
        parameters: ParameterEstimates,
        more: Mapping[Flag, Array],
    ) -> list[tuple[str, ...]]:
        out_of_range = np.zeros(len(spectra), dtype=bool)
        for name, (low, high) in self.limits.ranges.items():
            value = parameters.value[:, PARAMETERS.index(name)]
            out_of_range |= (value < low) | (value > high)
        marks = {
            Flag.RV_UNCERTAIN: ~velocities.is_certain,
            Flag.LOW_SNR: features.snr < self.limits.low_snr,
            Flag.PARTIAL_COVERAGE: features.coverage < self.limits.low_coverage,
            Flag.OUT_OF_DISTRIBUTION: scores.ood > self.limits.ood_score,
            Flag.OUT_OF_RANGE: out_of_range,
            **more,
            Flag.BELOW_TRAINED_SNR: ~(features.snr >= self.limits.trained_snr),
        }
        table = list(zip(*(mark.tolist() for mark in marks.values()), strict=True))
        names = [flag.value for flag in marks]
        return [
            (*spectrum.flags, *(name for name, is_set in zip(names, row, strict=True) if is_set))
            for spectrum, row in zip(spectra, table, strict=True)
        ]


def _without_pixels(spectrum: Spectrum) -> BadSpectrum | None:
    """Distinguish a spectrum without any good pixel from one outside the grid."""
    if good_pixels(spectrum).any():
        return None
    return BadSpectrum(
        Reason.NO_GOOD_PIXELS,
        f"none of {spectrum.n_pix} pixels has ivar > 0, no mask and a finite flux not far below zero",
    )


def _check_finite(scores: ClassScores, parameters: ParameterEstimates) -> None:
    checked = {
        "p_cemp": scores.p_cemp,
        "p_cemp_corrected": scores.p_cemp_corrected,
        "subclass_p": scores.subclass_p,
        "ood": scores.ood,
        "attribution": scores.attribution,
        "parameters": parameters.value[:, parameters.is_measured],
        "intervals": parameters.hi[:, parameters.is_measured],
    }
    for name, array in checked.items():
        if not np.isfinite(array).all():
            rows = np.flatnonzero(~np.isfinite(array.reshape(len(array), -1)).all(axis=1))
            raise ModelError(f"'{name}' is not finite in row(s) {rows[:5].tolist()} of {len(array)}")


def _magnitude(spectrum: Spectrum) -> float | None:
    for band in _MAGNITUDE_BANDS:
        if band in spectrum.photometry:
            return spectrum.photometry[band][0]
    return None


def _disagreements(
    photometric: Sequence[PhotometricEstimate | None], parameters: ParameterEstimates
) -> Array:
    """Return where photometry disagrees with the spectrum, shape ``(n_spec,)``."""
    columns = zip(parameters.value.tolist(), parameters.lo.tolist(), parameters.hi.tolist(), strict=True)
    return np.array(
        [
            one is not None
            and photometry_disagrees(one, dict(zip(PARAMETERS, map(Estimate, *estimate), strict=True)))
            for one, estimate in zip(photometric, columns, strict=True)
        ]
    )


def _is_contaminated(spectrum: Spectrum) -> bool:
    if spectrum.contamination is None:
        return False
    share = float(np.mean(spectrum.contamination, dtype=np.float64))
    return not share <= _CONTAMINATED  # written so that NaN counts as contaminated
