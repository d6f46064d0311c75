"""Addresses as a person writes them: ``host:port``, of brokers with commas between them."""

from __future__ import annotations

import ipaddress
import re

from cempstream.errors import FixableError

_ADDRESS = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[\w.-]+)(?::([0-9]{1,5}))?")


class AddressError(FixableError, ValueError):
    """A text is not an address; the message says how one is written."""


def parse_brokers(text: str) -> str:
    """Return the addresses of brokers as they were given, once they are checked.

    Raises
    ------
    AddressError
        One of them is not ``host`` or ``host:port``.
    """
    for address in text.split(","):
        if not is_address(address.strip()):
            raise AddressError(f"{address!r} is not a broker's address; write host:port, like 127.0.0.1:9092")
    return text


def is_address(text: str) -> bool:
    """Say whether a text is a host, with or without a port from 1 to 65535."""
    found = _ADDRESS.fullmatch(text)
    return found is not None and (found[1] is None or 0 < int(found[1]) < 65536)


def is_loopback(host: str) -> bool:
    """Say whether a host is this machine, by its name or address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"
