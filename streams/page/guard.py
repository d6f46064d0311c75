"""What keeps the page closed: who may ask for it, and what a browser may do with it."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cempstream.plain import shown
from cempstream.streams.addresses import is_loopback

_LONGEST_NAME = 60

#: The page loads nothing from elsewhere, runs no script but its own, and stands in no frame.
_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}


class Names:
    """The names under which a page may be asked for, against DNS rebinding.

    There a stranger's page gives its own name our address, and reads ours as if it were its own. It cannot do
    so by an address, so addresses are taken; on the loopback those of the loopback alone.

    Parameters
    ----------
    host
        Where the page listens.
    more
        Further names that lead to it.
    """

    def __init__(self, host: str, more: Iterable[str] = ()) -> None:
        self._is_private = is_loopback(host)
        self._names = {"localhost", host.lower(), *(name.lower() for name in more)}

    def admit(self, header: str) -> bool:
        """Say whether a request with this Host header is answered."""
        try:
            name = urlsplit(f"//{header}").hostname or ""
            if name in self._names:
                return True
            address = ipaddress.ip_address(name)
        except ValueError:
            return False
        return address.is_loopback or not self._is_private


class Guard:
    """Answer only who asks by an admitted name, and give every answer the headers of a closed page."""

    def __init__(self, app: ASGIApp, names: Names) -> None:
        self._app = app
        self._names = names

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_closed(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(_HEADERS)
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        asked = Headers(scope=scope).getlist("host")
        if len(asked) == 1 and self._names.admit(asked[0]):
            await self._app(scope, receive, send_closed)
        else:
            name = shown(", ".join(asked) or "no name", longest=_LONGEST_NAME)
            text = f"This page does not go by the name {name}; --name makes it one of its names.\n"
            await PlainTextResponse(text, 421)(scope, receive, send_closed)
