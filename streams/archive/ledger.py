"""What an archive holds, so that nothing is written twice or forgotten, whenever its writer is killed.

A batch of files is first written aside, then named in a line of ``manifest.jsonl``, then moved to its place.
The line decides: what is aside and in no line is deleted at the next start, what is in a line is moved.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self
from uuid import uuid4

import pyarrow as pa
import pyarrow.parquet as pq

from cempstream.errors import FixableError
from cempstream.streams.kafka.places import Place

_MANIFEST, _ASIDE, _LOCK = "manifest.jsonl", ".aside", ".lock"


class ArchiveError(FixableError, RuntimeError):
    """An archive cannot be written; the message says why and what to do."""


@dataclass
class Held:
    """What the manifest says.

    Attributes
    ----------
    next_offsets
        The offset after the last that is held, of each partition.
    files
        Rows of each file, by its path within the archive.
    replaced
        Files that others stand for.
    """

    next_offsets: dict[Place, int] = field(default_factory=dict)
    files: dict[str, int] = field(default_factory=dict)
    replaced: set[str] = field(default_factory=set)

    def take(self, line: Mapping[str, Any]) -> None:
        """Take a line of the manifest."""
        for topic, partition, offset in line["next"]:
            self.next_offsets[topic, partition] = offset
        for path in line.get("replaces", ()):
            self.files.pop(path, None)
            self.replaced.add(path)
        self.files |= line["files"]


class Ledger:
    """An archive's folder, held by one writer.

    Parameters
    ----------
    folder
        Created if absent, unless `is_old`.
    is_old
        Whether there must be an archive already.

    Raises
    ------
    ArchiveError
        Another process writes it, its manifest is no manifest, or there is none.
    """

    def __init__(self, folder: Path, *, is_old: bool = False) -> None:
        if is_old and not (folder / _MANIFEST).is_file():
            raise ArchiveError(f"{folder} is no archive: it has no {_MANIFEST}")
        self.folder = folder
        self._aside = folder / _ASIDE
        self._aside.mkdir(parents=True, exist_ok=True)
        self._lock: IO[str] = (folder / _LOCK).open("w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._lock.close()
            raise ArchiveError(f"{folder}: another process writes this archive") from None
        self.held = Held()
        try:
            self._read_manifest()
            self._settle(sorted(self.held.replaced))
        except BaseException:
            self._lock.close()
            raise

    def commit(
        self,
        tables: Sequence[tuple[str, pa.Table]],
        next_offsets: Mapping[Place, int],
        replaces: Sequence[str] = (),
    ) -> None:
        """Add tables to the archive, all or none of them.

        Parameters
        ----------
        tables
            Each with its folder within the archive.
        next_offsets
            Where each partition goes on.
        replaces
            Files that they stand for, and that are deleted.
        """
        files = {}
        for folder, table in tables:
            path = f"{folder}/{uuid4().hex}.parquet"
            pq.write_table(table, self._aside / Path(path).name, compression="zstd")
            _sync(self._aside / Path(path).name)
            files[path] = table.num_rows
        line = {
            "next": [[*place, offset] for place, offset in sorted(next_offsets.items())],
            "files": files,
            **({"replaces": list(replaces)} if replaces else {}),
        }
        with (self.folder / _MANIFEST).open("a", encoding="utf-8") as manifest:
            manifest.write(json.dumps(line, ensure_ascii=False) + "\n")
            manifest.flush()
            os.fsync(manifest.fileno())
        _sync(self.folder)
        self.held.take(line)
        self._settle(replaces)

    def close(self) -> None:
        """Let others write."""
        self._lock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _read_manifest(self) -> None:
        path = self.folder / _MANIFEST
        if not path.exists():
            if any(self.folder.glob("*/night=*")):
                raise ArchiveError(
                    f"{path} is missing, but there are tables; restore it, or give a new folder"
                )
            return
        text = path.read_bytes()
        whole = text[: text.rfind(b"\n") + 1]
        if len(whole) < len(text):  # the writer was killed within the line, so nothing of it counts
            os.truncate(path, len(whole))
        for number, line in enumerate(whole.splitlines(), start=1):
            try:
                self.held.take(json.loads(line))
            except (ValueError, KeyError, TypeError) as error:
                raise ArchiveError(
                    f"{path}, line {number}: this is no manifest ({error!r}); give an archive's folder or a "
                    "new one"
                ) from error

    def _settle(self, replaced: Sequence[str]) -> None:
        """Do what the manifest says: first delete what others stand for, so that no row is there twice."""
        for path in replaced:
            (self.folder / path).unlink(missing_ok=True)
        at_home = {Path(path).name: path for path in self.held.files}
        for file in self._aside.iterdir():
            home = at_home.get(file.name)
            if home is None:
                file.unlink()
                continue
            (self.folder / home).parent.mkdir(parents=True, exist_ok=True)
            file.replace(self.folder / home)
            _sync((self.folder / home).parent)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
