"""Under which names the daemon answers over TCP.

A page of a stranger can have its own name point at this daemon (DNS rebinding) and then counts, for the browser, as the
daemon's own page. An address is no name and cannot be pointed elsewhere, so addresses always hold; of names only those
that the settings and the machine itself give do.
"""

from __future__ import annotations

import ipaddress
import socket
from urllib.parse import urlsplit

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from adapters.http.bodies import ErrorCode
from adapters.http.failures import ApiFailure
from adapters.settings import Address

LOOPBACK_NAME = "localhost"
_HARMLESS = frozenset({"GET", "HEAD", "OPTIONS"})
_FOR_EVERYBODY = ("/v1/callbacks/", "/v1/previews/")


def refuse_other_hosts(listen: Address | None, public_url: str | None) -> Middleware:
    """A middleware that refuses requests over TCP that call the daemon by a name that is not its own."""
    names = {LOOPBACK_NAME}
    if listen is not None:
        names.add(_plain(listen.host))
    if public_url is not None:
        names.add(_plain(urlsplit(public_url).hostname or ""))

    @web.middleware
    async def refuse(request: web.Request, handler: Handler) -> web.StreamResponse:
        connection = request.get_extra_info("socket")
        if connection is None or connection.family != socket.AF_UNIX:
            name = _called(request.headers.getall("Host", []))
            if name not in names and not _is_address(name):
                raise ApiFailure(
                    ErrorCode.MISDIRECTED,
                    f'this daemon is not called {name[:80] or "nothing"}; ask it by its address, or set publicUrl to the name '
                    "that it has",
                )
        return await handler(request)

    return refuse


def refuse_other_origins(public_url: str | None) -> Middleware:
    """A middleware that refuses orders which a browser says that a page of somebody else gives.

    A token is in no cookie, so no such page has one; a client certificate is sent along by browsers whoever asks. What is
    reached by an address with a token of its own (callbacks, previews) is meant for everybody.
    """
    public = _plain(urlsplit(public_url).hostname or "") if public_url is not None else ""

    @web.middleware
    async def refuse(request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.method not in _HARMLESS and not request.path.startswith(_FOR_EVERYBODY):
            ours = {_called(request.headers.getall("Host", [])), public} - {""}
            if _is_of_a_stranger(request.headers.get("Sec-Fetch-Site"), request.headers.get("Origin"), ours):
                message = "a page of another site may not give orders here; if it is this daemon's own, set publicUrl"
                raise ApiFailure(ErrorCode.FORBIDDEN, message)
        return await handler(request)

    return refuse


def _is_of_a_stranger(site: str | None, origin: str | None, ours: set[str]) -> bool:
    """Browsers say `Sec-Fetch-Site` where the connection is safe, and `Origin` everywhere; other programs say neither."""
    if site is not None:
        return site.strip().lower() not in ("same-origin", "none")
    if origin is None:
        return False
    try:
        return _plain(urlsplit(origin.strip()).hostname or "") not in ours
    except ValueError:
        return True


def _called(headers: list[str]) -> str:
    """The name that the request calls the daemon by, without the port; empty when it is none, or more than one."""
    if len(headers) != 1:
        return ""
    try:
        return _plain(urlsplit(f"//{headers[0].strip()}").hostname or "")
    except ValueError:
        return ""


def _plain(name: str) -> str:
    return name.lower().removesuffix(".")


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name.partition("%")[0])
    except ValueError:
        return False
    return True
