"""The published schemas: one folder per kind and version, each with a sample packet.

They are part of the package, so that no schema registry is needed: the id in a packet's header gives kind
and version. Published versions never change.
"""

from __future__ import annotations

import json
from difflib import unified_diff
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, Self

from cempstream.schemas.avro_schema import SchemaError

_FOLDER = Path(__file__).resolve().parent


class Kind(StrEnum):
    """The kinds of packet."""

    SPECTRUM = "spectrum"
    SCORE = "score"
    ALERT = "alert"
    HEARTBEAT = "heartbeat"
    EXPOSURE = "exposure"
    OBSERVATION = "observation"
    STAR = "star"

    @property
    def number(self) -> int:
        """The kind's part of a schema id."""
        return list(Kind).index(self) + 1


class Version(NamedTuple):
    """Version of a schema: a new major version is a new topic, a new minor one adds optional fields."""

    major: int
    minor: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``1.0``.

        Raises
        ------
        SchemaError
            The text is not two numbers with a point between.
        """
        major, point, minor = text.partition(".")
        if not (point and major.isdecimal() and minor.isdecimal() and int(minor) < 100):
            raise SchemaError(f"'{text}' is not a schema version; one is written like 1.0")
        return cls(int(major), int(minor))

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}"


@cache
def versions(kind: Kind) -> tuple[Version, ...]:
    """Return the known versions, oldest first."""
    folders = (path.parent.name for path in (_FOLDER / kind).glob("*/schema.avsc"))
    return tuple(sorted(Version.parse(name) for name in folders))


def latest(kind: Kind) -> Version:
    """Return the version that is written."""
    return versions(kind)[-1]


def schema_id(kind: Kind, version: Version) -> int:
    """Return the number in a packet's header: kind * 10000 + major * 100 + minor."""
    return kind.number * 10_000 + version.major * 100 + version.minor


def kind_and_version(number: int) -> tuple[Kind, Version] | None:
    """Return kind and version of an id in our numbering, known or not; None for any other id."""
    kind_number, rest = divmod(number, 10_000)
    if not 1 <= kind_number <= len(Kind) or rest < 100:
        return None
    return list(Kind)[kind_number - 1], Version(*divmod(rest, 100))


def schema_text(kind: Kind, version: Version | None = None) -> str:
    """Return a schema as published, the latest unless a version is given.

    Raises
    ------
    SchemaError
        There is no such version.
    """
    version = version or latest(kind)
    if version not in versions(kind):
        raise SchemaError(f"there is no {kind} schema {version}; there are {known(kind)}")
    return (_FOLDER / kind / str(version) / "schema.avsc").read_text(encoding="utf-8")


@cache
def schema(kind: Kind, version: Version | None = None) -> dict[str, Any]:
    """Return a schema as JSON gives it; it is shared, so copy it before you change it."""
    parsed: dict[str, Any] = json.loads(schema_text(kind, version))
    return parsed


def sample_path(kind: Kind, version: Version) -> Path:
    """Return the path of the sample packet of a version."""
    return _FOLDER / kind / str(version) / "sample.bin"


def sample(kind: Kind, version: Version | None = None) -> bytes:
    """Return the sample packet of a version: a framed packet as in a topic."""
    return sample_path(kind, version or latest(kind)).read_bytes()


def known(kind: Kind) -> str:
    """Return the versions of a kind as text for a message."""
    return ", ".join(map(str, versions(kind)))


def diff(kind: Kind, older: Version, newer: Version) -> str:
    """Return what changed between two versions of a schema, as a unified diff; empty if none."""
    lines = unified_diff(
        schema_text(kind, older).splitlines(),
        schema_text(kind, newer).splitlines(),
        f"{kind} {older}",
        f"{kind} {newer}",
        lineterm="",
    )
    return "\n".join(lines)
