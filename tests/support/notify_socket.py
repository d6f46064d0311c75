"""The socket on which a service tells systemd how it is."""

from __future__ import annotations

import os
import socket
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self


class NotifySocket:
    """A datagram socket as systemd provides it."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self.path = str(Path(self._folder.name) / "notify")
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(self.path)
        self._socket.settimeout(120)

    @property
    def environment(self) -> dict[str, str]:
        """What the service finds in its environment."""
        return {**os.environ, "NOTIFY_SOCKET": self.path}

    def wait_for(self, state: str) -> list[str]:
        """Return what was told up to and with a state; the wait for one datagram is limited."""
        told = [self._socket.recv(4096).decode()]
        while told[-1] != state:
            told.append(self._socket.recv(4096).decode())
        return told

    def rest(self) -> list[str]:
        """Return what was told since and is not read yet."""
        self._socket.setblocking(False)
        told = []
        try:
            while True:
                told.append(self._socket.recv(4096).decode())
        except BlockingIOError:
            self._socket.settimeout(120)
            return told

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()
        self._folder.cleanup()
