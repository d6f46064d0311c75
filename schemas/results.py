"""The parts of a result that scores and alerts share, and how they are written."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from functools import cache, lru_cache
from importlib.metadata import PackageNotFoundError, distribution
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from cempstream.processors.outcome import PARAMETERS, SUBCLASSES, Classification, Estimate, Provenance
from cempstream.processors.spectrum import Reason
from cempstream.schemas.packets import PacketError
from cempstream.schemas.stamp import Stamp, record_id


@dataclass(frozen=True, slots=True)
class Parameters:
    """Stellar parameters and abundances, each with its 68 % interval; 1D LTE, Asplund et al. 2009."""

    teff: Estimate
    logg: Estimate
    feh: Estimate
    cfe: Estimate
    ac: Estimate
    bafe: Estimate


@dataclass(frozen=True, slots=True)
class SubclassProbabilities:
    """Probability of each subclass, given that the star is a CEMP star; they sum to 1."""

    cemp_no: float
    cemp_s: float
    cemp_r: float
    undetermined: float


@dataclass(frozen=True, slots=True)
class CodeProvenance:
    """Which code ran; the commit is empty where the package was not installed from one."""

    version: str
    commit: str = ""


class Packet(BaseModel):
    """A packet for its reader: typed, immutable; fields of later versions are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Self:
        """Return what a packet's record says.

        Raises
        ------
        PacketError
            A field is missing or of another type.
        """
        try:
            return cls.model_validate(record)
        except ValidationError as error:
            raise PacketError(Reason.BAD_FIELD, str(error)) from error


@cache
def code_provenance() -> CodeProvenance:
    """Return the version of this package and, where pip installed it from a commit, the commit (PEP 610)."""
    try:
        package = distribution("cempstream")
    except PackageNotFoundError:  # run from a source tree
        return CodeProvenance("unknown")
    origin = json.loads(package.read_text("direct_url.json") or "{}")
    return CodeProvenance(package.version, origin.get("vcs_info", {}).get("commit_id", ""))


def result_record(result: Classification, stamp: Stamp) -> dict[str, Any]:
    """Return the fields that the record of a score and that of an alert share."""
    spectrum = result.spectrum
    template = result.template
    parameters = result.parameters
    decision = result.decision
    subclass_p = result.subclass_p
    return {
        "record_id": record_id(spectrum.survey, spectrum.spectrum_id, spectrum.reduction_version),
        "spectrum_id": spectrum.spectrum_id,
        "survey": spectrum.survey,
        "object_id": spectrum.object_id,
        "exposure_id": spectrum.exposure_id,
        "reduction_version": spectrum.reduction_version,
        "ra": spectrum.ra,
        "dec": spectrum.dec,
        "observed_at": spectrum.observed_at,
        "reduced_at": spectrum.reduced_at,
        "ingested_at": stamp.ingested_at,
        "inferred_at": stamp.inferred_at,
        "published_at": stamp.published_at,
        "snr": result.snr,
        "flags": result.flags,
        "rv_kms": result.rv_kms,
        "rv_error_kms": result.rv_error_kms,
        "template": {
            "teff": template.teff,
            "logg": template.logg,
            "feh": template.feh,
            "cfe": template.cfe,
            "chi2": template.chi2,
        },
        "p_cemp": result.p_cemp,
        "p_cemp_corrected": result.p_cemp_corrected,
        "subclass": result.subclass,
        "subclass_p": {name: subclass_p[name] for name in SUBCLASSES},
        "parameters": {name: _estimate(parameters[name]) for name in PARAMETERS},
        "cfe_corrected": result.cfe_corrected,
        "ood_score": result.ood_score,
        "decision": {
            "is_candidate": decision.is_candidate,
            "threshold": decision.threshold,
            "prior": decision.prior,
            "policy_version": decision.policy_version,
            "priority": decision.priority,
        },
        "bundle": result.bundle,
    }


def _estimate(estimate: Estimate) -> dict[str, float]:
    return {"value": estimate.value, "lo": estimate.lo, "hi": estimate.hi}


@lru_cache(maxsize=64)
def short_provenance(models: tuple[Provenance, ...]) -> tuple[str, ...]:
    """Return one text per model; cached, as the same few tuples come with every score."""
    return tuple(
        f"{model.name}/{model.version}@{model.sha256[:12]} ({model.provider}, {model.precision})"
        for model in models
    )


def plain(value: Any) -> Any:
    """Return a packet's parts as dicts, lists and numbers."""
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, dict):
        return {key: plain(part) for key, part in value.items()}
    if isinstance(value, tuple):
        return [plain(part) for part in value]
    return value
