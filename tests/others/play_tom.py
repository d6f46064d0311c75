"""Run steps in a TOM and print what each gives, as lines of JSON: ``python -m tests.others.play_tom STEPS``.

A step is a list: ``manage`` and the words of a command; ``produce``, a topic and a file of messages; or
``show``, which gives targets, spectra, groups and pages. All in one process, for a TOM takes long to start.
"""

import io
import json
import os
import sys
from pathlib import Path
from threading import current_thread
from threading import enumerate as threads
from typing import Any

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.others.tom_project.settings")
django.setup()

from confluent_kafka import Producer  # noqa: E402
from django.contrib.auth.models import User  # noqa: E402
from django.core.management import call_command  # noqa: E402 - only a project that is set up has models
from django.test import Client  # noqa: E402
from tom_dataproducts.models import SpectroscopyReducedDatum  # noqa: E402
from tom_targets.models import Target, TargetList  # noqa: E402


def manage(*words: str) -> str:
    """Run a command of ``manage.py``, until the threads that it began have ended."""
    before = set(threads())
    out = io.StringIO()
    call_command(*words, stdout=out)
    for thread in set(threads()) - before - {current_thread()}:
        thread.join(timeout=120)
        assert not thread.is_alive(), f"{words} does not end"
    return out.getvalue()


def produce(topic: str, path: str) -> int:
    """Send the lines of a file to a topic, and return how many."""
    producer = Producer({"bootstrap.servers": os.environ["TOM_BROKER"]})
    lines = Path(path).read_bytes().splitlines()
    for line in lines:
        producer.produce(topic, line)
    assert producer.flush(60) == 0
    return len(lines)


def count() -> int:
    """Return how many targets have a spectrum."""
    return Target.objects.filter(pk__in=SpectroscopyReducedDatum.objects.values("target")).count()


def show(*needles: str) -> dict[str, Any]:
    """Return what the database says, and of each page, 13 MB of plots, which of the texts it has."""
    client = Client()
    user, _ = User.objects.get_or_create(username="observer", is_superuser=True)  # who sees every target
    client.force_login(user, "allauth.account.auth_backends.AuthenticationBackend")
    listed = client.get("/targets/").content.decode()
    pages = {"list": [needle in listed for needle in needles]}
    targets = []
    for target in Target.objects.order_by("pk"):
        page = client.get(f"/targets/{target.pk}/")
        pages[target.name] = [needle in page.content.decode() for needle in needles]
        targets.append(
            {
                "name": target.name,
                "ra": target.ra,
                "dec": target.dec,
                "tags": target.tags,
                "status": page.status_code,
                "spectra": [
                    {
                        "n": len(datum.flux),
                        "first": [datum.wavelength[0], datum.flux[0], datum.error[0]],
                        "units": [datum.wavelength_unit, datum.flux_unit],
                        "telescope": datum.telescope,
                    }
                    for datum in SpectroscopyReducedDatum.objects.filter(target=target)
                ],
            }
        )
    groups = {
        group.name: sorted(target.name for target in group.targets.all())
        for group in TargetList.objects.all()
    }
    return {"targets": targets, "groups": groups, "pages": pages}


if __name__ == "__main__":
    for action, *words in json.loads(sys.argv[1]):
        given = {"manage": manage, "produce": produce, "count": count, "show": show}[action](*words)
        print(json.dumps(given), flush=True)
