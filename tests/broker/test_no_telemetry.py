"""Nothing is sent but to the brokers: in a network that records every query and connection."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from cempstream.models.bundle import BUNDLES, newest_bundle

pytestmark = [pytest.mark.install, pytest.mark.timeout(300)]

#: ONNX Runtime says nothing where it believes to run in a build.
_BUILDS = ("CI", "GITHUB_ACTIONS", "TF_BUILD", "GITLAB_CI", "JENKINS_URL", "BUILD_ID")

_LONGEST_S = 90.0

#: The library as another program uses it, told that it may call out.
_BARE = """
import os, sys, time
os.environ["ORT_DISABLE_TELEMETRY"] = "0"
import onnxruntime
session = onnxruntime.InferenceSession(sys.argv[1])
time.sleep(600)
"""

_OURS = """
import time
from cempstream import Classifier
classifier = Classifier()
time.sleep(600)
"""

_SUBSCRIBER = """
import time
from cempstream import AlertStream
AlertStream("127.0.0.1:1")
time.sleep(600)
"""


def listen_to(code: str, seconds: float, *arguments: str) -> dict[str, Any]:
    """Return what a Python program asked and connected to: until the first time, or for so many seconds."""
    environment = {name: value for name, value in os.environ.items() if name not in _BUILDS}
    environment.pop("ORT_DISABLE_TELEMETRY", None)
    python = [sys.executable, "-m", "tests.support.closed_network", str(seconds), sys.executable]
    run = subprocess.run(
        ["unshare", "--net", "--mount", *python, "-c", code, *arguments],
        capture_output=True,
        text=True,
        timeout=seconds + 100,
        check=False,
        env=environment,
    )
    assert run.returncode == 0, run.stderr
    return dict(json.loads(run.stdout.splitlines()[-1]))


def test_no_process_of_ours_asks_for_a_name_or_connects() -> None:
    model = next(newest_bundle(BUNDLES, "mid").glob("*.onnx"))
    heard = listen_to(_BARE, _LONGEST_S, str(model))
    assert heard["seen"], "the library calls out where it may, and is heard here"
    for code in (_OURS, _SUBSCRIBER):
        silent = listen_to(code, 3 * heard["took_s"])
        assert silent["seen"] == []
        assert silent["status"] is None, "it was still running"
