"""A network between a client and a server that may be slow, that can be cut, and that can swallow."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import suppress
from types import TracebackType
from typing import Self

_PIECE_BYTES = 16 * 1024


class Link:
    """Forward connections to a port of this machine, both ways.

    Parameters
    ----------
    target_port
        Where connections are made to.
    address
        Where to listen; port 0 means a free one.

    Attributes
    ----------
    port
        Where it listens.
    bytes_per_s
        How much it carries in each direction, all connections together; None sets no limit.
    n_carried
        How many bytes have reached the server and the clients.
    """

    def __init__(self, target_port: int, address: tuple[str, int] = ("127.0.0.1", 0)) -> None:
        self._target_port = target_port
        self._server = socket.create_server(address)
        self.port = int(self._server.getsockname()[1])
        self.bytes_per_s: float | None = None
        self.n_carried = [0, 0]
        self._free_at_s = [0.0, 0.0]
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._swallowed: set[socket.socket] = set()
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """Break every connection; new ones may be made."""
        with self._lock:
            broken, self._open = self._open, set()
        for one in broken:
            self._close(one)

    def swallow(self) -> None:
        """Leave every connection open and let nothing more through it, either way; new ones carry again."""
        with self._lock:
            self._swallowed |= self._open

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._server.accept()
            except OSError:  # closed
                return
            try:
                server = socket.create_connection(("127.0.0.1", self._target_port))
            except OSError:  # it does not run
                client.close()
                continue
            with self._lock:
                self._open |= {client, server}
            for way, (source, sink) in enumerate(((client, server), (server, client))):
                threading.Thread(target=self._carry, args=(source, sink, way), daemon=True).start()

    def _carry(self, source: socket.socket, sink: socket.socket, way: int) -> None:
        try:
            while piece := source.recv(_PIECE_BYTES):
                self._wait(len(piece), way)
                if source in self._swallowed:
                    continue
                sink.sendall(piece)
                self.n_carried[way] += len(piece)
        except OSError:  # cut, or one side is gone
            pass
        if source in self._swallowed:
            return  # the other side must not learn that this one has gone
        for one in (source, sink):
            self._close(one)

    def _wait(self, n_bytes: int, way: int) -> None:
        if self.bytes_per_s is None:
            return
        with self._lock:
            begins_s = max(time.monotonic(), self._free_at_s[way])
            self._free_at_s[way] = begins_s + n_bytes / self.bytes_per_s
        time.sleep(max(0.0, self._free_at_s[way] - time.monotonic()))

    def _close(self, one: socket.socket) -> None:
        with self._lock:
            self._open.discard(one)
        with suppress(OSError):  # the other side was first
            one.shutdown(socket.SHUT_RDWR)
        one.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close(self._server)  # shut down first: `accept`, which waits, would take one more connection
        self.cut()
