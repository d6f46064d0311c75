"""The port for metrics and health: what it answers, and what cannot keep it from answering."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from http.client import HTTPConnection

import pytest
from prometheus_client import CollectorRegistry

from cempstream.streams.telemetry.health import AddressInUse, HealthServer

pytestmark = pytest.mark.timeout(60)


class Probes:
    """For which topics an operator asked; None stands for all."""

    def __init__(self) -> None:
        self.asked: list[str | None] = []

    def ask(self, topic: str | None) -> None:
        if topic not in (None, "lamost.spectra.v1", "a topic"):
            raise KeyError(topic)
        self.asked.append(topic)


def server_of(probes: Probes | None, port: int = 0) -> HealthServer:
    return HealthServer(
        CollectorRegistry(),
        "127.0.0.1",
        port,
        is_live=lambda: None,
        is_ready=lambda: "not yet",
        on_probe=None if probes is None else probes.ask,
    )


@pytest.fixture
def probes() -> Probes:
    return Probes()


@pytest.fixture
def server(probes: Probes) -> Iterator[HealthServer]:
    server = server_of(probes)
    server.start()
    yield server
    server.stop()


def port_of(server: HealthServer) -> int:
    return int(server.address.rpartition(":")[2])


def ask(server: HealthServer, path: str, method: str = "GET", **headers: str) -> int:
    connection = HTTPConnection("127.0.0.1", port_of(server), timeout=20)
    connection.request(method, path, headers=headers)
    status = connection.getresponse().status
    connection.close()
    return status


def test_it_answers_what_it_has(server: HealthServer) -> None:
    assert [ask(server, path) for path in ("/metrics", "/live", "/ready", "/else")] == [200, 200, 503, 404]


def test_a_probe_is_asked_for_by_address(server: HealthServer, probes: Probes) -> None:
    assert ask(server, "/breaker/probe", "POST", Host="evil.example:9464") == 403
    assert ask(server, "/breaker/probe", "POST", Host="") == 403
    assert ask(server, "/breaker/probe") == 404
    assert probes.asked == []
    for host in ("127.0.0.1:9464", "localhost", "[::1]:9464", socket.gethostname()):
        assert ask(server, "/breaker/probe", "POST", Host=host) == 202
    assert probes.asked == [None] * 4


def test_a_probe_may_be_of_one_topic(server: HealthServer, probes: Probes) -> None:
    assert ask(server, "/breaker/probe?topic=lamost.spectra.v1", "POST") == 202
    assert ask(server, "/breaker/probe?topic=a%20topic", "POST") == 202
    assert ask(server, "/breaker/probe?topic=desi.spectra.v1", "POST") == 400
    assert ask(server, "/breaker/probe?topic=", "POST") == 202
    assert probes.asked == ["lamost.spectra.v1", "a topic", None]


def test_where_no_one_may_probe_there_is_no_such_page() -> None:
    server = server_of(None)
    server.start()
    assert ask(server, "/breaker/probe", "POST") == 404
    server.stop()


def test_half_open_requests_keep_no_one_out(server: HealthServer) -> None:
    hanging = [socket.create_connection(("127.0.0.1", port_of(server))) for _ in range(200)]
    for one in hanging:
        one.sendall(b"GET /metr")
    assert ask(server, "/metrics") == 200
    # The oldest were cut off for the later ones: the server has closed them.
    hanging[0].settimeout(20)
    assert hanging[0].recv(1) == b""
    for one in hanging:
        one.close()


def test_a_port_that_is_taken_is_named_with_its_setting(server: HealthServer) -> None:
    with pytest.raises(AddressInUse, match=rf"127\.0\.0\.1:{port_of(server)} .* CEMP_METRICS__PORT"):
        server_of(None, port_of(server))
