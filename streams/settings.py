"""Settings of a worker, read once from the environment: ``CEMP_<GROUP>__<FIELD>``.

`read_settings` refuses a misspelt group or field and an impossible value in one line that names the variable.
Secrets never appear in a log: they are ``SecretStr``.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, Self, get_origin

from pydantic import (
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, SettingsConfigDict

from cempstream.errors import FixableError
from cempstream.streams.addresses import parse_brokers
from cempstream.streams.model_settings import Group as Group
from cempstream.streams.model_settings import KnownSettings as KnownSettings
from cempstream.streams.model_settings import ModelSettings as ModelSettings
from cempstream.streams.model_settings import PolicySettings as PolicySettings
from cempstream.streams.model_settings import StarSettings as StarSettings

MIB = 1024 * 1024
_PREFIX, _DELIMITER = "CEMP_", "__"


class SettingsError(FixableError, ValueError):
    """A setting is misspelt or impossible; the message names the variable and what would be right."""


class KafkaSettings(Group):
    """Where the broker is and how to reach it."""

    bootstrap: str = Field(default="127.0.0.1:9092", description="brokers, `host:port[,host:port…]`")
    group: str = Field(
        default="cempstream", description="consumer group; workers of one group share the stream"
    )
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        default="PLAINTEXT", description="or `SSL`, `SASL_PLAINTEXT`, `SASL_SSL`"
    )
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = Field(
        default="SCRAM-SHA-512", description="or `SCRAM-SHA-256`, `PLAIN`"
    )
    username: str | None = Field(default=None, description="for SASL")
    password: SecretStr | None = Field(default=None, repr=False, description="for SASL; better in a file")
    password_file: Path | None = Field(default=None, description="file that holds the password")
    ca_file: Path | None = Field(default=None, description="certificates of the broker's authority (PEM)")
    cert_file: Path | None = Field(default=None, description="our certificate, for a broker that asks (PEM)")
    key_file: Path | None = Field(default=None, description="its key (PEM); by default in the same file")
    key_password_file: Path | None = Field(default=None, description="file that holds the key's password")
    session_timeout_s: float = Field(default=10.0, gt=0, description="how soon a dead worker is noticed")
    heartbeat_interval_s: float = Field(
        default=3.0, gt=0, description="how often a worker reports to its group; a third of the timeout"
    )
    request_timeout_s: float = Field(
        default=75.0, gt=0, description="how long an answer may take; then the connection is made anew"
    )
    metadata_max_age_s: float = Field(default=30.0, gt=0, description="how soon new partitions are seen")
    commit_interval_s: float = Field(default=0.25, gt=0, description="limits the repeats after a crash")
    fetch_max_bytes: int = Field(default=4 * MIB, ge=MIB, description="per partition; a batch is 2–4 MiB")

    _is_an_address = field_validator("bootstrap")(parse_brokers)

    @model_validator(mode="after")
    def _reports_in_time(self) -> Self:
        if self.heartbeat_interval_s > self.session_timeout_s / 2:
            raise ValueError(
                f"heartbeat_interval_s is {self.heartbeat_interval_s:g} and session_timeout_s "
                f"{self.session_timeout_s:g}; a worker must report at least twice within its session"
            )
        if self.request_timeout_s < self.session_timeout_s:
            raise ValueError(
                f"request_timeout_s is {self.request_timeout_s:g} and session_timeout_s "
                f"{self.session_timeout_s:g}; joining the group may take a session, so it must be as long"
            )
        return self

    @model_validator(mode="after")
    def _certificate_is_of_use(self) -> Self:
        if self.cert_file is not None and not self.is_encrypted:
            raise ValueError(
                f"cert_file is {str(self.cert_file)!r} and security_protocol {self.security_protocol}; "
                "a certificate is for SSL or SASL_SSL"
            )
        for name in ("key_file", "key_password_file"):
            if getattr(self, name) is not None and self.cert_file is None:
                raise ValueError(f"{name} is {str(getattr(self, name))!r}; it needs cert_file beside it")
        return self

    @property
    def is_encrypted(self) -> bool:
        """Whether connections are made with TLS."""
        return self.security_protocol in ("SSL", "SASL_SSL")

    @property
    def credential_files(self) -> tuple[Path, ...]:
        """The files that say who we are and whom we trust."""
        files = (self.password_file, self.ca_file, self.cert_file, self.key_file, self.key_password_file)
        return tuple(file for file in files if file is not None)

    def key_password(self) -> str | None:
        """Return the password of the certificate's key."""
        return self.key_password_file.read_text().strip() if self.key_password_file else None

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
        if self.cert_file:
            config["ssl.certificate.location"] = str(self.cert_file)
            config["ssl.key.location"] = str(self.key_file or self.cert_file)
            if (key_password := self.key_password()) is not None:
                config["ssl.key.password"] = key_password
        if self.security_protocol.startswith("SASL"):
            config |= {
                "sasl.mechanism": self.sasl_mechanism,
                "sasl.username": self.username or "",
                "sasl.password": self.secret() or "",
            }
        return config


class TopicSettings(Group):
    """Names of the topics; a new major schema version is a new topic."""

    spectra: tuple[str, ...] = Field(
        default=("lamost.spectra.v1",),
        examples=['["lamost.spectra.v1"]'],
        description="input, one packet per spectrum; a JSON list of topics",
    )
    scores: str = Field(default="cemp.scores.v1", description="every outcome, without its spectrum")
    alerts: str = Field(default="cemp.alerts.v1", description="candidates, as Avro")
    alerts_json: str = Field(default="cemp.alerts.json.v1", description="candidates, as self-describing JSON")
    alerts_archival: str = Field(
        default="cemp.alerts.archival.v1",
        description="candidates of nights scored again, which alert no one live",
    )
    scores_shadow: str = Field(
        default="cemp.scores.shadow.v1", description="what the shadow bundle says of the same spectra"
    )
    dlq: str = Field(
        default="cemp.dlq.v1",
        description="dead letters: packets that could not be scored, with headers, origin and reason",
    )
    heartbeat: str = Field(
        default="cemp.heartbeat.v1",
        description="one packet a second, so that a quiet stream is known to live",
    )
    exposures: str = Field(
        default="cemp.exposures.v1",
        description="one packet per exposure: spectra in, scored, dead letters, candidates, latency",
    )
    observations: str = Field(
        default="cemp.observations.v1",
        description="spectra that are added to their stars, by star; written where `CEMP_STARS__ENABLED`",
    )
    stars: str = Field(
        default="cemp.stars.v1",
        description="every star that is followed, its newest state; compacted, as many partitions as "
        "observations",
    )

    @model_validator(mode="after")
    def _are_different(self) -> Self:
        names = [*self.spectra, *(str(value) for name, value in self if name != "spectra")]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"{', '.join(map(repr, twice))} stands for two topics; each needs its own name")
        return self

    @property
    def written(self) -> tuple[str, ...]:
        """What every worker writes to; the scores of a shadow, and observations, only some do."""
        return (
            self.scores,
            self.alerts,
            self.alerts_json,
            self.alerts_archival,
            self.dlq,
            self.heartbeat,
        )


class SchemaSettings(Group):
    """The schema registry of the survey's Kafka, where it has one."""

    registry: str | None = Field(
        default=None,
        description="its address, `https://host/path`; packets then carry its ids instead of ours",
    )
    username: str | None = Field(default=None, description="name, where it asks for one")
    password: SecretStr | None = Field(default=None, repr=False, description="password; better in a file")
    password_file: Path | None = Field(default=None, description="file that holds the password")
    ca_file: Path | None = Field(default=None, description="certificates of its authority (PEM)")

    _empty_is_none = field_validator("registry")(lambda text: text or None)

    def client_config(self) -> dict[str, str]:
        """Return the configuration of its client."""
        config = {"url": self.registry or ""}
        if self.username is not None:
            config["basic.auth.user.info"] = f"{self.username}:{self._secret()}"
        if self.ca_file is not None:
            config["ssl.ca.location"] = str(self.ca_file)
        return config

    def _secret(self) -> str:
        if self.password is not None:
            return self.password.get_secret_value()
        return self.password_file.read_text().strip() if self.password_file else ""


class BatchSettings(Group):
    """How packets are gathered."""

    size: int = Field(default=64, ge=1, le=1024, description="spectra in a batch")
    within_s: float = Field(default=0.025, ge=0, le=1.0, description="longest wait of a batch's first packet")
    concurrent: int = Field(default=2, ge=1, le=64, description="batches classified at once, a core each")
    max_in_flight: int = Field(default=4, ge=1, le=64, description="batches taken and not yet delivered")


class LimitSettings(Group):
    """What is refused before it costs anything."""

    max_packet_bytes: int = Field(
        default=4 * MIB, ge=1024, description="larger packets become dead letters, unread"
    )
    dead_letter_head_bytes: int = Field(
        default=64 * 1024, ge=0, description="how much of such a packet is kept"
    )

    @property
    def max_message_bytes(self) -> int:
        """The largest message that a worker has to publish.

        A dead letter holds its packet; an alert in JSON holds a spectrum of 64 KiB as text, whatever the
        limit of packets is.
        """
        return self.max_packet_bytes + MIB


class MetricsSettings(Group):
    """Where Prometheus finds the numbers; loopback unless set."""

    host: str = Field(default="127.0.0.1", description="address of `/metrics`, `/live` and `/ready`")
    port: int = Field(default=9464, ge=0, le=65535, description="their port; 0: any free one")
    allow_probe: bool = Field(
        default=False,
        description="whether `dlq probe` may let a batch through an open breaker",
    )


class BreakerSettings(Group):
    """When too many dead letters stop the consumption of a topic."""

    share: float = Field(default=0.2, gt=0, le=1, description="share of dead letters that stops a topic")
    window: int = Field(
        default=1000, ge=10, description="number of recent packets of a topic that the share is taken of"
    )
    probe_after_s: float = Field(default=30.0, gt=0, description="time after which one batch is tried again")


class Settings(BaseSettings):
    """All settings of a worker."""

    model_config = SettingsConfigDict(
        env_prefix=_PREFIX, env_nested_delimiter=_DELIMITER, extra="forbid", frozen=True, env_file=None
    )

    kafka: KafkaSettings = KafkaSettings()
    topics: TopicSettings = TopicSettings()
    schemas: SchemaSettings = SchemaSettings()
    batch: BatchSettings = BatchSettings()
    limits: LimitSettings = LimitSettings()
    models: ModelSettings = ModelSettings()
    policy: PolicySettings = PolicySettings()
    known: KnownSettings = KnownSettings()
    stars: StarSettings = StarSettings()
    metrics: MetricsSettings = MetricsSettings()
    breaker: BreakerSettings = BreakerSettings()


def read_settings(**groups: Mapping[str, Any]) -> Settings:
    """Return the settings of the environment with what the command line says; the command line wins.

    Parameters
    ----------
    groups
        Group name to its fields, as `Settings` has them; a field that is None is left to the environment.

    Raises
    ------
    SettingsError
        A variable ``CEMP_<GROUP>__<FIELD>`` is no setting, or a value is impossible.
    """
    faults = list(_faults(os.environ))
    if faults:
        raise SettingsError("; ".join(faults))
    given = {
        name: {field: value for field, value in fields.items() if value is not None}
        for name, fields in groups.items()
    }
    try:
        # pydantic-settings merges each group with what the environment says of it, then checks all of it.
        return Settings(**{name: fields for name, fields in given.items() if fields})  # type: ignore[arg-type]
    except ValidationError as error:
        raise SettingsError("; ".join(map(_say, error.errors()))) from None


def _fields() -> dict[str, FieldInfo]:
    """Return every setting by the name of its variable, and every group by its own."""
    fields = {}
    for name, group in Settings.model_fields.items():
        fields[f"{_PREFIX}{name}".upper()] = group
        assert isinstance(group.annotation, type)
        assert issubclass(group.annotation, Group)
        for member, field in group.annotation.model_fields.items():
            fields[f"{_PREFIX}{name}{_DELIMITER}{member}".upper()] = field
    return fields


def _faults(environment: Mapping[str, str]) -> Iterator[str]:
    """Say what pydantic-settings passes over, a misspelt group, and where it names no variable: bad JSON."""
    fields = _fields()
    joined = {name.replace(_DELIMITER, "_") for name in fields if _DELIMITER in name}
    for variable, text in environment.items():
        name = variable.upper()
        group, delimiter, _ = name.partition(_DELIMITER)
        # Kubernetes sets CEMP_METRICS_PORT=tcp://… where a service is called cemp-metrics.
        is_joined = name in joined and not text.startswith("tcp://")
        if is_joined or (name.startswith(_PREFIX) and delimiter and group not in fields):
            yield _no_setting(variable)
        wanted = _json_of(fields[name].annotation) if name in fields else None
        if wanted is not None:
            kind, word = wanted
            try:
                is_right = isinstance(json.loads(text), kind)
            except ValueError:
                is_right = False
            if not is_right:
                example = (fields[name].examples or [f"field by field, {name}{_DELIMITER}…"])[0]
                yield f"{variable}: {text!r} is not a JSON {word}; write {example}"


def _json_of(annotation: Any) -> tuple[type, str] | None:
    """Return what JSON a setting is written in and its name; None where it is written as it is."""
    if get_origin(annotation) is tuple:
        return list, "list"
    is_group = isinstance(annotation, type) and issubclass(annotation, Group)
    return (dict, "object") if is_group or get_origin(annotation) is Mapping else None


def _no_setting(variable: str) -> str:
    near = get_close_matches(variable.upper(), _fields(), n=1)
    groups = ", ".join(Settings.model_fields).upper()
    right = (
        f"did you mean {near[0]}?"
        if near
        else f"one is {_PREFIX}<GROUP>{_DELIMITER}<FIELD>, GROUP of {groups}"
    )
    return f"{variable} is not a setting; {right}"


def _say(problem: Mapping[str, Any]) -> str:
    """Say in a line what pydantic found wrong."""
    group, field = (*map(str, problem["loc"]), "")[:2]
    variable = f"{_PREFIX}{group}{_DELIMITER}{field}".upper()
    if problem["type"] == "extra_forbidden":
        return _no_setting(variable)
    known = _fields().get(variable)
    value = "its value" if known is None or not known.repr else repr(problem["input"])
    message = str(problem["msg"]).removeprefix("Value error, ")
    return f"{variable}: {message.replace('Input', value, 1)}"
