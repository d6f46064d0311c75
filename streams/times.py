"""Times as a person writes them: ``2026-11-20T03:00``, ``2h`` ago, ``now``; and where to start in a topic."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Literal, TypeAlias

from cempstream.errors import FixableError

#: The first message at or after a time, either end, or so many messages before the end (a negative number).
Start: TypeAlias = datetime | Literal["earliest", "latest"] | int

#: How a time is written, for help texts and messages.
TIME_FORMS = "2026-11-20T03:00 (UTC), an age like 2h, or now"

_AGE = re.compile(r"([0-9]+(?:\.[0-9]+)?)([smhd])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_COUNT = re.compile(r"-[0-9]{1,18}")


class TimeError(FixableError, ValueError):
    """A text is not a time, or not a place to start; the message says how one is written."""


def parse_time(text: str | datetime, *, now: datetime | None = None) -> datetime:
    """Read a time; one without a zone is UTC.

    Parameters
    ----------
    text
        ISO 8601, an age (``90s``, ``30m``, ``2h``, ``1.5d``), or ``now``.
    now
        What ages are counted from; None: this moment.

    Returns
    -------
    datetime
        In UTC.

    Raises
    ------
    TimeError
        The text is none of these, or so far off that no calendar has it.
    """
    now = now or datetime.now(UTC)
    if text == "now":
        return now
    try:
        if isinstance(text, str) and (age := _AGE.fullmatch(text)):
            return now - timedelta(**{_UNITS[age[2]]: float(age[1])})
        moment = datetime.fromisoformat(text) if isinstance(text, str) else text
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise TimeError(f"{str(text)!r} is not a time; write {TIME_FORMS}") from None


def parse_start(start: str | int | datetime) -> Start:
    """Read where to start: a time, ``earliest``, ``latest``, or minus the number of messages to go back.

    Raises
    ------
    TimeError
        It is none of these.
    """
    if start == "earliest":
        return "earliest"
    if start == "latest":
        return "latest"
    if isinstance(start, str) and _COUNT.fullmatch(start):
        start = int(start)
    if isinstance(start, int):
        if start >= 0:
            raise TimeError(f"start {start} is not negative; -100 means the last hundred messages")
        return start
    try:
        return parse_time(start)
    except TimeError:
        raise TimeError(
            f"{str(start)!r} is not a place to start; write earliest, latest, -100 for the last hundred "
            f"messages, or a time: {TIME_FORMS}"
        ) from None


def parse_until(until: str | datetime | None) -> datetime | Literal["now"] | None:
    """Read when to end: a time, ``now`` for where a topic ends, or None for never.

    Raises
    ------
    TimeError
        It is none of these.
    """
    if until is None or until == "now":
        return until  # type: ignore[return-value] # "now" is what it equals
    return parse_time(until)
