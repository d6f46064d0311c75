"""Who may do what on the broker: the rights of a worker, of a subscriber and of the watch on exposures.

Each gets only what it needs: a worker reads the survey's topics and writes its own, a subscriber reads
alerts. A broker with an authorizer refuses everything else.
"""

from __future__ import annotations

from collections.abc import Iterable

from confluent_kafka.admin import (  # type: ignore[attr-defined] # imported there, not re-exported by name
    AclBinding,
    AclOperation,
    AclPermissionType,
    ResourcePatternType,
    ResourceType,
)

from cempstream.streams.settings import TopicSettings

_ANY_HOST = "*"


def worker_rights(principal: str, topics: TopicSettings, group: str) -> list[AclBinding]:
    """Return what a worker needs: to read spectra in its group, and to write what it writes.

    How long the spectra are kept it may know too, so as to say when some will be deleted unread.
    """
    return [
        *_on_topics(principal, topics.spectra, AclOperation.READ),
        *_on_topics(principal, topics.spectra, AclOperation.DESCRIBE_CONFIGS),
        *_on_topics(
            principal, (*topics.written, topics.scores_shadow, topics.observations), AclOperation.WRITE
        ),
        _binding(principal, ResourceType.GROUP, group, AclOperation.READ),
    ]


def subscriber_rights(principal: str, topics: TopicSettings, group_prefix: str) -> list[AclBinding]:
    """Return what a subscriber needs: to read alerts and heartbeats, in groups whose names begin so."""
    read = (topics.alerts, topics.alerts_json, topics.alerts_archival, topics.heartbeat)
    return [
        *_on_topics(principal, read, AclOperation.READ),
        _binding(
            principal, ResourceType.GROUP, group_prefix, AclOperation.READ, ResourcePatternType.PREFIXED
        ),
    ]


def star_rights(principal: str, topics: TopicSettings, group: str) -> list[AclBinding]:
    """Return what following stars needs: to read observations, its changelog, and to write what it writes.

    How its topics are configured it may know, so as to refuse those that do not fit.
    """
    kept = (topics.observations, topics.stars)
    alerts = (topics.alerts, topics.alerts_json, topics.alerts_archival)
    return [
        *_on_topics(principal, kept, AclOperation.READ),
        *_on_topics(principal, kept, AclOperation.DESCRIBE_CONFIGS),
        *_on_topics(principal, (topics.stars, *alerts, topics.dlq, topics.heartbeat), AclOperation.WRITE),
        _binding(principal, ResourceType.GROUP, group, AclOperation.READ),
    ]


def exposure_rights(principal: str, topics: TopicSettings) -> list[AclBinding]:
    """Return what the watch on exposures needs: to read spectra and outcomes, to read and write its topic."""
    read = (*topics.spectra, topics.scores, topics.dlq, topics.exposures)
    return [
        *_on_topics(principal, read, AclOperation.READ),
        *_on_topics(principal, (topics.exposures,), AclOperation.WRITE),
    ]


def describe_right(right: AclBinding) -> str:
    """Describe a right in one line."""
    kind = ResourceType(right.restype).name.lower()
    operation = AclOperation(right.operation).name.lower()
    ending = "*" if right.resource_pattern_type is ResourcePatternType.PREFIXED else ""
    return f"{right.principal} may {operation} {kind} {right.name}{ending}"


def _on_topics(principal: str, names: Iterable[str], operation: AclOperation) -> list[AclBinding]:
    # Reading and writing imply DESCRIBE, and writing implies the idempotent producer's right (Kafka 3.0).
    return [_binding(principal, ResourceType.TOPIC, name, operation) for name in names]


def _binding(
    principal: str,
    kind: ResourceType,
    name: str,
    operation: AclOperation,
    pattern: ResourcePatternType = ResourcePatternType.LITERAL,
) -> AclBinding:
    return AclBinding(kind, name, pattern, principal, _ANY_HOST, operation, AclPermissionType.ALLOW)
