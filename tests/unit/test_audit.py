"""What ``make audit`` makes of pip-audit's answers."""

import importlib.util
from pathlib import Path

PLACE = Path(__file__).resolve().parents[2] / "deploy" / "audit.py"
spec = importlib.util.spec_from_file_location("audit", PLACE)
assert spec is not None
assert spec.loader is not None
audit = importlib.util.module_from_spec(spec)
spec.loader.exec_module(audit)

GOOD = {"name": "numpy", "version": "2.0.0", "vulns": []}
UNKNOWN = {"name": "ours", "skip_reason": "Dependency not found on PyPI and could not be audited"}
BAD = {"name": "old", "version": "1.0", "vulns": [{"id": "CVE-1", "fix_versions": ["1.1"]}]}


def test_what_could_not_be_looked_up_is_not_called_safe() -> None:
    status, lines = audit.judge("a.lock", [UNKNOWN, UNKNOWN])
    assert (status, len(lines)) == (0, 1)
    assert lines[0].startswith("a.lock: not audited")


def test_what_was_looked_up_is_counted() -> None:
    assert audit.judge("a.lock", [GOOD, UNKNOWN]) == (
        0,
        ["a.lock: 1 of 2 packages were looked up, 0 known vulnerabilities"],
    )


def test_a_known_vulnerability_fails_and_is_named() -> None:
    assert audit.judge("a.lock", [GOOD, BAD]) == (
        1,
        ["old 1.0: CVE-1, fixed in 1.1", "a.lock: 2 of 2 packages were looked up, 1 known vulnerabilities"],
    )
