"""Find and load a bundle: the active version of a name, a given version, or a folder."""

from __future__ import annotations

import re
from pathlib import Path

from cempstream.models.bundle import (
    BUNDLES,
    CARD_FILE,
    Bundle,
    BundleError,
    load_bundle,
    newest_bundle,
    require_models,
)
from cempstream.models.promotion import active_version, load_version
from cempstream.models.signature import Keys

#: ``mid/1.1.0`` as typed by users and ``mid-1.1.0`` as in results.
_VERSIONED = re.compile(r"(?P<name>.+)[/-](?P<version>\d+(\.\d+)+)")


def find_bundle(spec: str, root: Path | None = None) -> Path:
    """Return the folder of a bundle.

    Parameters
    ----------
    spec
        ``mid`` (the version that is promoted, else its newest), ``mid/1.1.0`` or ``mid-1.1.0``, or the path
        of a folder with a card.
    root
        Folder of bundles; None for those of the package.

    Raises
    ------
    BundleError
        There is none; the message names those that exist.
    """
    root = root or BUNDLES
    match = _VERSIONED.fullmatch(spec)
    if match is not None and (root / match["name"] / match["version"] / CARD_FILE).is_file():
        return root / match["name"] / match["version"]
    folder = Path(spec)
    if (folder / CARD_FILE).is_file():
        return folder
    if match is None and "/" not in spec:
        active = active_version(root, spec)
        return newest_bundle(root, spec) if active is None else root / spec / active
    if root == BUNDLES:
        require_models(BUNDLES)
    raise BundleError(
        f"there is no bundle '{spec}' in {root}; it holds {', '.join(bundles_in(root)) or 'none'}"
    )


def open_bundle(spec: str, root: Path | None = None, keys: Keys | None = None) -> Bundle:
    """Load the bundle that `find_bundle` finds.

    Parameters
    ----------
    keys
        Who may have signed it; None where a signature is not asked for.

    Raises
    ------
    BundleError
        There is none; or it is not what its manifest and its card say, not signed by a trusted key, or
        another bundle than its place among the versions says.
    """
    root = root or BUNDLES
    folder = find_bundle(spec, root)
    if folder.parent.parent == root:
        return load_version(root, folder.parent.name, folder.name, keys)
    return load_bundle(folder, keys)


def bundles_in(root: Path) -> list[str]:
    """Return the bundles of a folder, named as in results: ``mid-1.1.0``."""
    return sorted(f"{path.parent.parent.name}-{path.parent.name}" for path in root.glob(f"*/*/{CARD_FILE}"))
