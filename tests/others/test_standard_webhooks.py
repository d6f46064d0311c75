"""The library of Standard Webhooks verifies what we sign, and refuses what was changed."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from cempstream.streams.exporters.webhook import Endpoint, Secret, WebhookSink
from tests.support.star_life import TYPES, star_life

pytestmark = pytest.mark.others

SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()


def test_their_library_verifies_what_we_sign(tmp_path: Path, others: Callable[..., str]) -> None:
    posted: list[httpx.Request] = []

    def take(request: httpx.Request) -> httpx.Response:
        posted.append(request)
        return httpx.Response(200)

    with WebhookSink(
        Endpoint("https://x.example/y"), Secret(SECRET), transport=httpx.MockTransport(take)
    ) as sink:
        for alert in star_life("夜 \x1b[2J"):
            sink.send(alert)
    messages = [
        {"secret": SECRET, "headers": dict(request.headers), "body": request.content.decode()}
        for request in posted
    ]
    changed = {**messages[0], "body": str(messages[0]["body"]).replace("0.97", "0.99")}
    lines = tmp_path / "messages.jsonl"
    lines.write_text("".join(json.dumps(message) + "\n" for message in [*messages, changed]))
    script = f"import sys; sys.stdin = open({str(lines)!r}); import tests.others.verify_webhook"
    *types, refused = others("-c", script).splitlines()
    assert types == [f"cemp.alert.{kind}" for kind in TYPES]
    assert refused.startswith("refused")
