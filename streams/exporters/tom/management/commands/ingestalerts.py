"""``manage.py ingestalerts``: targets of a recorded file of alerts."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from cempstream.streams.exporters.tom.ingest import ingest_alert
from cempstream.streams.subscriber.alert_file import AlertFile
from cempstream.streams.subscriber.sieve import TENSES


class Command(BaseCommand):
    """Reads what ``cempstream listen --json`` wrote."""

    help = "Make or update the targets of a recorded file of alerts (JSON lines, also .gz)."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the file and which of its alerts are taken."""
        parser.add_argument("file", type=Path)
        parser.add_argument("--where", help="filter, as of cempstream listen")
        parser.add_argument("--tense", action="append", help="current, archival, injection or test")

    def handle(self, *args: Any, **options: Any) -> None:
        """Take the alerts one after another, and say how many became or changed targets."""
        n_taken = n_left_out = 0
        try:
            with AlertFile(
                options["file"], where=options["where"], tenses=options["tense"] or TENSES
            ) as alerts:
                for alert in alerts:
                    if ingest_alert(alert) is None:
                        n_left_out += 1
                    else:
                        n_taken += 1
        except (OSError, ValueError) as error:
            raise CommandError(str(error)) from error
        self.stdout.write(f"{n_taken} alerts taken, {n_left_out} without a position left out")
