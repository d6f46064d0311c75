"""Whether the broker still takes our credentials, and whether they have been renewed.

Kafka asks for them only when a connection is made. A worker whose password was changed or whose certificate
has expired goes on until its connections break, and could then only try again for ever. So every few seconds
a new connection is made with what the files hold now.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient

from cempstream.errors import FixableError, in_one_line
from cempstream.streams.settings import KafkaSettings

#: How often a connection is tried, and how long it may take.
INTERVAL_S = 10.0
TIMEOUT_S = 5.0

#: After so many refusals one after another, what has no working connection ends.
PATIENCE = 2

_REFUSALS = frozenset({KafkaError._AUTHENTICATION, KafkaError._SSL, KafkaError.SASL_AUTHENTICATION_FAILED})


class CredentialsRefused(FixableError, ConnectionError):
    """The broker does not take what our files and settings hold."""


class CredentialsRenewed(FixableError, RuntimeError):
    """A file of credentials has changed, and the broker takes what it holds: a new start would use it."""


@dataclass(frozen=True, slots=True)
class _Answer:
    """What a new connection has shown: a refusal, or that the broker took these credentials.

    Attributes
    ----------
    refusal
        None where the broker took them, or did not answer at all.
    taken
        A hash of what it took; None where it took nothing.
    """

    refusal: str | None = None
    taken: str | None = None


class CredentialsWatch:
    """Try the credentials again and again.

    Parameters
    ----------
    kafka
        How the broker is reached; its files are read anew each time.
    on_refused
        Called with the reason when the broker begins to refuse, and with None when it takes them again.
    """

    def __init__(self, kafka: KafkaSettings, on_refused: Callable[[str | None], object]) -> None:
        self._kafka = kafka
        self._on_refused = on_refused
        self._in_use = _hash_of(kafka)
        self.refusal: str | None = None

    def is_accepted(self) -> str | None:
        """Say why the broker refuses us; None where it does not."""
        return None if self.refusal is None else f"the broker refuses our credentials: {self.refusal}"

    async def watch(self, is_working: Callable[[], bool]) -> NoReturn:
        """Watch until there is a reason to end; without credentials there is never one.

        Parameters
        ----------
        is_working
            Whether the connections that we have still serve; while they do, a refusal ends nothing.

        Raises
        ------
        CredentialsRefused
            They are refused again and again, and nothing is connected any more.
        CredentialsRenewed
            Others are to be used, which the broker takes.
        """
        n_refusals = 0
        while True:
            await asyncio.sleep(INTERVAL_S)
            if self._kafka.security_protocol == "PLAINTEXT":
                continue
            answer = await asyncio.to_thread(self._ask)
            n_refusals = 0 if answer.refusal is None else n_refusals + 1
            if answer.refusal is not None or answer.taken is not None:
                self._note(answer.refusal)
            if n_refusals >= PATIENCE and not is_working():
                raise CredentialsRefused(
                    f"the broker refuses our credentials and no connection is left: {answer.refusal}"
                )
            if answer.taken not in (None, self._in_use):
                raise CredentialsRenewed(
                    "the files of credentials have changed, and the broker takes what they hold now: "
                    "a new start uses it"
                )

    def _note(self, refusal: str | None) -> None:
        if (refusal is None) != (self.refusal is None):
            self._on_refused(refusal)
        self.refusal = refusal

    def _ask(self) -> _Answer:
        """Make a new connection; in a separate thread."""
        errors: list[KafkaError] = []
        try:
            tried = _hash_of(self._kafka)
            told: dict[str, Any] = {"log_level": 0, "error_cb": errors.append}
            client = AdminClient(
                {"bootstrap.servers": self._kafka.bootstrap, **self._kafka.client_config(), **told}
            )
        except OSError as error:  # a file is gone
            return _Answer(refusal=in_one_line(error))
        except KafkaException as error:  # what a file holds is no certificate, or no key
            return _Answer(refusal=error.args[0].str())
        try:
            client.list_topics(timeout=TIMEOUT_S)
        except KafkaException:
            client.poll(0)  # this is what calls error_cb
            reasons = (error.str() for error in errors if _is_refusal(error))
            reason = next(reasons, None)
            return _Answer(refusal=None if reason is None else _without_address(reason))
        return _Answer(taken=tried)


def _is_refusal(error: KafkaError) -> bool:
    """Whether the broker has refused us; in TLS 1.3 it says so only when we are connected already."""
    return error.code() in _REFUSALS or "SSL alert number" in error.str()


def _without_address(reason: str) -> str:
    return reason.rpartition("/bootstrap: ")[2].partition(" (after ")[0]


def _hash_of(kafka: KafkaSettings) -> str:
    """Return a hash of all files of credentials."""
    digest = hashlib.sha256()
    for file in kafka.credential_files:
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()
