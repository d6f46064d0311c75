"""Copies of the shipped bundle that a test may change, and signatures of them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import minisign

from cempstream.models.bundle import BUNDLES, CARD_FILE, newest_bundle, write_manifest
from cempstream.models.manifest import MANIFEST_FILE, SIGNATURE_FILE

Change = Callable[[dict[str, Any]], object]


def copy_bundle(folder: Path) -> Path:
    """Copy the shipped bundle `mid` into a new folder."""
    return Path(shutil.copytree(newest_bundle(BUNDLES, "mid"), folder))


def edit_card(folder: Path, change: Change) -> None:
    """Change a bundle's card, and nothing that would tell of it."""
    card = json.loads((folder / CARD_FILE).read_text())
    change(card)
    (folder / CARD_FILE).write_text(json.dumps(card))


def shift_cemp(by: float) -> Change:
    """Return a change of a card that calls more stars CEMP, or fewer: it adds to the calibrated logit."""
    return lambda card: card["cemp"].update(offset=card["cemp"]["offset"] + by)


def add_version(root: Path, version: str, change: Change = lambda card: None) -> Path:
    """Put a copy of the shipped bundle under another version, sound, into a folder of bundles."""
    folder = copy_bundle(root / "mid" / version)
    edit_card(folder, lambda card: (card.update(version=version), change(card)))
    write_manifest(folder)
    return folder


def sign(folder: Path, keys: minisign.KeyPair) -> None:
    """Sign a bundle as the tool ``minisign`` does."""
    signature = keys.secret_key.sign((folder / MANIFEST_FILE).read_bytes())
    (folder / SIGNATURE_FILE).write_bytes(bytes(signature) + b"\n")


def public_text(keys: minisign.KeyPair) -> str:
    """Return a public key as it stands in a setting."""
    return bytes(keys.public_key.to_base64()).decode()
