"""What promtool says of the configuration and the rules; every alert's cases fire and are silent."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.contract.monitoring import DEPLOY, RULES

PROMETHEUS = DEPLOY / "prometheus"

pytestmark = [
    pytest.mark.kafka,  # run where Prometheus is installed: `make monitor-test`
    pytest.mark.timeout(600),
    pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed"),
]


def promtool(*arguments: str | Path) -> None:
    done = subprocess.run(["promtool", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_configuration_and_rules_are_valid() -> None:
    for name in ("prometheus.yml", "local.yml"):
        promtool("check", "config", PROMETHEUS / name)
    promtool("check", "rules", *RULES)


@pytest.mark.parametrize("part", sorted(path.stem for path in (PROMETHEUS / "tests").glob("*.yml")))
def test_rules_fire_and_are_silent_as_their_cases_say(part: str) -> None:
    promtool("test", "rules", PROMETHEUS / "tests" / f"{part}.yml")
