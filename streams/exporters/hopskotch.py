"""Alerts to SCiMMA's Hopskotch, or any Kafka that hop-client reads, with hop's headers.

``_id`` is the alert's id and not a random one, so that a repeated delivery can be recognised; ``_sender`` is
the account; ``_format`` what the payload is; ``_test`` stands with all that is of no real observation, and
hop-client leaves such messages out unless asked.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any, Literal, TypeAlias
from uuid import NAMESPACE_URL, UUID, uuid5

from confluent_kafka import KafkaError, KafkaException
from hop.io import Producer, Stream, list_topics

from cempstream.schemas.alert import Alert
from cempstream.streams.exporters.sink import ExportError, NotDelivered, Sink

#: hop's names of payloads.
HopFormat: TypeAlias = Literal["json", "voevent"]

_REAL = ("current", "archival")

#: How long the broker may take to answer, and to confirm a message.
_ANSWER_S = 10.0
_CONFIRM_S = 30.0


class _Encoded:
    """A payload that is encoded already, for hop to send as it is."""

    def __init__(self, content: bytes, form: HopFormat) -> None:
        self._said = {"format": form, "content": content}

    def serialize(self) -> dict[str, Any]:
        """Return what hop's models return."""
        return self._said


class HopSink(Sink):
    """Publishes alerts one after another, each confirmed by the broker before it is acknowledged.

    Parameters
    ----------
    url
        ``kafka://[account@]host[:port]/topic``.
    render, form
        Gives the payload, and which of hop's formats it is.
    sender
        Header ``_sender``; None: the account's name, where there is one.
    has_account
        Whether to log in with an account of hop's own file (``hop auth add``).

    Raises
    ------
    ExportError
        `url` does not name one topic, or no account fits.
    NotDelivered
        The broker does not answer, or has no such topic.
    """

    def __init__(
        self,
        url: str,
        render: Callable[[Alert], bytes],
        form: HopFormat,
        *,
        sender: str | None = None,
        has_account: bool = True,
    ) -> None:
        self._url = url
        self._render = render
        self._form = form
        self._sender = sender
        self._producer = _open(url, has_account)

    def send(self, alert: Alert) -> None:
        payload, headers = Producer.pack(
            _Encoded(self._render(alert), self._form),
            test=alert.alert_tense not in _REAL,
            auth=self._producer.auth,
        )
        named = {**dict(headers), "_id": message_id(alert.alert_id).bytes}
        if self._sender is not None:
            named["_sender"] = self._sender.encode("utf-8")
        problems: list[KafkaError] = []

        def told(error: KafkaError | None, message: object) -> None:
            if error is not None:
                problems.append(error)

        self._producer.write_raw(payload, list(named.items()), told, key=alert.name)
        n_waiting = self._producer.flush(timedelta(seconds=_CONFIRM_S))
        if n_waiting or problems:
            why = problems[0].str() if problems else f"no answer within {_CONFIRM_S:g} s"
            raise NotDelivered(f"alert {alert.alert_id} was not taken by {self._url}: {why}")
        alert.ack()

    def close(self) -> None:
        self._producer.flush(timedelta(seconds=0))  # its own close() waits as long as nobody answers


def message_id(alert_id: str) -> UUID:
    """Return the id of an alert's message: the alert's own, or one made from it where it is no UUID."""
    try:
        return UUID(alert_id)
    except ValueError:
        return uuid5(NAMESPACE_URL, alert_id)


def _open(url: str, has_account: bool) -> Producer:
    try:
        known = list_topics(url, auth=has_account, timeout=_ANSWER_S)
        # Without offload: alerts are small, and it would need the right to read the topic's configuration.
        producer = Stream(auth=has_account).open(url, "w", automatic_offload=False)
    except KafkaException as error:
        raise NotDelivered(f"{url}: {error.args[0].str()}") from error
    except FileNotFoundError as error:
        raise ExportError(
            f"hop has no accounts ({error.filename} is absent): `hop auth add`, or --no-account"
        ) from error
    except (ValueError, RuntimeError) as error:
        raise ExportError(f"'{url}' is not kafka://[account@]host[:port]/topic: {error}") from error
    if producer.default_topic is None:
        raise ExportError(f"'{url}' must name one topic: kafka://[account@]host[:port]/topic")
    if producer.default_topic not in known:
        raise NotDelivered(f"{url}: there is no such topic, or it may not be read")
    return producer
