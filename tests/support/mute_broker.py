"""A broker that answers some kinds of request and leaves others without an answer."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterable
from contextlib import suppress
from enum import IntEnum
from types import TracebackType
from typing import Self

from cempstream.streams.rehearsal import embedded
from cempstream.streams.rehearsal.child_process import ChildProcess

_HOST = "127.0.0.1"


class Request(IntEnum):
    """Kafka's number of a kind of request."""

    PRODUCE = 0
    FETCH = 1
    LIST_OFFSETS = 2
    OFFSET_COMMIT = 8
    OFFSET_FETCH = 9
    FIND_COORDINATOR = 10
    DESCRIBE_CONFIGS = 32


class MuteBroker:
    """An embedded broker whose clients speak to a go-between, which swallows the kinds of `mute`.

    Attributes
    ----------
    n_swallowed
        How many requests have got no answer since `silence` was last called.
    """

    def __init__(self) -> None:
        self.mute: frozenset[Request] = frozenset()
        self.n_swallowed = 0
        self._server = socket.create_server((_HOST, 0))
        self.bootstrap = f"{_HOST}:{self._server.getsockname()[1]}"
        self._port = embedded.free_port()
        self._sockets: list[socket.socket] = []
        self._broker = ChildProcess(
            [
                str(embedded._tansu_path()),
                "broker",
                f"--listener-url=tcp://{_HOST}:{self._port}",
                f"--advertised-listener-url=tcp://{self.bootstrap}",
            ],
            env={"STORAGE_ENGINE": "memory://tansu/"},
        )

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        embedded.wait_until_serving(self.bootstrap, self._broker, 120.0)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._broker.kill()
        self._server.close()
        for one in self._sockets:
            one.close()

    def silence(self, kinds: Iterable[Request]) -> None:
        """Leave these kinds of request without an answer from now on."""
        self.n_swallowed = 0
        self.mute = frozenset(kinds)

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._server.accept()
                try:
                    broker = socket.create_connection((_HOST, self._port))
                except OSError:  # it does not serve yet
                    client.close()
                    continue
                self._sockets += [client, broker]
                threading.Thread(target=self._pass_requests, args=(client, broker), daemon=True).start()
                threading.Thread(target=self._pass_answers, args=(broker, client), daemon=True).start()

    def _pass_requests(self, client: socket.socket, broker: socket.socket) -> None:
        """Forward request after request; each begins with its length and its kind."""
        with suppress(OSError), client.makefile("rb") as stream:
            while len(head := stream.read(4)) == 4:
                request = stream.read(int.from_bytes(head, "big"))
                if int.from_bytes(request[:2], "big") in self.mute:
                    self.n_swallowed += 1
                else:
                    broker.sendall(head + request)
            broker.close()

    def _pass_answers(self, broker: socket.socket, client: socket.socket) -> None:
        with suppress(OSError):
            while part := broker.recv(65536):
                client.sendall(part)
            client.close()
