"""The stream of alerts for tom-alertstreams, which ``manage.py readstreams`` follows.

In the TOM's settings::

    ALERT_STREAMS = [{
        "NAME": "cempstream.streams.exporters.tom.alertstream.CempAlertStream",
        "OPTIONS": {
            "BOOTSTRAP": "broker:9092",
            "GROUP_ID": "my-tom",
            "WHERE": "p_cemp > 0.95 and snr > 20",
            "TOPIC_HANDLERS": {"cemp.alerts.v1": "cempstream.streams.exporters.tom.alertstream.handle_alert"},
        },
    }]
"""

from __future__ import annotations

import logging
from typing import Any

from django.core.exceptions import ImproperlyConfigured, ValidationError
from django.db import close_old_connections
from tom_alertstreams.alertstreams.alertstream import AlertStream as TomAlertStream

from cempstream.plain import shown
from cempstream.schemas.alert import Alert
from cempstream.streams.exporters.tom.ingest import ingest_alert
from cempstream.streams.subscriber.client import AlertStream
from cempstream.streams.subscriber.sieve import TENSES, Undecodable

logger = logging.getLogger(__name__)


class CempAlertStream(TomAlertStream):
    """Alerts of a broker, each acknowledged when its handler is done: one that was stopped at comes again.

    ``OPTIONS`` has ``BOOTSTRAP``, ``GROUP_ID`` and ``TOPIC_HANDLERS``, whose topics share one handler, and
    may have ``WHERE``, ``START``, ``UNTIL``, ``TENSES`` and ``CONFIG``, as `AlertStream` takes them.
    """

    required_keys = ("BOOTSTRAP", "GROUP_ID", "TOPIC_HANDLERS")
    allowed_keys = (*required_keys, "WHERE", "START", "UNTIL", "TENSES", "CONFIG")

    def __init__(self, *args: Any, **options: Any) -> None:
        if unknown := options.keys() - set(self.allowed_keys):
            raise ImproperlyConfigured(f"OPTIONS of {type(self).__name__} cannot be {sorted(unknown)}")
        super().__init__(*args, **options)
        handlers = set(self.alert_handler.values())
        if len(handlers) != 1:
            raise ImproperlyConfigured(
                "TOPIC_HANDLERS must name one handler for its topics; a second one is a second stream"
            )
        (self._handle,) = handlers
        try:
            self._alerts = AlertStream(
                options["BOOTSTRAP"],
                list(self.alert_handler),
                group=options["GROUP_ID"],
                where=options.get("WHERE"),
                start=options.get("START", "latest"),
                until=options.get("UNTIL"),
                tenses=options.get("TENSES", TENSES),
                config=options.get("CONFIG"),
                on_error=_say,
            )
        except ValueError as error:
            raise ImproperlyConfigured(f"OPTIONS of {type(self).__name__}: {error}") from error

    def listen(self) -> None:
        """Hand every alert to the handler; ends only where ``UNTIL`` is given."""
        super().listen()
        with self._alerts as alerts:
            for alert in alerts:
                close_old_connections()  # the database may have closed one that waited for hours
                self._handle(alert)
                alert.ack()


def handle_alert(alert: Alert) -> None:
    """Make or update the target of an alert; one that the TOM's own rules refuse is said and left out."""
    try:
        ingest_alert(alert)
    except ValidationError as error:
        logger.error("alert %s of %s is refused: %s", shown(alert.alert_id), shown(alert.name), error)


def _say(undecodable: Undecodable) -> None:
    logger.error("cannot be read: %s", shown(undecodable))
