"""The manifest of a bundle: the size and sha256 of every file, so that one hash stands for the whole.

``manifest.json`` names every file of the folder; its own sha256 is the bundle's. A signature of it, in
``manifest.json.minisig``, therefore covers every number and every network. Hidden files are not looked at;
any other file that the manifest does not name is an error, as one that it names and the folder lacks.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cempstream.errors import FixableError
from cempstream.models.card import FileName, Sha256
from cempstream.models.signature import Keys, SignatureError, check_signature

MANIFEST_FILE = "manifest.json"
SIGNATURE_FILE = f"{MANIFEST_FILE}.minisig"

#: A card, four networks and the templates take 300 bytes each.
_MAX_MANIFEST_BYTES = 1024 * 1024


class BundleError(FixableError, RuntimeError):
    """A bundle is not what it says it is; the message names the file and what would be right."""


class FileEntry(BaseModel):
    """What a file of the bundle is."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sha256: Sha256
    size: Annotated[int, Field(ge=0)]


class Manifest(BaseModel):
    """Every file of a bundle but the manifest itself and its signature, by its name."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Literal[1] = 1
    files: dict[FileName, FileEntry]


@dataclass(frozen=True, slots=True, eq=False)
class BundleFiles:
    """The files of a bundle, each the one that its manifest describes.

    Attributes
    ----------
    sha256
        Of the manifest, so of everything in it.
    contents
        The bytes of each file by its name: those that were hashed are those that are used.
    digests
        sha256 of each file by its name.
    """

    folder: Path
    sha256: str
    contents: Mapping[str, bytes] = field(repr=False)
    digests: Mapping[str, str] = field(repr=False)


def read_files(folder: Path, keys: Keys | None = None) -> BundleFiles:
    """Read a bundle's files and check each against the manifest, and that against its signature.

    Parameters
    ----------
    keys
        Who may have signed it; None where a signature is not asked for.

    Raises
    ------
    BundleError
        The manifest is missing, is not signed by a trusted key or cannot be read; a file is missing, is not
        the one of the manifest, lies outside the folder, or is not on the manifest.
    """
    path = folder / MANIFEST_FILE
    if not path.is_file():
        raise BundleError(
            f"{path} is missing, so that no change would be noticed; "
            f"`cempstream bundle manifest {folder}` writes it for a bundle that you trust"
        )
    content = _read(path, folder, _MAX_MANIFEST_BYTES)
    if keys is not None:
        try:
            check_signature(content, folder / SIGNATURE_FILE, keys)
        except SignatureError as error:
            raise BundleError(str(error)) from error
    try:
        manifest = Manifest.model_validate_json(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "manifest"
        raise BundleError(f"{path}: '{where}': {first['msg']}") from error
    extra = sorted(_names(folder) - manifest.files.keys())
    if extra:
        raise BundleError(f"{folder / extra[0]} is not on the manifest; remove it, or write a new manifest")
    contents = {name: _read_entry(folder, name, entry) for name, entry in manifest.files.items()}
    digests = {name: entry.sha256 for name, entry in manifest.files.items()}
    return BundleFiles(folder, sha256(content).hexdigest(), contents, digests)


def describe_files(folder: Path) -> tuple[bytes, BundleFiles]:
    """Return the manifest that a folder's files would have now, and the files.

    Raises
    ------
    BundleError
        Something in the folder is not a file of it, or has a name that no manifest may hold.
    """
    contents = {name: _read(folder / name, folder) for name in sorted(_names(folder))}
    digests = {name: sha256(content).hexdigest() for name, content in contents.items()}
    try:
        manifest = Manifest(
            files={name: FileEntry(sha256=digests[name], size=len(contents[name])) for name in contents}
        )
    except ValidationError as error:
        raise BundleError(
            f"{folder}: {error.errors()[0]['loc'][1]!r} is no name for a file of a bundle"
        ) from error
    content = (json.dumps(manifest.model_dump(mode="json"), indent=1) + "\n").encode()
    return content, BundleFiles(folder, sha256(content).hexdigest(), contents, digests)


def _names(folder: Path) -> set[str]:
    """Return what a manifest has to name: all that is not hidden, such as the links of a mounted volume."""
    found = {path.name for path in folder.iterdir() if not path.name.startswith(".")}
    return found - {MANIFEST_FILE, SIGNATURE_FILE}


def _read_entry(folder: Path, name: str, entry: FileEntry) -> bytes:
    path = folder / name
    if not path.exists():
        raise BundleError(f"{path} is on the manifest but not in the folder")
    content = _read(path, folder, entry.size + 1)
    if len(content) != entry.size:
        found = f"{len(content)} bytes" if len(content) < entry.size else "more bytes"
        raise BundleError(f"{path} has {found}; its manifest says {entry.size}")
    digest = sha256(content).hexdigest()
    if digest != entry.sha256:
        raise BundleError(f"{path} has sha256 {digest[:12]}…; its manifest says {entry.sha256[:12]}…")
    return content


def _read(path: Path, folder: Path, most: int = -1) -> bytes:
    """Read at most some bytes of a file of the folder, never one that a link leads to elsewhere."""
    if not path.resolve().is_relative_to(folder.resolve()):
        raise BundleError(f"{path} leads out of its folder, to {path.resolve()}; put the file itself there")
    if not path.is_file():
        raise BundleError(f"{path} is not a file; a bundle is a folder of files")
    with path.open("rb") as file:
        return file.read(most)
