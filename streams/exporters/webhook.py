"""Alerts posted to an address, signed and retried as Standard Webhooks 1.0 says: for chat and mail bridges.

A message has the headers ``webhook-id``, the alert's id, by which a receiver knows one that is delivered
again; ``webhook-timestamp``; and ``webhook-signature``, ``v1,`` and the HMAC-SHA256 of id, timestamp and
body. Libraries of Standard Webhooks verify it. Delivery is at least once.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception_type,
    stop_after_delay,
    wait_exponential_jitter,
)

from cempstream.schemas.alert import Alert
from cempstream.streams.addresses import is_loopback
from cempstream.streams.exporters.facts import headline, utc_text
from cempstream.streams.exporters.sink import ExportError, NotDelivered, Sink, ascii_json

logger = logging.getLogger(__name__)

#: Standard Webhooks marks a secret that is given in base64.
_SECRET_PREFIX = "whsec_"
#: Bytes of a secret: less can be guessed.
_LEAST_SECRET_BYTES = 24

#: Answers that may be another by and by: busy, too early, too many requests.
_PASSING = (408, 425, 429)

_TIMEOUT_S = 15.0
#: Longest pause between two attempts, also where the receiver asks for a longer one.
_LONGEST_PAUSE_S = 60.0


class Secret:
    """The key that messages are signed with; it is never shown.

    Parameters
    ----------
    text
        ``whsec_`` and base64, or any text of at least 24 bytes.

    Raises
    ------
    ExportError
        It is too short, or not base64 after ``whsec_``.
    """

    def __init__(self, text: str) -> None:
        plain = text.strip()
        try:
            is_encoded = plain.startswith(_SECRET_PREFIX)
            encoded = plain.removeprefix(_SECRET_PREFIX)
            self._key = base64.b64decode(encoded, validate=True) if is_encoded else plain.encode()
        except binascii.Error:
            raise ExportError(f"the webhook's secret is not base64 after {_SECRET_PREFIX}") from None
        if len(self._key) < _LEAST_SECRET_BYTES:
            raise ExportError(
                f"the webhook's secret has {len(self._key)} bytes; it must have {_LEAST_SECRET_BYTES} or "
                f"more: echo {_SECRET_PREFIX}$(openssl rand -base64 32)"
            )

    def __repr__(self) -> str:
        return "Secret(**********)"

    def sign(self, message_id: str, timestamp: int, body: bytes) -> str:
        """Return the value of ``webhook-signature``."""
        signed = b".".join((message_id.encode(), str(timestamp).encode(), body))
        return f"v1,{base64.b64encode(hmac.digest(self._key, signed, hashlib.sha256)).decode()}"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where messages are posted. The path of a chat's address is a secret itself, so it is never shown.

    Raises
    ------
    ExportError
        It is not https, unless on this machine; or has a name and password in it.
    """

    url: str = field(repr=False)

    def __post_init__(self) -> None:
        try:
            parts = urlsplit(self.url)
            host = parts.hostname
            _ = parts.port
        except ValueError as error:
            raise ExportError(f"the webhook's address cannot be read: {error}") from error
        if parts.scheme not in ("https", "http") or not host or not self.url.isprintable():
            raise ExportError("the webhook's address must be https://HOST/PATH")
        if parts.username is not None or parts.password is not None:
            raise ExportError("the webhook's address must hold no account: messages are signed")
        if parts.scheme == "http" and not is_loopback(host):
            raise ExportError(
                f"the webhook's address at {host} must be https; http is for this machine alone"
            )

    def __str__(self) -> str:
        return urlsplit(self.url).hostname or ""


class _Refused(Exception):
    """The receiver will not take this message, however often it is sent."""


class _NotYet(Exception):
    """The receiver did not take it now.

    Attributes
    ----------
    pause_s
        How long it asks to wait; None where it does not say.
    """

    def __init__(self, why: str, pause_s: float | None = None) -> None:
        super().__init__(why)
        self.pause_s = pause_s


class WebhookSink(Sink):
    """Posts alerts one after another, each until it is taken.

    Parameters
    ----------
    undelivered
        File that alerts are added to which are refused, or not taken within `patience_s`; with it the next
        alert follows. ``AlertFile`` reads it. None: the first such alert ends the export, unacknowledged.
    patience_s
        How long one alert is tried again.
    sleep, transport
        For tests.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        secret: Secret,
        *,
        undelivered: Path | None = None,
        patience_s: float = 300.0,
        sleep: Callable[[float], None] = time.sleep,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        # httpx logs every address in full, and that of a chat is a secret
        logging.getLogger("httpx").setLevel(logging.WARNING)
        logging.getLogger("httpcore").setLevel(logging.WARNING)
        self._endpoint = endpoint
        self._secret = secret
        self._undelivered = undelivered
        if undelivered is not None:
            undelivered.open("ab").close()  # that it cannot be written is known before it is needed
        self._client = httpx.Client(timeout=_TIMEOUT_S, transport=transport, follow_redirects=False)
        self._retrying = Retrying(
            retry=retry_if_exception_type(_NotYet),
            stop=stop_after_delay(patience_s),
            wait=_pause_s,
            before_sleep=self._say,
            sleep=sleep,
            reraise=True,
        )

    def send(self, alert: Alert) -> None:
        body = message_body(alert)
        try:
            self._retrying(self._post, alert.alert_id, body)
        except (_NotYet, _Refused) as error:
            why = f"alert {alert.alert_id} was not taken by {self._endpoint}: {error}"
            if self._undelivered is None:
                raise NotDelivered(why) from error
            with self._undelivered.open("ab") as file:
                file.write(alert.to_json() + b"\n")
            logger.error("%s; kept in %s", why, self._undelivered)
        alert.ack()

    def close(self) -> None:
        self._client.close()

    def _post(self, alert_id: str, body: bytes) -> None:
        timestamp = int(time.time())  # of the attempt, for receivers refuse old ones
        message_id = header_text(alert_id)
        headers = {
            "content-type": "application/json",
            "webhook-id": message_id,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": self._secret.sign(message_id, timestamp, body),
        }
        try:
            answer = self._client.post(self._endpoint.url, content=body, headers=headers)
        except httpx.TransportError as error:
            raise _NotYet(str(error) or type(error).__name__) from error
        if answer.is_success:
            return
        if answer.is_server_error or answer.status_code in _PASSING:
            raise _NotYet(f"status {answer.status_code}", _asked_pause_s(answer.headers))
        raise _Refused(f"status {answer.status_code}")

    def _say(self, state: RetryCallState) -> None:
        why = state.outcome.exception() if state.outcome is not None else None
        pause_s = state.next_action.sleep if state.next_action is not None else 0.0
        logger.warning("%s does not take an alert (%s); again in %.1f s", self._endpoint, why, pause_s)


_backoff = wait_exponential_jitter(initial=1.0, max=_LONGEST_PAUSE_S, jitter=1.0)


def _pause_s(state: RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome is not None else None
    asked = error.pause_s if isinstance(error, _NotYet) else None
    return _backoff(state) if asked is None else max(asked, _backoff(state))


def _asked_pause_s(headers: Mapping[str, str]) -> float | None:
    """Return the seconds of ``Retry-After``; as a date, or as nonsense, it is left out."""
    asked = headers.get("retry-after", "")
    return min(float(asked), _LONGEST_PAUSE_S) if asked.isdecimal() and asked.isascii() else None


def header_text(alert_id: str) -> str:
    """Return an alert's id as a header may hold it: ours are UUIDs, and from elsewhere may be anything."""
    plain = alert_id.replace(".", "_")  # Standard Webhooks joins what is signed by dots
    if plain == alert_id and plain.isascii() and plain.isprintable() and " " not in plain and plain:
        return plain
    return hashlib.sha256(alert_id.encode("utf-8", "surrogatepass")).hexdigest()


def message_body(alert: Alert) -> bytes:
    """Return the message: ``type``, ``timestamp`` and ``data`` as Standard Webhooks has them, and ``text``.

    ``data`` is the alert without its spectrum. Chats show ``text``.
    """
    data: dict[str, Any] = json.loads(alert.to_json(with_spectrum=False))
    message = {
        "type": f"cemp.alert.{alert.alert_type}",
        "timestamp": f"{utc_text(alert.published_at)}Z",
        "text": headline(alert),
        "data": data,
    }
    return ascii_json(json.dumps(message, separators=(",", ":")).encode())


def read_secret(path: Path | None, variable: str, environment: Mapping[str, str]) -> Secret:
    """Return the secret of a file, or else of an environment variable.

    Raises
    ------
    ExportError
        There is none, or others may read the file.
    OSError
        The file cannot be read.
    """
    if path is not None:
        if path.stat().st_mode & 0o077:
            raise ExportError(f"{path} holds a secret and others may read it: chmod 600 {path}")
        return Secret(path.read_text(encoding="utf-8"))
    if variable not in environment:
        raise ExportError(f"a webhook needs a secret: --secret-file FILE, or the variable {variable}")
    return Secret(environment[variable])
