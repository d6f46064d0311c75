"""The web server in a thread, so that the stream is read as it always is: in the main one."""

from __future__ import annotations

import logging
import socket
import threading
from types import TracebackType
from typing import Self

import uvicorn
from starlette.types import ASGIApp

from cempstream.errors import FixableError

#: More connections than these are refused; a browser holds one or two.
_MOST_CONNECTIONS = 200

_START_TIMEOUT_S = 30.0
_END_TIMEOUT_S = 5


class CannotListen(FixableError, RuntimeError):
    """The address for the page cannot be had; the message says why."""


class PageServer:
    """Serve an application at an address; as a context manager it listens from the first line on.

    Parameters
    ----------
    port
        0 takes a free one.

    Raises
    ------
    CannotListen
        The address belongs to another process, or is none of this machine's.
    """

    def __init__(self, app: ASGIApp, host: str, port: int) -> None:
        self._socket = _listen(host, port)
        self.port = int(self._socket.getsockname()[1])
        self.url = f"http://{f'[{host}]' if ':' in host else host}:{self.port}/"
        logging.getLogger("uvicorn").setLevel(logging.WARNING)  # that it has started is no event
        self._server = uvicorn.Server(
            uvicorn.Config(
                app,
                http="h11",
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                limit_concurrency=_MOST_CONNECTIONS,
                timeout_graceful_shutdown=_END_TIMEOUT_S,
            )
        )
        self._thread = threading.Thread(
            target=self._server.run, args=([self._socket],), name="page", daemon=True
        )

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.should_exit = True
        self._thread.join(2 * _END_TIMEOUT_S)
        self._socket.close()


def _listen(host: str, port: int) -> socket.socket:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=128)
    except OSError as error:
        why = error.strerror or str(error)
        raise CannotListen(
            f"{host}:{port}: {why}; --host is an address of this machine, --port 0 any free port"
        ) from error
