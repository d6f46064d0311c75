"""Score an alert's own spectrum again with the bundle that it names, and compare the numbers."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from cempstream.models.bundle import BundleError
from cempstream.models.pinned import open_bundle
from cempstream.models.sessions import Provider
from cempstream.models.signature import Keys
from cempstream.processors.chain import ProcessorChain
from cempstream.processors.decide import Policy
from cempstream.processors.graph import ModelError
from cempstream.processors.outcome import PARAMETERS, SUBCLASSES, Classification
from cempstream.processors.spectrum import BadSpectrum
from cempstream.schemas.alert import Alert, NoSpectrumError
from cempstream.streams.scoring.assemble import build_chain

#: Relative to a number's size where that is above 1. Another batch size uses other matrix kernels: over
#: batches of 1 to 64 the ``p_cemp`` of 600 simulated spectra of LAMOST differed by up to 9e-6, and stars'
#: sums by 1.003e-5. Another provider has other arithmetic.
SAME_PROVIDER, OTHER_PROVIDER = 3e-5, 1e-3


class Verdict(StrEnum):
    """The result of a verification."""

    CONFIRMED = "confirmed"
    DIFFERS = "differs"
    IMPOSSIBLE = "impossible"


@dataclass(frozen=True, slots=True)
class Difference:
    """The largest difference among some numbers of an alert.

    Attributes
    ----------
    size
        |again − alert|, relative where the number is above 1; infinite where only one of them is a number.
    name, said, again
        Which number it is, its value in the alert and its value now.
    """

    size: float
    name: str
    said: float
    again: float


@dataclass(frozen=True, slots=True)
class Verification:
    """An alert and what scoring its spectrum again gave.

    Attributes
    ----------
    reason
        Why it was impossible; empty otherwise.
    differences
        The largest of the score's, the parameters' and the attribution's.
    """

    alert_id: str
    record_id: str
    spectrum_id: str
    bundle: str
    verdict: Verdict
    reason: str = ""
    provider: str = ""
    tolerance: float = math.nan
    differences: Mapping[str, Difference] | None = None


class Verifier:
    """Verify alerts; each bundle is loaded once.

    Parameters
    ----------
    provider
        Where the networks run.
    root
        Folder of bundles; None means the package's.
    keys
        Who may have signed them; None where a signature is not asked for.
    """

    def __init__(self, provider: Provider, root: Path | None = None, keys: Keys | None = None) -> None:
        self._provider = provider
        self._root = root
        self._keys = keys
        self._chains: dict[str, ProcessorChain] = {}

    def verify(self, alert: Alert) -> Verification:
        """Verify one alert.

        Raises
        ------
        ProviderUnavailable
            The networks do not run on the provider asked for.
        """
        try:
            chain = self._chain(alert)
            spectrum = alert.to_spectrum()
        except (BundleError, NoSpectrumError) as error:
            return self._told(alert, Verdict.IMPOSSIBLE, reason=str(error))
        decision = alert.decision
        policy = Policy(decision.policy_version, decision.prior, decision.threshold)
        try:
            (again,) = chain.process_spectra([spectrum], policy)
        except ModelError as error:
            return self._told(alert, Verdict.DIFFERS, reason=f"the models fail on its spectrum: {error}")
        if isinstance(again, BadSpectrum):
            return self._told(alert, Verdict.DIFFERS, reason=f"its spectrum is refused: {again}")
        is_same = all(model.provider == self._provider.value for model in alert.models)
        tolerance = SAME_PROVIDER if is_same else OTHER_PROVIDER
        found = {
            group: max((_difference(*pair) for pair in pairs), key=lambda difference: difference.size)
            for group, pairs in _numbers(alert, again).items()
        }
        is_confirmed = all(difference.size <= tolerance for difference in found.values())
        return Verification(
            alert.alert_id,
            alert.record_id,
            alert.spectrum_id,
            alert.bundle,
            Verdict.CONFIRMED if is_confirmed else Verdict.DIFFERS,
            provider=self._provider.value,
            tolerance=tolerance,
            differences=found,
        )

    def _chain(self, alert: Alert) -> ProcessorChain:
        """Return the chain of the alert's bundle, after checking that its graphs and manifest are the same.

        An alert from before there were manifests names the graphs alone.
        """
        if alert.bundle not in self._chains:
            bundle = open_bundle(alert.bundle, self._root, self._keys)
            self._chains[alert.bundle] = build_chain(bundle, self._provider, threads=1)
        chain = self._chains[alert.bundle]
        here = {model.name: model for model in chain.provenance}
        for model in alert.models:
            if model.name not in here:
                raise BundleError(f"{alert.bundle} has no '{model.name}', which the alert names")
            if here[model.name].sha256 != model.sha256:
                raise BundleError(
                    f"{model.name} of {alert.bundle} has sha256 {here[model.name].sha256[:12]}…; "
                    f"the alert was made with {model.sha256[:12]}…"
                )
        return chain

    def _told(self, alert: Alert, verdict: Verdict, reason: str) -> Verification:
        return Verification(
            alert.alert_id,
            alert.record_id,
            alert.spectrum_id,
            alert.bundle,
            verdict,
            reason,
            self._provider.value,
        )


def _numbers(alert: Alert, again: Classification) -> Mapping[str, Iterator[tuple[str, float, float]]]:
    return {
        "score": _score(alert, again),
        "parameters": _parameters(alert, again),
        "attribution": _attribution(alert, again),
    }


def _score(alert: Alert, again: Classification) -> Iterator[tuple[str, float, float]]:
    yield "p_cemp", alert.p_cemp, again.p_cemp
    yield "p_cemp_corrected", alert.p_cemp_corrected, again.p_cemp_corrected
    yield "ood_score", alert.ood_score, again.ood_score
    for name in SUBCLASSES:
        yield name, getattr(alert.subclass_p, name), again.subclass_p[name]


def _parameters(alert: Alert, again: Classification) -> Iterator[tuple[str, float, float]]:
    for name in PARAMETERS:
        said, found = getattr(alert.parameters, name), again.parameters[name]
        yield name, said.value, found.value
        yield f"{name} (low)", said.lo, found.lo
        yield f"{name} (high)", said.hi, found.hi
    yield "cfe_corrected", alert.cfe_corrected, again.cfe_corrected


def _attribution(alert: Alert, again: Classification) -> Iterator[tuple[str, float, float]]:
    said, found = alert.attribution.weight, again.attribution.tolist()
    yield "number of bins", float(len(said)), float(len(found))
    for i_bin, (one, other) in enumerate(zip(said, found, strict=False)):
        yield f"weight of bin {i_bin}", one, other


def _difference(name: str, said: float, again: float) -> Difference:
    if math.isnan(said) and math.isnan(again):
        return Difference(0.0, name, said, again)
    size = abs(again - said) / max(1.0, abs(said))
    return Difference(math.inf if math.isnan(size) else size, name, said, again)
