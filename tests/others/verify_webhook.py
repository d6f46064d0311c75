"""Verify messages as a receiver does: lines of JSON with secret, headers and body on standard input."""

import json
import sys

from standardwebhooks.webhooks import Webhook, WebhookVerificationError

for line in sys.stdin:
    message = json.loads(line)
    try:
        print(Webhook(message["secret"]).verify(message["body"], message["headers"])["type"])
    except WebhookVerificationError as error:
        print(f"refused: {error}")
