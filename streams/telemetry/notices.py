"""Log lines that a person acts on, each with its ``event`` and the ids that it concerns.

None is written for a spectrum that is scored. ``deploy/RUNBOOK.md`` says what to do about each.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from datetime import datetime
from enum import StrEnum

from cempstream.processors.outcome import Rejected

logger = logging.getLogger(__name__)


class Event(StrEnum):
    """The closed set of events."""

    STARTED = "started"
    STOPPED = "stopped"
    DEAD_LETTER = "dead_letter"
    MODEL_BROKEN = "model_broken"
    SHADOW_FAILED = "shadow_failed"
    BREAKER_OPENED = "breaker_opened"
    BREAKER_CLOSED = "breaker_closed"
    PARTITIONS_CHANGED = "partitions_changed"
    PARTITIONS_UNREAD = "partitions_unread"
    OFFSETS_SKIPPED = "offsets_skipped"
    EXPOSURE_INCOMPLETE = "exposure_incomplete"
    CREDENTIALS_REFUSED = "credentials_refused"
    CREDENTIALS_ACCEPTED = "credentials_accepted"
    CREDENTIALS_ENDED = "credentials_ended"
    LOG_LINES_DROPPED = "log_lines_dropped"
    CHANGELOG_LOST = "changelog_lost"


def started(bundles: Sequence[str], provider: str, metrics_url: str, shadow: str | None = None) -> None:
    """Models are warm and the metrics port is open."""
    _log(
        logging.INFO,
        Event.STARTED,
        "the worker has started",
        bundle=",".join(bundles),
        provider=provider,
        shadow=shadow,
        metrics=metrics_url,
    )


def stopped(bundles: Sequence[str], n_scored: int, n_dead_letters: int, n_alerts: int) -> None:
    """The worker takes nothing more, after an orderly end or a failure."""
    _log(
        logging.INFO,
        Event.STOPPED,
        "the worker has stopped",
        bundle=",".join(bundles),
        n_scored=n_scored,
        n_dead_letters=n_dead_letters,
        n_alerts=n_alerts,
    )


def dead_letter(rejected: Rejected, topic: str, partition: int, offset: int) -> None:
    """A packet could not be scored and is in the dead-letter topic."""
    _log(
        logging.WARNING,
        Event.DEAD_LETTER,
        rejected.detail,
        reason=rejected.reason.value,
        spectrum_id=rejected.spectrum_id,
        exposure_id=rejected.exposure_id,
        survey=rejected.survey,
        topic=topic,
        partition=partition,
        offset=offset,
    )


def model_broken(problem: str) -> None:
    """The models fail on good spectra: the worker ends with nothing of the batch acknowledged."""
    _log(logging.CRITICAL, Event.MODEL_BROKEN, problem)


def shadow_failed(bundle: str, problem: str) -> None:
    """The shadow bundle scores no more, or its scores are not delivered; the night goes on without it."""
    _log(logging.ERROR, Event.SHADOW_FAILED, problem, bundle=bundle)


def breaker_opened(topic: str, share: float, probe_after_s: float) -> None:
    """Too many dead letters: consumption of a topic is held."""
    _log(
        logging.ERROR,
        Event.BREAKER_OPENED,
        f"over {100 * share:.0f} % of recent packets are dead letters; probing every {probe_after_s:g} s",
        topic=topic,
    )


def breaker_closed(topic: str) -> None:
    """A topic's packets are good again."""
    _log(logging.WARNING, Event.BREAKER_CLOSED, "packets are good again", topic=topic)


def partitions_changed(lost: Iterable[tuple[str, int]], gained: Iterable[tuple[str, int]]) -> None:
    """Partitions went to or came from another worker; a loss is a warning."""
    is_lost, is_gained = _places(lost), _places(gained)
    _log(
        logging.WARNING if is_lost else logging.INFO,
        Event.PARTITIONS_CHANGED,
        "partitions were taken away" if is_lost else "partitions were assigned",
        lost=is_lost or None,
        gained=is_gained or None,
    )


def partitions_unread(orphans: Iterable[tuple[str, int]]) -> None:
    """This worker ends: it was given no partition while these belong to no worker."""
    _log(
        logging.CRITICAL,
        Event.PARTITIONS_UNREAD,
        "partitions are read by no worker, and none was assigned to this one: it ends, to be started again",
        partitions=_places(orphans),
    )


def offsets_skipped(
    problem: str,
    reason: str,
    topic: str,
    partition: int,
    offsets: tuple[int, int],
    goes_on_at: int,
    sent: tuple[datetime | None, datetime | None],
) -> None:
    """The broker no longer holds the group's place; reading goes on at the first message to be trusted.

    ``sent`` are the times after and before which what is gone was sent, None where nothing tells.
    """
    after, before = (None if time is None else time.isoformat(timespec="milliseconds") for time in sent)
    _log(
        logging.CRITICAL,
        Event.OFFSETS_SKIPPED,
        f"{problem}; reading goes on at {goes_on_at}",
        reason=reason,
        topic=topic,
        partition=partition,
        first_offset=offsets[0],
        last_offset=offsets[1],
        sent_after=after,
        sent_before=before,
    )


def changelog_lost(topic: str, partitions: Sequence[int]) -> None:
    """Stars are gone with their changelog; the observations that the broker still has are folded again."""
    _log(
        logging.CRITICAL,
        Event.CHANGELOG_LOST,
        f"{topic} is empty or was made anew: its stars are made again of the observations that are kept",
        topic=topic,
        partitions=",".join(map(str, partitions)),
    )


def exposure_incomplete(
    survey: str, exposure_id: str, n_seen: int, n_expected: int, n_received: int | None
) -> None:
    """Spectra of an exposure have not come in time."""
    _log(
        logging.WARNING,
        Event.EXPOSURE_INCOMPLETE,
        f"{n_expected - n_seen} of {n_expected} spectra are missing",
        survey=survey,
        exposure_id=exposure_id,
        n_seen=n_seen,
        n_expected=n_expected,
        n_received=n_received,
    )


def credentials_judged(refusal: str | None) -> None:
    """The broker takes no new connection of ours, or takes them again."""
    if refusal is None:
        _log(logging.WARNING, Event.CREDENTIALS_ACCEPTED, "the broker takes our credentials again")
    else:
        _log(
            logging.CRITICAL,
            Event.CREDENTIALS_REFUSED,
            f"the broker refuses our credentials, and what is connected serves until it breaks: {refusal}",
        )


def credentials_ended(problem: str) -> None:
    """The process ends, to be started again with the credentials that its files hold then."""
    _log(logging.CRITICAL, Event.CREDENTIALS_ENDED, problem)


def log_lines_dropped(n_dropped: int) -> None:
    """Lines are missing here: stderr took none for a while."""
    _log(
        logging.WARNING,
        Event.LOG_LINES_DROPPED,
        f"{n_dropped} log lines are missing here: stderr took none",
        n_dropped=n_dropped,
    )


def _log(level: int, event: Event, message: str, **fields: object) -> None:
    known = {name: value for name, value in fields.items() if value is not None}
    logger.log(level, "%s", message, extra={"event": event.value, **known})


def _places(places: Iterable[tuple[str, int]]) -> str:
    return ",".join(f"{topic}/{partition}" for topic, partition in sorted(places))
