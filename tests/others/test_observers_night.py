"""A night on Apache Kafka for observers: page, VOEvents, TOM and target list have the same alerts."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.broker.kafka import KafkaBroker, why_not_installed
from tests.browser.conftest import why_no_browser
from tests.others.observers_night import run_night

pytestmark = [pytest.mark.others, pytest.mark.timeout(900)]


def test_everyone_has_every_alert_of_the_night(tmp_path: Path, others: Callable[..., str]) -> None:
    if (problem := why_not_installed() or why_no_browser()) is not None:
        if os.environ.get("CI"):
            pytest.fail(problem)
        pytest.skip(problem)
    with KafkaBroker() as kafka:
        told = run_night(tmp_path, others, bootstrap=kafka.bootstrap, n_spec=800)
    stars = set(told.listened)
    assert len(stars) > 20
    assert (told.n_row, told.n_voevent, told.n_target) == (len(stars), len(told.listened), len(stars))
    assert len(told.plan) > 3
    assert set(told.plan) <= stars
    assert "the plan" in told.yields
    assert "at random" in told.yields
    assert (tmp_path / "page.png").stat().st_size > 10_000
