"""The webhook: its signature, its retries, and that no alert is lost and no secret shown."""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from cempstream.schemas.alert import Alert
from cempstream.streams.exporters.sink import ExportError, NotDelivered
from cempstream.streams.exporters.webhook import (
    Endpoint,
    Secret,
    WebhookSink,
    header_text,
    message_body,
    read_secret,
)
from cempstream.streams.subscriber.alert_file import AlertFile
from tests.support.star_life import star_life

SECRET = "whsec_" + base64.b64encode(b"0123456789abcdef0123456789abcdef").decode()
CHAT = "https://chat.example.org/hooks/a-secret-path"


class Receiver:
    """Answers with the given statuses, the last of them for ever, and keeps what it was sent."""

    def __init__(self, *statuses: int | Exception, **headers: str) -> None:
        self._statuses = list(statuses)
        self._headers = headers
        self.requests: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        status = self._statuses.pop(0) if len(self._statuses) > 1 else self._statuses[0]
        if isinstance(status, Exception):
            raise status
        return httpx.Response(status, headers={k.replace("_", "-"): v for k, v in self._headers.items()})


class Clock:
    """Time that passes only in pauses."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now_s = 1000.0
        self.pauses: list[float] = []
        monkeypatch.setattr("tenacity.time.monotonic", lambda: self.now_s)

    def sleep(self, pause_s: float) -> None:
        self.pauses.append(pause_s)
        self.now_s += pause_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


@pytest.fixture
def acknowledged() -> list[str]:
    return []


@pytest.fixture
def alerts(acknowledged: list[str]) -> list[Alert]:
    life = star_life()

    def ack(alert: Alert) -> Callable[[], None]:
        return lambda: acknowledged.append(alert.alert_id)

    for alert in life:
        alert.on_ack(ack(alert))
    return life


def sink(receiver: Receiver, clock: Clock, undelivered: Path | None = None) -> WebhookSink:
    return WebhookSink(
        Endpoint(CHAT),
        Secret(SECRET),
        undelivered=undelivered,
        patience_s=300.0,
        sleep=clock.sleep,
        transport=httpx.MockTransport(receiver),
    )


def test_a_signature_is_that_of_the_standard() -> None:
    """The example of the specification (standard-webhooks 1.0)."""
    secret = Secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    body = b'{"test": 2432232314}'
    signed = secret.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body)
    assert signed == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_a_message_is_signed_and_known_by_its_alert(clock: Clock, alerts: list[Alert]) -> None:
    receiver = Receiver(204)
    with sink(receiver, clock) as webhook:
        webhook.send(alerts[2])
    (request,) = receiver.requests
    assert str(request.url) == CHAT
    headers = request.headers
    assert headers["webhook-id"] == alerts[2].alert_id
    signed = Secret(SECRET).sign(alerts[2].alert_id, int(headers["webhook-timestamp"]), request.content)
    assert headers["webhook-signature"] == signed
    message = json.loads(request.content)
    assert message["type"] == "cemp.alert.update"
    assert message["timestamp"] == "2026-11-20T05:00:00.365000Z"
    assert message["text"].startswith("Update: HE 1327-2326, p(CEMP) 0.900")
    assert message["data"]["supersedes"] == alerts[1].alert_id
    assert message["data"]["spectrum"] is None


def test_an_alert_is_acknowledged_when_it_was_taken(
    clock: Clock, alerts: list[Alert], acknowledged: list[str]
) -> None:
    receiver = Receiver(503, httpx.ConnectError("refused"), httpx.ReadTimeout("slow"), 429, 200)
    with sink(receiver, clock) as webhook:
        webhook.send(alerts[0])
    assert acknowledged == [alerts[0].alert_id]
    assert len(receiver.requests) == 5
    assert len(clock.pauses) == 4
    assert len({request.headers["webhook-id"] for request in receiver.requests}) == 1
    assert clock.pauses == sorted(clock.pauses)  # each longer than the one before


def test_a_receiver_says_how_long_to_wait(clock: Clock, alerts: list[Alert]) -> None:
    with sink(Receiver(429, 200, retry_after="17"), clock) as webhook:
        webhook.send(alerts[0])
    assert clock.pauses == [17.0]


@pytest.mark.parametrize("asked", ["1e9", "-5", "Wed, 21 Oct 2026 07:28:00 GMT", "9" * 400, "٣"])
def test_a_receiver_that_asks_for_nonsense_is_tried_again_soon(
    clock: Clock, alerts: list[Alert], asked: str
) -> None:
    with sink(Receiver(503, 200), clock) as webhook:
        webhook._client.event_hooks["response"].append(
            lambda answer: answer.headers.raw.append((b"retry-after", asked.encode()))
        )
        webhook.send(alerts[0])
    assert 0 < clock.pauses[0] <= 60.0


def test_an_endpoint_that_stays_away_ends_the_export_and_the_alert_is_not_acknowledged(
    clock: Clock, alerts: list[Alert], acknowledged: list[str]
) -> None:
    with sink(Receiver(500), clock) as webhook, pytest.raises(NotDelivered, match=r"chat\.example\.org"):
        webhook.send(alerts[0])
    assert acknowledged == []
    assert clock.now_s > 1000.0 + 200.0


@pytest.mark.parametrize("status", [301, 400, 401, 404, 410])
def test_a_refusal_is_not_tried_again(
    clock: Clock, alerts: list[Alert], acknowledged: list[str], status: int
) -> None:
    receiver = Receiver(status)
    with sink(receiver, clock) as webhook, pytest.raises(NotDelivered, match=f"status {status}"):
        webhook.send(alerts[0])
    assert len(receiver.requests) == 1
    assert acknowledged == []


def test_what_is_not_taken_is_kept_in_a_file_that_can_be_sent_again(
    clock: Clock, alerts: list[Alert], acknowledged: list[str], tmp_path: Path
) -> None:
    kept = tmp_path / "undelivered.jsonl"
    receiver = Receiver(400, 200, 500)
    with sink(receiver, clock, kept) as webhook:
        for alert in alerts[:3]:
            webhook.send(alert)
    assert acknowledged == [alert.alert_id for alert in alerts[:3]]
    again = list(AlertFile(kept))
    assert [alert.alert_id for alert in again] == [alerts[0].alert_id, alerts[2].alert_id]
    assert again[0].to_json() == alerts[0].to_json()


def test_no_secret_is_ever_shown(
    clock: Clock, alerts: list[Alert], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with sink(Receiver(500), clock, tmp_path / "kept.jsonl") as webhook:
        webhook.send(alerts[0])
    away = Receiver(httpx.ConnectError("no route"))
    with sink(away, clock) as webhook, pytest.raises(NotDelivered) as raised:
        webhook.send(alerts[1])
    place = Endpoint(CHAT)
    shown = caplog.text + str(raised.value) + repr(Secret(SECRET)) + repr(place) + str(place)
    assert "chat.example.org does not take an alert (status 500)" in shown
    assert "a-secret-path" not in shown
    assert SECRET not in shown
    assert SECRET.removeprefix("whsec_") not in shown


@pytest.mark.parametrize("text", ["", "short", "whsec_AAAA", "whsec_not base64!", "whsec_"])
def test_a_weak_secret_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(ExportError, match="secret") as raised:
        Secret(text)
    assert text in ("", "whsec_") or text not in str(raised.value)


@pytest.mark.parametrize(
    "url",
    [
        "http://chat.example.org/x",
        "http://10.0.0.1/x",
        "ftp://chat.example.org/x",
        "chat.example.org/x",
        "https://user:word@chat.example.org/x",
        "https:///x",
        "https://chat.example.org:port/x",
        "http://[::1/x",
        "https://chat.example.org/a\nb",
        "",
    ],
)
def test_an_address_that_is_not_safe_is_refused(url: str) -> None:
    with pytest.raises(ExportError, match="the webhook's address"):
        Endpoint(url)


@pytest.mark.parametrize("url", ["http://127.0.0.1:8080/x", "http://localhost/x", "http://[::1]/x", CHAT])
def test_an_address_that_is_safe_is_taken(url: str) -> None:
    assert Endpoint(url).url == url


def test_a_secret_comes_from_a_file_or_the_environment(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_text(f"{SECRET}\n")
    path.chmod(0o644)
    with pytest.raises(ExportError, match="chmod 600"):
        read_secret(path, "X", {})
    path.chmod(0o600)
    known = Secret(SECRET).sign("a", 1, b"")
    assert read_secret(path, "X", {}).sign("a", 1, b"") == known
    assert read_secret(None, "X", {"X": SECRET}).sign("a", 1, b"") == known
    with pytest.raises(ExportError, match="the variable X"):
        read_secret(None, "X", {})


@pytest.mark.parametrize("hostile", ["a\r\nx-evil: 1", "a.b", "", "ä", "a b", "\ud800"])
def test_an_id_from_elsewhere_is_a_harmless_header(hostile: str) -> None:
    text = header_text(hostile)
    assert text.isascii()
    assert text.isalnum()
    assert text != header_text(hostile + "x")


def test_a_body_is_ascii_whatever_the_star_is_called() -> None:
    name = "夜\x9b2J\u202e</script>"
    body = message_body(star_life(name)[0])
    assert body.isascii()
    message = json.loads(body)
    assert message["data"]["object_id"] == name
    assert message["text"].isprintable()
