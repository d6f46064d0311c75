"""Messages as values: one to be sent to Kafka, and the origin of one that was read."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias, get_args

from cempstream.processors.spectrum import BadSpectrum, Reason
from cempstream.schemas.stamp import Tense

Headers: TypeAlias = tuple[tuple[str, bytes], ...]

_TENSES = frozenset(get_args(Tense))


@dataclass(frozen=True, slots=True)
class OutMessage:
    """One message to be sent to Kafka.

    Attributes
    ----------
    value
        None deletes what a compacted topic holds of the key.
    partition
        None leaves it to the key.
    """

    topic: str
    key: bytes | None
    value: bytes | None
    headers: Headers = ()
    partition: int | None = None


@dataclass(frozen=True, slots=True)
class PacketOrigin:
    """Where a packet came from.

    Attributes
    ----------
    timestamp_ms
        The broker's or the producer's time of the message, milliseconds since 1970.
    """

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    headers: Headers

    @property
    def tense(self) -> Tense:
        """Whether the packet is tonight's, a replayed one, an injection or a test.

        Without a header it is tonight's; case and blanks do not matter.

        Raises
        ------
        BadSpectrum
            The header has an unknown value, or several. A recording may have been meant, so it alerts no one.
        """
        said = {value.decode("utf-8", "replace") for name, value in self.headers if name == "tense"}
        words = {word.strip().lower() for word in said}
        if not words:
            return "current"
        if len(words) == 1 and (word := words.pop()) in _TENSES:
            return word  # type: ignore[return-value] # one of the literal's own values
        raise BadSpectrum(
            Reason.UNKNOWN_TENSE,
            f"the header 'tense' says {' and '.join(repr(word[:50]) for word in sorted(said))}; "
            f"it must be one of {', '.join(sorted(_TENSES))}",
        )


def header_pairs(headers: object) -> Headers:
    """Return headers as pairs; librdkafka gives a list or None, and a value may be None."""
    if not isinstance(headers, Iterable):
        return ()
    return tuple((str(name), bytes(value or b"")) for name, value in headers)
