"""Where exported alerts go: files here, networks in the modules of their formats.

An alert is acknowledged when it is kept: written and flushed, or confirmed by who receives it. So a group
that is stopped at any moment continues with the first alert that was not.
"""

from __future__ import annotations

import os
import re
from abc import ABC, abstractmethod
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from cempstream.errors import FixableError
from cempstream.schemas.alert import Alert

#: What of an alert's id stands in a file's name.
_LONGEST_NAME = 80


class ExportError(FixableError, ValueError):
    """An alert cannot be exported as asked; the message says what would be right."""


class NotDelivered(FixableError, RuntimeError):
    """Who should receive an alert does not take it; the alert stays unacknowledged."""


class Sink(ABC):
    """Takes alerts one after another; `close` ends what was begun."""

    @abstractmethod
    def send(self, alert: Alert) -> None:
        """Take an alert, and acknowledge it at once or at last in `close`.

        Raises
        ------
        NotDelivered
            It was not taken.
        OSError
            It cannot be written.
        """

    def close(self) -> None:  # noqa: B027 - most sinks keep nothing back
        """Write or send what is left."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class LineSink(Sink):
    """One line an alert, at the end of a file or to a stream.

    Parameters
    ----------
    render
        Gives the line, without its end.
    """

    def __init__(self, file: IO[bytes], render: Callable[[Alert], bytes]) -> None:
        self._file = file
        self._render = render

    def send(self, alert: Alert) -> None:
        self._file.write(self._render(alert) + b"\n")
        self._file.flush()
        alert.ack()


class FolderSink(Sink):
    """One file an alert, named after its time and id; a repeated alert replaces its own file.

    Parameters
    ----------
    suffix
        Of the files, ``.xml``.
    """

    def __init__(self, folder: Path, suffix: str, render: Callable[[Alert], bytes]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._suffix = suffix
        self._render = render

    def send(self, alert: Alert) -> None:
        stem = f"{alert.published_at:%Y%m%dT%H%M%SZ}-{safe_name(alert.alert_id)}"
        write_whole(self._folder / f"{stem}{self._suffix}", self._render(alert))
        alert.ack()


def write_whole(path: Path, content: bytes) -> None:
    """Write a file so that its readers see all of it or nothing."""
    partial = path.with_name(f".{path.name}.part")
    partial.write_bytes(content)
    os.replace(partial, path)


def safe_name(text: str) -> str:
    """Return text from outside as part of a file's name: letters, digits and ``-``; unequal stay so."""
    plain = re.sub(r"[^A-Za-z0-9-]", "_", text)[:_LONGEST_NAME]
    if plain == text:
        return plain
    return f"{plain}-{sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()[:8]}"


def ascii_json(line: bytes) -> bytes:
    r"""Return JSON with all but ASCII's printable characters escaped, so that no terminal obeys it."""
    text = line.decode("utf-8", "surrogatepass")
    if text.isascii() and "\x7f" not in text:
        return line
    return re.sub(r"[^\x00-\x7e]", _escaped, text).encode("ascii")


def _escaped(found: re.Match[str]) -> str:
    units = found[0].encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[i]:02x}{units[i + 1]:02x}" for i in range(0, len(units), 2))
