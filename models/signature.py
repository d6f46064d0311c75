"""Signatures of bundles: minisign's format, checked offline with the keys that a person trusts."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Iterator
from pathlib import Path
from typing import TypeAlias

import minisign

#: Public keys any of which may have signed; never empty.
Keys: TypeAlias = tuple[minisign.PublicKey, ...]

#: minisign's own limit for a comment, and room for the rest.
_MAX_SIGNATURE_BYTES = 16 * 1024


class SignatureError(ValueError):
    """A signature is not one of these bytes by a trusted key; the message says why."""


def read_keys(given: str) -> Keys:
    """Read the public keys that are trusted.

    Parameters
    ----------
    given
        A key as ``minisign -G`` prints it (``RW…``), or the path of a file of one or more: while a key is
        replaced, both the old and the new are trusted.

    Raises
    ------
    ValueError
        It is neither; the message does not repeat what was given, which may be a private key.
    """
    text = given.strip()
    try:
        return (minisign.PublicKey.from_base64(text),)
    except minisign.Error:
        pass
    path = Path(text)
    if "\n" in text or not path.is_file():
        raise ValueError("it is neither a public key of minisign (RW…) nor a file that holds one")
    return tuple(_keys_of(path))


def _keys_of(path: Path) -> Iterator[minisign.PublicKey]:
    lines = [line.strip() for line in path.read_bytes()[:_MAX_SIGNATURE_BYTES].splitlines()]
    keys = [line for line in lines if line and not line.startswith(b"untrusted comment:")]
    if not keys:
        raise ValueError(f"{path} holds no key")
    for key in keys:
        try:
            yield minisign.PublicKey.from_base64(key)
        except minisign.Error as error:
            raise ValueError(f"{path} holds a line that is no public key of minisign (RW…)") from error


def check_signature(content: bytes, path: Path, keys: Keys) -> None:
    """Check that one of some keys has signed some bytes.

    Parameters
    ----------
    path
        The file of the signature.

    Raises
    ------
    SignatureError
        There is no signature, it is of another key, or it is not one of these bytes.
    """
    names = ", ".join(map(key_id, keys))
    if not path.is_file():
        raise SignatureError(f"{path} is missing; what is loaded here must be signed by key {names}")
    with path.open("rb") as file:
        text = file.read(_MAX_SIGNATURE_BYTES)
    try:
        signature = minisign.Signature.from_bytes(text)
    except minisign.Error as error:
        raise SignatureError(f"{path} is not a signature of minisign: {error}") from error
    signer = _key_id(bytes(signature).splitlines()[1])
    key = next((key for key in keys if key_id(key) == signer), None)
    if key is None:
        raise SignatureError(f"{path} is a signature by key {signer}; what is trusted here is {names}")
    try:
        key.verify(content, signature)
    except minisign.Error as error:
        signed = path.name.removesuffix(".minisig")
        raise SignatureError(f"{path} is not a signature of {signed} as it is; it was changed") from error


def key_id(key: minisign.PublicKey) -> str:
    """Return the number of a key, as minisign shows it."""
    return _key_id(key.to_base64())


def _key_id(line: bytes) -> str:
    """Return the number of the key of a line in base64: 8 bytes after the algorithm's two, little-endian."""
    return f"{int.from_bytes(b64decode(line)[2:10], 'little'):016X}"
