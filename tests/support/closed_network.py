"""Run a command where every name resolves to this machine, and print each query and connection as JSON.

``unshare -n -m python -m tests.support.closed_network SECONDS COMMAND…``: in its own namespaces for network
and mounts, so that nothing leaves and nothing else sees the resolver.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

_HOST = "127.0.0.9"
_ADDRESS_RECORD = 1


class Listener:
    """A resolver and a server for TLS, which note whoever asks."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self._names = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._names.bind(("127.0.0.1", 53))
        self._server = socket.create_server((_HOST, 443))
        for target in (self._resolve, self._accept):
            threading.Thread(target=target, daemon=True).start()

    def _resolve(self) -> None:
        while True:
            query, sender = self._names.recvfrom(4096)
            labels, i = [], 12
            while query[i]:
                labels.append(query[i + 1 : i + 1 + query[i]].decode())
                i += query[i] + 1
            self.seen.append(f"query {'.'.join(labels)}")
            is_address = int.from_bytes(query[i + 1 : i + 3], "big") == _ADDRESS_RECORD
            answer = b"\xc0\x0c\0\x01\0\x01\0\0\0\x01\0\x04" + socket.inet_aton(_HOST) if is_address else b""
            counts = b"\0\x01" + (b"\0\x01" if answer else b"\0\0") + b"\0\0\0\0"
            self._names.sendto(query[:2] + b"\x81\x80" + counts + query[12 : i + 5] + answer, sender)

    def _accept(self) -> None:
        while True:
            connection, _ = self._server.accept()
            self.seen.append("connection")
            connection.close()


def main(seconds: float, command: list[str]) -> None:
    """Run the command, for so long at most or until it has called out."""
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    with tempfile.NamedTemporaryFile("w", suffix=".conf") as resolver:
        resolver.write("nameserver 127.0.0.1\n")
        resolver.flush()
        Path("/etc/resolv.conf").touch()
        subprocess.run(["mount", "--bind", resolver.name, "/etc/resolv.conf"], check=True)
        listener = Listener()
        began_s = time.monotonic()
        process = subprocess.Popen(command, stdout=sys.stderr)
        while process.poll() is None and not listener.seen and time.monotonic() < began_s + seconds:
            time.sleep(0.1)
        took_s = time.monotonic() - began_s
        status = process.poll()
        process.kill()
        process.wait()
    print(json.dumps({"seen": sorted(set(listener.seen)), "took_s": took_s, "status": status}))


if __name__ == "__main__":
    main(float(sys.argv[1]), sys.argv[2:])
