"""The pipeline: a list of packets in, a list of outcomes out, one per packet, in order.

It knows nothing of Kafka; the worker's agent and ``cempstream classify`` both call it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from cempstream.errors import FixableError
from cempstream.processors.chain import ProcessorChain, StageTimer, untimed
from cempstream.processors.decide import Policy
from cempstream.processors.graph import ModelError
from cempstream.processors.outcome import Classification, Outcome, Rejected
from cempstream.processors.spectrum import BadSpectrum, Flag, Reason, Spectrum

#: A row that makes our arithmetic fail is treated like one that breaks a model.
_ROW_ERRORS = (ModelError, ArithmeticError, ValueError, LookupError)

#: A packet that fails alone is tried this often before it becomes a dead letter.
_ATTEMPTS = 2

Decoder = Callable[[bytes], Spectrum]
ChainResult = Classification | BadSpectrum


class ModelBroken(FixableError, RuntimeError):
    """The models fail on good spectra: the worker must stop with nothing of the batch acknowledged."""


@dataclass(frozen=True, slots=True, eq=False)
class Route:
    """A bundle and the spectra it serves.

    Attributes
    ----------
    resolving_power
        Smallest and largest λ/FWHM that the bundle was made for; sharper spectra are smoothed to it.
    policy
        From a survey's name to its policy.
    reference
        A spectrum on which the models are known to work.
    """

    chain: ProcessorChain
    resolving_power: tuple[float, float]
    policy: Callable[[str], Policy]
    reference: Spectrum

    def serves(self, spectrum: Spectrum) -> bool:
        """Whether this bundle is made for such a spectrum."""
        low, high = self.resolving_power
        return low <= spectrum.typical_resolving_power <= high


@dataclass(frozen=True, slots=True, eq=False)
class Pipeline:
    """Decode, route and process packets.

    Attributes
    ----------
    decode
        From bytes to a spectrum; raises ``BadSpectrum``.
    routes
        Tried in order; the first that serves a spectrum gets it.
    timer
        Measures the stages by name.
    on_retry
        Called whenever spectra are scored again because their batch failed.
    """

    decode: Decoder
    routes: Sequence[Route]
    timer: StageTimer = field(default=untimed)
    on_retry: Callable[[], None] = field(default=lambda: None)

    def classify_packets(self, packets: Sequence[bytes]) -> list[Outcome]:
        """Return the outcome of each packet, in their order.

        Raises
        ------
        ModelBroken
            Spectra fail in the models, and so does the models' own reference spectrum.
        """
        outcomes: list[Outcome | None] = [None] * len(packets)
        groups: dict[tuple[int, str], list[tuple[int, Spectrum]]] = {}
        with self.timer("decode"):
            for i, packet in enumerate(packets):
                try:
                    spectrum = self.decode(packet)
                    i_route, spectrum = self._route(spectrum)
                    groups.setdefault((i_route, spectrum.survey), []).append((i, spectrum))
                except BadSpectrum as bad:
                    outcomes[i] = _rejected(packet, bad)
        for (i_route, survey), members in groups.items():
            results = self.score(self.routes[i_route], survey, [spectrum for _, spectrum in members])
            for (i, spectrum), result in zip(members, results, strict=True):
                if isinstance(result, BadSpectrum):
                    _identify(result, spectrum)
                    outcomes[i] = _rejected(packets[i], result)
                else:
                    outcomes[i] = result
        return [outcome for outcome in outcomes if outcome is not None]

    def _route(self, spectrum: Spectrum) -> tuple[int, Spectrum]:
        """Choose the route of a spectrum; one that is too sharp for all gets the sharpest, and a flag."""
        for i, route in enumerate(self.routes):
            if route.serves(spectrum):
                return i, spectrum
        blunter = [
            (route.resolving_power[1], i)
            for i, route in enumerate(self.routes)
            if route.resolving_power[1] < spectrum.typical_resolving_power
        ]
        if blunter:
            flags = dict.fromkeys((*spectrum.flags, Flag.RESOLUTION_DEGRADED.value))
            return max(blunter)[1], replace(spectrum, flags=tuple(flags))
        served = "; ".join(
            f"{route.chain.name} R = {route.resolving_power[0]:g}–{route.resolving_power[1]:g}"
            for route in self.routes
        )
        bad = BadSpectrum(
            Reason.UNSUPPORTED_RESOLUTION,
            f"no bundle serves R = {spectrum.typical_resolving_power:.0f}; there are {served}",
        )
        _identify(bad, spectrum)
        raise bad

    def score(self, route: Route, survey: str, spectra: Sequence[Spectrum]) -> list[ChainResult]:
        """Return the result of each spectrum of one survey by a route's bundle.

        Raises
        ------
        ModelBroken
            Spectra fail in the models, and so does the models' own reference spectrum.
        """
        policy = route.policy(survey)

        n_runs = 0

        def run(part: Sequence[Spectrum]) -> list[ChainResult]:
            nonlocal n_runs
            n_runs += 1
            if n_runs > 1:
                self.on_retry()
            return route.chain.process_spectra(part, policy, self.timer)

        results, n_failed = _bisect(run, spectra)
        if n_failed:
            self._check_models(route, policy)
        return results

    def _check_models(self, route: Route, policy: Policy) -> None:
        """Tell poison rows from a broken model, by a spectrum that is known to be good.

        The number of failed rows does not tell: a survey can send a whole batch of bad spectra.
        """
        try:
            route.chain.process_spectra([route.reference], policy)
        except _ROW_ERRORS as error:
            raise ModelBroken(f"{route.chain.name} fails on its reference spectrum: {error}") from error


def _identify(bad: BadSpectrum, spectrum: Spectrum) -> None:
    bad.identify(spectrum.spectrum_id, spectrum.survey, spectrum.exposure_id)


def _rejected(packet: bytes, bad: BadSpectrum) -> Rejected:
    return Rejected(packet, bad.reason, bad.detail, bad.spectrum_id, bad.survey, bad.exposure_id)


def _bisect(
    run: Callable[[Sequence[Spectrum]], list[ChainResult]], spectra: Sequence[Spectrum]
) -> tuple[list[ChainResult], int]:
    """Run a batch; if it fails, halve it until each failing row is alone.

    Returns
    -------
    results, n_failed
        One result per spectrum, and how many failed alone.
    """
    try:
        return run(spectra), 0
    except _ROW_ERRORS as error:
        if len(spectra) > 1:
            middle = len(spectra) // 2
            left, n_left = _bisect(run, spectra[:middle])
            right, n_right = _bisect(run, spectra[middle:])
            return left + right, n_left + n_right
        last = error
    for _ in range(_ATTEMPTS - 1):
        try:
            return run(spectra), 0
        except _ROW_ERRORS as error:
            last = error
    return [BadSpectrum(Reason.PROCESSING_ERROR, f"{type(last).__name__}: {last}")], 1
