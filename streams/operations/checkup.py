"""What can be wrong with a stream before it starts: each check says what it found and what to do."""

from __future__ import annotations

import math
import platform
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from importlib.metadata import version

import onnxruntime
from confluent_kafka import KafkaException

from cempstream.models.bundle import BundleError
from cempstream.models.pinned import open_bundle
from cempstream.models.sessions import ProviderUnavailable
from cempstream.processors.graph import ModelError
from cempstream.schemas.packets import use_own_ids
from cempstream.streams.kafka.broker_clock import clock_offset
from cempstream.streams.kafka.changelog import UnfitTopics, require_changelog
from cempstream.streams.kafka.gaps import Extent, GapReason, ask_committed, ask_extents, find_gaps
from cempstream.streams.kafka.places import NoAnswer, NoBroker, Place, name_places
from cempstream.streams.kafka.retention import RETENTION, RETENTION_BYTES, ask_when_sent, seconds_kept
from cempstream.streams.kafka.schema_registry import RegistryError, kinds_of_topics, use_registry
from cempstream.streams.kafka.topics import (
    IN_SYNC,
    SIZE,
    TIMESTAMPS,
    TopicAdmin,
    TopicPlan,
    TopicState,
)
from cempstream.streams.kafka.trail import find_cuts
from cempstream.streams.scoring.assemble import NoLooseThreshold, load_routes
from cempstream.streams.settings import (
    KafkaSettings,
    ModelSettings,
    PolicySettings,
    Settings,
    StarSettings,
    TopicSettings,
)

#: An alert's spectrum is at most 64 KiB, in JSON half as much again; lines and attribution are added to it.
_LEAST_RESULT_BYTES = 512 * 1024
_CREATE = "cempstream topics create"
_ALTER = "cempstream topics create --alter"
_SAFE_REPLICATION = 3

#: Clock offsets above which latencies are doubtful, and above which they are wrong.
_CLOCK_WARN_S = 0.1
_CLOCK_FAIL_S = 2.0

#: Of its topic's retention, how long an unread message may have waited before that is said, and is wrong.
_WAITED_SHARE = 0.5
_LATE_SHARE = 0.8

_LOOK_AT_BROKER = "see whether all brokers run: a partition may have no leader"

_REMEDIES = {
    GapReason.RETENTION: "have them sent again; the worker goes on at the first that is left",
    GapReason.LOG_ENDS_BELOW: "the worker reads again from where its marks tell, else from the start; "
    "set the group's offset where you know a better one",
    GapReason.LOG_REPLACED: "the worker reads again from there; have sent again what the broker has lost",
}


class Status(StrEnum):
    """How serious a finding is."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The result of one check.

    Attributes
    ----------
    subject
        broker, topics, group, schemas, models, provider, clock or package.
    remedy
        What to do; empty if all is well.
    """

    status: Status
    subject: str
    said: str
    remedy: str = ""


def check_all(settings: Settings) -> Iterator[CheckResult]:
    """Check everything that a worker with these settings needs."""
    yield CheckResult(
        Status.OK, "package", f"cempstream {version('cempstream')} on Python {platform.python_version()}"
    )
    yield from check_models(settings.models)
    yield from check_provider(settings.models, settings.policy, settings.stars)
    try:
        admin = TopicAdmin(settings.kafka)
        metadata = admin.metadata()
    except NoBroker as error:
        yield CheckResult(
            Status.FAIL,
            "broker",
            str(error),
            "start it, or give its address: CEMP_KAFKA__BOOTSTRAP or --bootstrap",
        )
        return
    n_brokers = len(metadata.brokers)
    yield CheckResult(
        Status.OK, "broker", f"{n_brokers} at {settings.kafka.bootstrap}, cluster {metadata.cluster_id}"
    )
    yield from check_topics(settings.topics, admin.states(_names(settings.topics)), n_brokers)
    if settings.stars.enabled:
        yield check_changelog(settings)
    yield from check_places(settings, admin)
    yield check_clock(settings.kafka, admin)
    if settings.schemas.registry is not None:
        yield check_registry(settings)


def check_registry(settings: Settings) -> CheckResult:
    """Check that the registry knows every schema that is written."""
    kinds = kinds_of_topics(settings.topics)
    said = f"{settings.schemas.registry} knows the schemas of {len(kinds)} topics"
    try:
        use_registry(settings)
    except RegistryError as error:
        return CheckResult(
            Status.FAIL, "schemas", str(error), "look at CEMP_SCHEMAS__REGISTRY; `cempstream schema register`"
        )
    finally:
        use_own_ids()
    return CheckResult(Status.OK, "schemas", said)


def check_models(models: ModelSettings) -> Iterator[CheckResult]:
    """Check every bundle's files against its manifest and card, the shadow's included."""
    for name in (*models.bundles, *([models.shadow] if models.shadow is not None else [])):
        try:
            bundle = open_bundle(name, models.root, models.keys)
        except BundleError as error:
            yield CheckResult(
                Status.FAIL,
                "models",
                str(error),
                "reinstall cempstream, or set CEMP_MODELS__BUNDLES, __ROOT and __KEY",
            )
            continue
        low, high = bundle.card.served
        signed = "not asked for a signature" if models.keys is None else "signed"
        yield CheckResult(
            Status.OK,
            "models",
            f"{bundle.name}: its files are those of its manifest {bundle.sha256[:12]}, {signed}; "
            f"serves R = {low:g}–{high:g}",
        )


def check_provider(
    models: ModelSettings, policy: PolicySettings, stars: StarSettings
) -> Iterator[CheckResult]:
    """Open every graph on the chosen provider and score its bundle's reference spectrum."""
    for name in models.bundles:
        try:
            (route,) = load_routes(models.model_copy(update={"bundles": (name,)}), policy, stars)
            route.chain.process_spectra([route.reference], route.policy(route.reference.survey))
        except BundleError:
            continue  # reported by check_models
        except ProviderUnavailable as error:
            yield CheckResult(
                Status.FAIL, "provider", str(error), "fix that, or choose another with --provider"
            )
            return
        except NoLooseThreshold as error:
            yield CheckResult(Status.FAIL, "stars", str(error), "set it, or CEMP_STARS__ENABLED=false")
        except ModelError as error:
            said = f"{name} fails on its own reference spectrum: {error}"
            yield CheckResult(Status.FAIL, "provider", said, "choose another bundle")
        else:
            said = f"{route.chain.name} runs on {models.provider} (onnxruntime {onnxruntime.__version__})"
            yield CheckResult(Status.OK, "provider", said)


def check_topics(
    topics: TopicSettings, states: dict[str, TopicState], n_brokers: int
) -> Iterator[CheckResult]:
    """Check the broker's topics against what the worker needs."""
    missing = [name for name in _names(topics) if name not in states]
    if missing:
        yield CheckResult(Status.FAIL, "topics", f"{', '.join(missing)} absent", _CREATE)
    problems = 0
    for finding in _topic_problems(topics, states, n_brokers):
        problems += 1
        yield finding
    if not missing and not problems:
        yield CheckResult(Status.OK, "topics", f"{len(states)} with room for every packet and dead letter")


def check_changelog(settings: Settings) -> CheckResult:
    """Check that the topic of stars fits the topic of observations."""
    topics = settings.topics
    try:
        require_changelog(settings.kafka, topics.observations, topics.stars)
    except UnfitTopics as error:
        return CheckResult(Status.FAIL, "stars", str(error), _ALTER)
    return CheckResult(Status.OK, "stars", f"{topics.stars} is compacted and as {topics.observations}")


def _topic_problems(
    topics: TopicSettings, states: dict[str, TopicState], n_brokers: int
) -> Iterator[CheckResult]:
    largest = {name: states[name].number(SIZE) for name in topics.spectra if name in states}
    dlq = states.get(topics.dlq)
    dlq_bytes = dlq.number(SIZE) if dlq else None
    for name, n_bytes in largest.items():
        if dlq_bytes is not None and n_bytes is not None and dlq_bytes <= n_bytes:
            yield CheckResult(
                Status.FAIL,
                "topics",
                f"{topics.dlq} takes {dlq_bytes} bytes, {name} {n_bytes}: a dead letter could be too large",
                _ALTER,
            )
    for name in (topics.scores, topics.alerts, topics.alerts_json, topics.alerts_archival):
        n_bytes = states[name].number(SIZE) if name in states else None
        if n_bytes is not None and n_bytes < _LEAST_RESULT_BYTES:
            yield CheckResult(
                Status.FAIL, "topics", f"{name} takes {n_bytes} bytes: an alert could be too large", _ALTER
            )
    n_copies = min(_SAFE_REPLICATION, n_brokers)
    thin = [state.name for state in states.values() if state.replication < n_copies]
    if thin:
        yield CheckResult(
            Status.WARN,
            "topics",
            f"{', '.join(thin)} may not survive the loss of a broker: fewer than {n_copies} copies",
            "raise their replication with kafka-reassign-partitions",
        )
    for state in states.values():
        in_sync = state.number(IN_SYNC)
        if state.replication >= _SAFE_REPLICATION and in_sync is not None and in_sync < 2:
            yield CheckResult(
                Status.WARN,
                "topics",
                f"{state.name}: {IN_SYNC} is {in_sync}: a message counts as safe with one copy",
                _ALTER,
            )
    for name in topics.spectra:
        if name in states and states[name].n_partitions == 1:
            yield CheckResult(
                Status.WARN,
                "topics",
                f"{name} has one partition: a second worker would get none",
                f"{_ALTER} --partitions 8",
            )
    kept = dlq.number(RETENTION) if dlq else None
    for name in topics.spectra:
        own = states[name].number(RETENTION) if name in states else None
        if kept is not None and own is not None and 0 < kept < own:
            yield CheckResult(Status.WARN, "topics", f"{topics.dlq} forgets sooner than {name}", _ALTER)


def check_places(settings: Settings, admin: TopicAdmin) -> Iterator[CheckResult]:
    """Hold the place of the worker's group against what the broker holds of the spectra."""
    known = admin.metadata().topics
    places = [
        (name, number)
        for name in settings.topics.spectra
        if name in known
        for number in known[name].partitions
    ]
    group = settings.kafka.group
    try:
        committed = ask_committed(settings.kafka, places) if places else {}
    except KafkaException as error:
        said = f"the place of group {group} is not known: {error.args[0].str()}"
        yield CheckResult(Status.WARN, "group", said, "allow us to describe the group, or look by hand")
        return
    except NoAnswer as error:
        yield CheckResult(Status.FAIL, "group", f"{group}: {error}", _LOOK_AT_BROKER)
        return
    positions = {place: at.offset for place, at in committed.items()}
    extents = ask_extents(admin.client, positions)
    if silent := positions.keys() - extents.keys():
        said = f"no answer about what {name_places(silent)} holds"
        yield CheckResult(Status.FAIL, "group", said, _LOOK_AT_BROKER)
    try:
        cuts = find_cuts(settings.kafka, {place: committed[place].trail for place in extents})
    except NoAnswer as error:
        yield CheckResult(Status.FAIL, "group", str(error), _LOOK_AT_BROKER)
        return
    gaps = [*find_gaps(positions, extents, cuts)]
    for gap in gaps:
        status = Status.WARN if gap.reason is GapReason.RETENTION else Status.FAIL  # it repeats a whole log
        yield CheckResult(status, "group", str(gap), _REMEDIES[gap.reason])
    expiring = [*_expiring(settings, admin, positions, extents)]
    yield from expiring
    if not gaps and not silent and not expiring:
        said = (
            f"{group} can read on in {len(extents)} partitions"
            if extents
            else f"{group} has read nothing yet"
        )
        yield CheckResult(Status.OK, "group", said)


def _expiring(
    settings: Settings, admin: TopicAdmin, positions: Mapping[Place, int], extents: Mapping[Place, Extent]
) -> Iterator[CheckResult]:
    """Say when a topic's oldest message that the group has not read will be deleted, where that is near."""
    unread = {
        place: max(positions[place], extent.first)
        for place, extent in extents.items()
        if positions[place] < extent.end
    }
    oldest: dict[str, datetime] = {}
    for (topic, _), sent in ask_when_sent(settings.kafka, unread).items() if unread else ():
        oldest[topic] = min(sent, oldest.get(topic, sent))
    states = admin.states(oldest)
    for topic, sent in sorted(oldest.items()):
        kept_ms, kept_bytes = states[topic].number(RETENTION), states[topic].number(RETENTION_BYTES)
        kept_s = math.inf if kept_ms is None else seconds_kept(kept_ms)
        waited_s = (datetime.now(UTC) - sent).total_seconds()
        if waited_s > _WAITED_SHARE * kept_s:
            left = f"in {_span(kept_s - waited_s)}" if kept_s > waited_s else "now"
            limit = ", or sooner, for its size is limited too" if (kept_bytes or -1) > 0 else ""
            said = (
                f"the oldest unread message of {topic} has waited {_span(waited_s)} "
                f"and will be deleted {left}{limit}"
            )
            status = Status.FAIL if waited_s > _LATE_SHARE * kept_s else Status.WARN
            yield CheckResult(status, "group", said, f"start workers, or raise {RETENTION} of {topic}")


def _span(seconds: float) -> str:
    """Return a length of time in the largest unit that fits."""
    for unit, length_s in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length_s:
            return f"{seconds / length_s:.1f} {unit}"
    return f"{seconds:.0f} s"


def check_clock(kafka: KafkaSettings, admin: TopicAdmin) -> CheckResult:
    """Compare our clock with the broker's: it stamps a message in a topic made for this."""
    plan = TopicPlan(f"cemp.doctor.{uuid.uuid4().hex[:8]}", 1, 1, {TIMESTAMPS: "LogAppendTime"})
    try:
        admin.create([plan])
    except KafkaException as error:
        return CheckResult(
            Status.WARN,
            "clock",
            f"not compared: no topic can be made ({error.args[0].str()})",
            "compare by hand: date -u",
        )
    try:
        offset_s, error_s = clock_offset(kafka, plan.name)
    except KafkaException as error:
        return CheckResult(Status.WARN, "clock", f"not compared: {error}", "compare by hand: date -u")
    except NoAnswer as error:
        return CheckResult(Status.FAIL, "clock", f"not compared: {error}", _LOOK_AT_BROKER)
    finally:
        admin.delete(plan.name)
    if offset_s is None:
        return CheckResult(
            Status.WARN,
            "clock",
            "not compared: this broker does not stamp messages",
            "compare by hand: date -u",
        )
    said = f"the broker's is {offset_s:+.3f} s from ours (± {error_s:.3f} s)"
    excess_s = abs(offset_s) - error_s
    remedy = "synchronise both (chrony or ntpd)"
    if excess_s > _CLOCK_FAIL_S:
        return CheckResult(Status.FAIL, "clock", said, remedy)
    return (
        CheckResult(Status.WARN, "clock", said, remedy)
        if excess_s > _CLOCK_WARN_S
        else CheckResult(Status.OK, "clock", said)
    )


def _names(topics: TopicSettings) -> tuple[str, ...]:
    return (*topics.spectra, *topics.written, topics.exposures)
