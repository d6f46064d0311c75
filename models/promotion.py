"""Which version of a bundle is served: chosen by a person and stored in a file beside the versions.

``<root>/<name>/active`` holds one line per promotion, a version and a time; the last is in force. Without
the file the newest version is served.
"""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cempstream.models.bundle import CARD_FILE, Bundle, BundleError, load_bundle
from cempstream.models.signature import Keys

ACTIVE_FILE = "active"


@dataclass(frozen=True, slots=True)
class Promotion:
    """A version that was made the active one."""

    version: str
    at: datetime


def bundle_versions(root: Path, name: str) -> list[str]:
    """Return the versions of a bundle in a folder of bundles, oldest first."""
    found = [path.parent.name for path in (root / name).glob(f"*/{CARD_FILE}")]
    return sorted(found, key=lambda version: [int(part) for part in version.split(".")])


def promotions(root: Path, name: str) -> list[Promotion]:
    """Return the promotions of a bundle, the one in force last; empty if there are none.

    Raises
    ------
    BundleError
        The file is not in the form that `promote` writes.
    """
    path = root / name / ACTIVE_FILE
    if not path.is_file():
        return []
    found = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            version, at = line.split()
            found.append(Promotion(version, datetime.fromisoformat(at)))
        except ValueError:
            raise BundleError(f"{path}: {line!r} is not a version and a time") from None
    return found


def active_version(root: Path, name: str) -> str | None:
    """Return the version that is promoted; None where the newest is served."""
    found = promotions(root, name)
    return found[-1].version if found else None


def load_version(root: Path, name: str, version: str, keys: Keys | None = None) -> Bundle:
    """Load a version of a bundle.

    Raises
    ------
    BundleError
        It is not what its manifest and its card say, or these are of another version: a sound and signed
        bundle in the place of a newer one would go back to it unseen.
    """
    folder = root / name / version
    bundle = load_bundle(folder, keys)
    if bundle.name != f"{name}-{version}":
        raise BundleError(f"{folder} holds {bundle.name}; its folder and its card must say the same")
    return bundle


def promote(
    root: Path, name: str, version: str, at: datetime | None = None, keys: Keys | None = None
) -> Promotion:
    """Make a version the active one, if it is sound.

    Parameters
    ----------
    keys
        Who may have signed it; None where a signature is not asked for.

    Raises
    ------
    BundleError
        There is no such version, `load_version` refuses it, or it is already active.
    """
    found = promotions(root, name)
    if version not in bundle_versions(root, name):
        there = ", ".join(bundle_versions(root, name)) or "none"
        raise BundleError(f"there is no version {version} of '{name}' in {root}; there are {there}")
    if found and found[-1].version == version:
        raise BundleError(f"version {version} of '{name}' is the active one already")
    load_version(root, name, version, keys)
    promotion = Promotion(version, at or datetime.now(UTC))
    _write(root / name / ACTIVE_FILE, [*found, promotion])
    return promotion


def rollback(root: Path, name: str, keys: Keys | None = None) -> Promotion:
    """Undo the last promotion and return the one that is now in force.

    Raises
    ------
    BundleError
        There is none before it, or its version is gone or no longer sound.
    """
    found = promotions(root, name)
    if len(found) < 2:
        raise BundleError(
            f"no version of '{name}' was active before; `cempstream bundle promote` chooses one"
        )
    before = found[-2]
    load_version(root, name, before.version, keys)
    _write(root / name / ACTIVE_FILE, found[:-1])
    return before


def _write(path: Path, found: list[Promotion]) -> None:
    """Replace the file as a whole: a worker that starts meanwhile reads the old or the new."""
    lines = "".join(f"{p.version} {p.at.isoformat(timespec='seconds')}\n" for p in found)
    with tempfile.NamedTemporaryFile(
        "w", dir=path.parent, prefix=".active-", delete=False, encoding="utf-8"
    ) as file:
        file.write(lines)
        file.flush()
        os.fsync(file.fileno())
    Path(file.name).chmod(0o644)
    Path(file.name).replace(path)
