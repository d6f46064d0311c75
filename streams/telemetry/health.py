"""One small web server: metrics, liveness and readiness, on one address."""

from __future__ import annotations

import errno
import ipaddress
import socket
import threading
from collections import deque
from collections.abc import Callable, Iterable
from http import HTTPStatus
from socketserver import ThreadingMixIn
from typing import Any
from urllib.parse import parse_qs, urlsplit
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import CollectorRegistry, make_wsgi_app

from cempstream.errors import FixableError

#: None where all is well, else what is wrong.
Check = Callable[[], str | None]

#: A request must be sent, and its answer taken, within so many seconds.
_PATIENCE_S = 5.0

#: Requests under way at once; the oldest is cut off for a new one, so that none that hangs keeps others out.
_MOST_AT_ONCE = 32


class AddressInUse(FixableError, RuntimeError):
    """The port for metrics and health belongs to another process."""


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._open: deque[socket.socket] = deque()

    def process_request(self, request: Any, client_address: Any) -> None:
        self._open.append(request)
        while len(self._open) > _MOST_AT_ONCE:
            self.shutdown_request(self._open.popleft())
        super().process_request(request, client_address)

    def close_request(self, request: Any) -> None:
        if request in self._open:
            self._open.remove(request)
        super().close_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a client that went away, was cut off or took too long."""


class _QuietHandler(WSGIRequestHandler):
    timeout = _PATIENCE_S

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing: a scrape every few seconds is not an event."""


class HealthServer:
    """Serve ``/metrics``, ``/live`` and ``/ready``, and ``POST /breaker/probe`` where there is one.

    Parameters
    ----------
    host, port
        Where to listen; port 0 takes a free one.
    is_live, is_ready
        Return None, or what is wrong (answered with 503).
    on_probe
        Called with a topic when an operator asks its breaker to probe, or with None for every breaker; raises
        `KeyError` for a topic that it does not know. None where there is no breaker, or no one may.
    port_setting
        What sets the port, for the message where it is taken.

    Raises
    ------
    AddressInUse
        Another process listens there.
    """

    def __init__(
        self,
        registry: CollectorRegistry,
        host: str,
        port: int,
        *,
        is_live: Check,
        is_ready: Check,
        on_probe: Callable[[str | None], None] | None,
        port_setting: str = "CEMP_METRICS__PORT",
    ) -> None:
        metrics = make_wsgi_app(registry)
        checks = {"/live": is_live, "/ready": is_ready}

        def serve(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
            path, method = environ["PATH_INFO"], environ["REQUEST_METHOD"]
            if path == "/metrics":
                answer: Iterable[bytes] = metrics(environ, start)
                return answer
            if path in checks:
                problem = checks[path]()
                status = HTTPStatus.OK if problem is None else HTTPStatus.SERVICE_UNAVAILABLE
                return _plain(start, status, problem or "ok")
            if path == "/breaker/probe" and method == "POST" and on_probe is not None:
                if not _is_direct(environ.get("HTTP_HOST", ""), host):
                    return _plain(start, HTTPStatus.FORBIDDEN, "ask by address: a name may be anyone's")
                (topic,) = parse_qs(environ.get("QUERY_STRING", "")).get("topic", [None])[-1:]
                try:
                    on_probe(topic)
                except KeyError:
                    return _plain(start, HTTPStatus.BAD_REQUEST, "that topic is not read here")
                return _plain(start, HTTPStatus.ACCEPTED, "the next batch is let through")
            return _plain(start, HTTPStatus.NOT_FOUND, "there are /metrics, /live and /ready")

        try:
            self._server = make_server(host, port, serve, server_class=_Server, handler_class=_QuietHandler)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            raise AddressInUse(
                f"{host}:{port} is in use by another process; give {port_setting} a free port, or 0 for any"
            ) from error
        self.address = f"http://{host}:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, name="health", daemon=True)

    def start(self) -> None:
        """Serve in a thread."""
        self._thread.start()

    def stop(self) -> None:
        """Stop serving and free the port."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def _is_direct(host_header: str, host: str) -> bool:
    """Whether a request names us by address; a page in a browser reaches us by a name that it chose."""
    name = urlsplit(f"//{host_header}").hostname or ""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return name in {"localhost", host.lower(), socket.gethostname().lower()}
    return True


def _plain(start: Callable[..., Any], status: HTTPStatus, text: str) -> Iterable[bytes]:
    start(f"{status.value} {status.phrase}", [("Content-Type", "text/plain; charset=utf-8")])
    return [f"{text}\n".encode()]
