"""Settings of a worker, read once from the environment: ``CEMP_<GROUP>__<FIELD>``.

A misspelt group or field stops the start. Secrets never appear in a log: they are ``SecretStr``.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from cempstream.models.sessions import Provider
from cempstream.processors.decide import Policy

MIB = 1024 * 1024


class Group(BaseModel):
    """One concern; a field that it does not know is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class KafkaSettings(Group):
    """Where the broker is and how to reach it."""

    bootstrap: str = "127.0.0.1:9092"
    group: str = "cempstream"
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "SCRAM-SHA-512"
    username: str | None = None
    password: SecretStr | None = None
    password_file: Path | None = None
    ca_file: Path | None = None
    session_timeout_s: float = Field(default=10.0, gt=0)
    heartbeat_interval_s: float = Field(default=3.0, gt=0)
    metadata_max_age_s: float = Field(default=30.0, gt=0, description="how soon new partitions are seen")
    commit_interval_s: float = Field(default=0.25, gt=0, description="bounds the repeats after a crash")
    fetch_max_bytes: int = Field(default=4 * MIB, ge=MIB, description="per partition; a batch is 2–4 MiB")

    def secret(self) -> str | None:
        """Return the password, from the environment or a file."""
        if self.password is not None:
            return self.password.get_secret_value()
        return self.password_file.read_text().strip() if self.password_file else None

    def client_config(self) -> dict[str, str]:
        """Return the security part of a librdkafka configuration."""
        config: dict[str, str] = {}
        if self.security_protocol != "PLAINTEXT":
            config["security.protocol"] = self.security_protocol
        if self.ca_file:
            config["ssl.ca.location"] = str(self.ca_file)
        if self.security_protocol.startswith("SASL"):
            config |= {
                "sasl.mechanism": self.sasl_mechanism,
                "sasl.username": self.username or "",
                "sasl.password": self.secret() or "",
            }
        return config


class TopicSettings(Group):
    """Names of the topics; a new major schema version is a new topic."""

    spectra: tuple[str, ...] = ("lamost.spectra.v1",)
    scores: str = "cemp.scores.v1"
    alerts: str = "cemp.alerts.v1"
    alerts_json: str = "cemp.alerts.json.v1"
    alerts_archival: str = Field(
        default="cemp.alerts.archival.v1", description="of nights scored again; nobody is paged by these"
    )
    scores_shadow: str = Field(default="cemp.scores.shadow.v1", description="of the shadow bundle")
    dlq: str = "cemp.dlq.v1"
    heartbeat: str = "cemp.heartbeat.v1"
    exposures: str = "cemp.exposures.v1"

    @property
    def written(self) -> tuple[str, ...]:
        """What every worker writes to; one with a shadow bundle also writes the shadow's scores."""
        return (
            self.scores,
            self.alerts,
            self.alerts_json,
            self.alerts_archival,
            self.dlq,
            self.heartbeat,
        )


class BatchSettings(Group):
    """How packets are gathered."""

    size: int = Field(default=64, ge=1, le=1024)
    within_s: float = Field(default=0.025, ge=0, le=1.0, description="longest wait of a batch's first packet")
    concurrent: int = Field(default=2, ge=1, le=64, description="batches classified at once, a core each")
    max_in_flight: int = Field(default=4, ge=1, le=64, description="batches taken and not yet delivered")


class LimitSettings(Group):
    """What is refused before it costs anything."""

    max_packet_bytes: int = Field(default=4 * MIB, ge=1024)
    dead_letter_head_bytes: int = Field(default=64 * 1024, ge=0)


class ModelSettings(Group):
    """Which bundles are served, and where."""

    bundles: tuple[str, ...] = ("mid", "low")
    shadow: str | None = Field(default=None, description="bundle that scores beside them and alerts nobody")
    root: Path | None = Field(default=None, description="folder of bundles; None: those of the package")
    provider: Provider = Provider.CPU
    threads: int = Field(default=1, ge=0, description="ONNX Runtime's, of each batch under way")


class PolicySettings(Group):
    """Whom to alert; thresholds follow from the bundle's card unless set."""

    version: str = "1"
    prior: float = Field(default=3e-4, gt=0, lt=1, description="fraction of CEMP stars among the spectra")
    threshold: float | None = Field(default=None, gt=0, lt=1)
    survey_priors: Mapping[str, float] = {}

    def prior_of(self, survey: str) -> float:
        """Return the prior of a survey."""
        return self.survey_priors.get(survey, self.prior)

    def policy(self, survey: str, card_threshold: float) -> Policy:
        """Return the policy of a survey."""
        return Policy(self.version, self.prior_of(survey), self.threshold or card_threshold)


class MetricsSettings(Group):
    """Where Prometheus finds the numbers; loopback unless set."""

    host: str = "127.0.0.1"
    port: int = Field(default=9464, ge=0, le=65535, description="0: any free port")


class BreakerSettings(Group):
    """When too many dead letters stop consumption."""

    share: float = Field(default=0.2, gt=0, le=1)
    window: int = Field(default=1000, ge=10)
    probe_after_s: float = Field(default=30.0, gt=0)


class Settings(BaseSettings):
    """All settings of a worker."""

    model_config = SettingsConfigDict(
        env_prefix="CEMP_", env_nested_delimiter="__", extra="forbid", frozen=True, env_file=None
    )

    kafka: KafkaSettings = KafkaSettings()
    topics: TopicSettings = TopicSettings()
    batch: BatchSettings = BatchSettings()
    limits: LimitSettings = LimitSettings()
    models: ModelSettings = ModelSettings()
    policy: PolicySettings = PolicySettings()
    metrics: MetricsSettings = MetricsSettings()
    breaker: BreakerSettings = BreakerSettings()
