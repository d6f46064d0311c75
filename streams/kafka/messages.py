"""Messages as values: one on its way to Kafka, and where one that was read came from."""

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
    """One message on its way to Kafka."""

    topic: str
    key: bytes | None
    value: bytes
    headers: Headers = ()


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
            The header says another word, or several. It may have meant a recording: it never pages anyone.
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
    """Return headers as librdkafka gives them: a list, or nothing; a value may be absent."""
    if not isinstance(headers, Iterable):
        return ()
    return tuple((str(name), bytes(value or b"")) for name, value in headers)
