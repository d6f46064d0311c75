"""Settings of the models and of what becomes an alert; `cempstream.streams.settings` reads them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, field_validator

from cempstream.models.sessions import Provider
from cempstream.models.signature import Keys, read_keys
from cempstream.processors.decide import Policy
from cempstream.processors.purity import PurityTable
from cempstream.schemas.sky import MAX_RADIUS_ARCSEC, RADIUS_ARCSEC


class Group(BaseModel):
    """One concern; a field that it does not know is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ModelSettings(Group):
    """Which bundles are served, and where."""

    bundles: tuple[str, ...] = Field(
        default=("mid", "low"),
        examples=['["mid", "low"]'],
        description="a JSON list; of each name the promoted version, else the newest; `mid/1.4.0` pins one",
    )
    shadow: str | None = Field(
        default=None, description="a bundle that scores the same spectra to its own topic, without alerts"
    )
    root: Path | None = Field(default=None, description="folder of bundles; by default the package's")
    key: str | None = Field(
        default=None,
        repr=False,
        description="public key of minisign, `RW…`, or a file of such keys; bundles that none of them has "
        "signed are then refused",
    )
    provider: Provider = Field(
        default=Provider.CPU, description="or `cuda`, `tensorrt`; one that does not load stops the start"
    )
    threads: int = Field(default=1, ge=0, description="threads of ONNX Runtime for each batch")

    @field_validator("key")
    @classmethod
    def _is_a_key(cls, key: str | None) -> str | None:
        if key is not None:
            read_keys(key)
        return key

    @property
    def keys(self) -> Keys | None:
        """Who may have signed a bundle; None where a signature is not asked for."""
        return None if self.key is None else read_keys(self.key)


class PolicySettings(Group):
    """Which spectra become alerts; thresholds follow from the bundle's card unless set."""

    version: str = Field(default="1", description="name of this policy, written into every alert")
    prior: float = Field(
        default=3e-4,
        gt=0,
        lt=1,
        description="fraction of CEMP stars in a survey that does not select; keep it for one that selects "
        "metal-poor stars, which has more of the carbon-normal ones too",
    )
    threshold: float | None = Field(
        default=None, gt=0, lt=1, description="smallest `p_cemp` that is alerted; by default the card's"
    )
    survey_priors: Mapping[str, float] = Field(
        default={}, examples=['{"lamost": 0.0003}'], description="priors by survey, a JSON object"
    )

    max_contamination: float = Field(
        default=0.05,
        ge=0,
        le=1,
        description="largest share of a neighbour's light in a carbon band with which a star is alerted, "
        "where the survey states it",
    )
    least_stellarity: float = Field(
        default=0.5,
        ge=0,
        le=1,
        description="smallest likeness to a star, by the survey's imaging, with which a source is alerted, "
        "where the survey states it",
    )

    least_purity: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="smallest share of CEMP stars expected among the alerts of a bin of S/N, by the card: "
        "the threshold is raised where that helps; where it does not, there are no alerts; 0 asks for none",
    )

    def prior_of(self, survey: str) -> float:
        """Return the prior of a survey."""
        return self.survey_priors.get(survey, self.prior)

    def policy(
        self,
        survey: str,
        card_threshold: float,
        observed_from: float | None = None,
        purity: PurityTable | None = None,
    ) -> Policy:
        """Return the policy of a survey; a candidate is always an observation where there are any."""
        threshold = self.threshold or card_threshold
        if observed_from is not None:
            observed_from = min(observed_from, threshold)
        return Policy(
            self.version,
            self.prior_of(survey),
            threshold,
            observed_from,
            max_contamination=self.max_contamination,
            least_stellarity=self.least_stellarity,
            purity=purity,
            least_purity=self.least_purity,
        )


class KnownSettings(Group):
    """What alerts are compared with as they are made: known stars, watchlists and regions of the sky."""

    stars: tuple[Path, ...] = Field(
        default=(),
        examples=['["/data/jinabase.csv"]'],
        description="catalogues of known stars, whose matches stand in alerts; a JSON list of files: CSV, "
        "ECSV, VOTable, FITS, or JINAbase",
    )
    watchlists: tuple[Path, ...] = Field(
        default=(), examples=['["/data/mine.csv"]'], description="the same with stars that somebody watches"
    )
    regions: tuple[Path, ...] = Field(
        default=(),
        examples=['["/data/footprint.fits"]'],
        description="regions of the sky, a JSON list of MOC files",
    )
    radius_arcsec: float = Field(
        default=RADIUS_ARCSEC,
        gt=0,
        le=MAX_RADIUS_ARCSEC,
        description="how far a star may be from the alert's position, at its epoch",
    )


class StarSettings(Group):
    """How stars are followed over their observations, by workers and by `cempstream stars`."""

    enabled: bool = Field(
        default=False,
        description="whether workers leave stars with an `object_id` to `cempstream stars`, which alone then "
        "alerts of them",
    )
    observed_from: float | None = Field(
        default=None,
        gt=0,
        lt=1,
        description="smallest `p_cemp` of a spectrum that is added to its star; by default the card's",
    )
    group: str = Field(default="cempstream-stars", description="consumer group of `cempstream stars`")
    silence_days: float = Field(
        default=1000.0, gt=0, description="days without a new observation after which a star is forgotten"
    )
    survey_silence_days: Mapping[str, float] = Field(
        default={}, examples=['{"csst": 4000}'], description="the same by survey, a JSON object"
    )
    folder: Path | None = Field(
        default=None, description="folder for the stars that are held; by default they are in memory"
    )
    catalogue: Path | None = Field(
        default=None,
        description="the survey's input catalogue: its names are the ids of spectra without `object_id`, "
        "by position; CSV, ECSV, VOTable or FITS",
    )
    radius_arcsec: float = Field(
        default=RADIUS_ARCSEC,
        gt=0,
        le=MAX_RADIUS_ARCSEC,
        description="how far its star may be from the spectrum's position, at its epoch",
    )

    def silence_of(self, survey: str) -> float:
        """Return the days of silence after which a survey's star is forgotten."""
        return self.survey_silence_days.get(survey, self.silence_days)
