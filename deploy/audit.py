"""Ask for known vulnerabilities of what an image holds, and say how much of it could be asked about.

    python deploy/audit.py deploy/requirements-cpu.lock

pip-audit asks the Python package index for advisories. Where the index has none, it says "no known
vulnerabilities" all the same; so what could be looked up is counted here. Exit status 1 where one is known; 0
else, also where nothing could be looked up, which the last line says.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any

_TIMEOUT_S = 300


def judge(lock: str, packages: Sequence[Mapping[str, Any]]) -> tuple[int, list[str]]:
    """Return the exit status and what to say of pip-audit's answers, one entry a package.

    An entry has ``name`` and either ``skip_reason``, or ``version`` and ``vulns``.
    """
    known = [package for package in packages if "skip_reason" not in package]
    lines = [
        f"{package['name']} {package['version']}: {vuln['id']}, "
        f"fixed in {', '.join(vuln['fix_versions']) or 'no release'}"
        for package in known
        for vuln in package["vulns"]
    ]
    if not known:
        return 0, [f"{lock}: not audited: the package index knows no advisories of {len(packages)} packages"]
    status = int(bool(lines))
    asked = (
        f"{lock}: {len(known)} of {len(packages)} packages were looked up, {len(lines)} known vulnerabilities"
    )
    return status, [*lines, asked]


def main() -> int:
    """Audit each lock file of the command line."""
    worst = 0
    for lock in sys.argv[1:]:
        command = [
            sys.executable,
            "-m",
            "pip_audit",
            "--requirement",
            lock,
            "--require-hashes",
            "--disable-pip",
        ]
        command += ["--format", "json", "--progress-spinner", "off"]
        try:
            run = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S)
            packages = json.loads(run.stdout)["dependencies"]
        except subprocess.TimeoutExpired:
            print(f"{lock}: not audited: no answer within {_TIMEOUT_S} s")
        except ValueError:  # it has written no report
            print(f"{lock}: not audited: {(run.stderr.strip().splitlines() or ['it said nothing'])[-1]}")
        else:
            status, lines = judge(lock, packages)
            worst = max(worst, status)
            print("\n".join(lines))
    return worst


if __name__ == "__main__":
    sys.exit(main())
