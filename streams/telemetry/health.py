"""One small web server: metrics, liveness and readiness, on one address."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from http import HTTPStatus
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import CollectorRegistry, make_wsgi_app

#: None where all is well, else what is wrong.
Check = Callable[[], str | None]


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _QuietHandler(WSGIRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Log nothing: a scrape every few seconds is not an event."""


class HealthServer:
    """Serve ``/metrics``, ``/live`` and ``/ready``; ``POST /breaker/probe`` lets a batch through.

    Parameters
    ----------
    host, port
        Where to listen; port 0 takes a free one.
    is_live, is_ready
        Return None, or what is wrong (answered with 503).
    on_probe
        Called when an operator asks the breaker to probe.
    """

    def __init__(
        self,
        registry: CollectorRegistry,
        host: str,
        port: int,
        *,
        is_live: Check,
        is_ready: Check,
        on_probe: Callable[[], None],
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
            if path == "/breaker/probe" and method == "POST":
                on_probe()
                return _plain(start, HTTPStatus.ACCEPTED, "the next batch is let through")
            return _plain(start, HTTPStatus.NOT_FOUND, "there are /metrics, /live and /ready")

        self._server = make_server(host, port, serve, server_class=_Server, handler_class=_QuietHandler)
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


def _plain(start: Callable[..., Any], status: HTTPStatus, text: str) -> Iterable[bytes]:
    start(f"{status.value} {status.phrase}", [("Content-Type", "text/plain; charset=utf-8")])
    return [f"{text}\n".encode()]
