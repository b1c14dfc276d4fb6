"""The proxy on the way to an address, where the environment names one: HTTP_PROXY, HTTPS_PROXY, and NO_PROXY's exceptions.

The HTTP library is not told to trust the environment. It would then read ~/.netrc as well, and show the login that stands
there to whatever host a deploy file names; a request with a login of its own would fail, as it cannot have two; and each
request would make two hops through threads. Only the proxy is taken from the environment.
"""

from __future__ import annotations

import urllib.request
from urllib.parse import urlsplit

from yarl import URL

from engine.errors import HeadgateError


class ProxyUnusable(HeadgateError):
    """The message does not repeat the proxy's address, which may hold a login."""


def proxy_of_environment(url: URL) -> str | None:
    """None where there is none, or where the host of `url` is one of its exceptions. Raises `ProxyUnusable`."""
    if urllib.request.proxy_bypass(url.host or ""):
        return None
    proxy = urllib.request.getproxies().get(url.scheme)
    return None if proxy is None else checked_proxy(proxy)


def checked_proxy(proxy: str) -> str:
    """Raises `ProxyUnusable` for one that could not be used."""
    try:
        scheme = urlsplit(proxy).scheme
    except ValueError:
        raise ProxyUnusable("the address of the proxy is malformed") from None
    if scheme not in ("http", "https"):
        raise ProxyUnusable(f"a proxy of the kind {scheme!r} is not supported, only http and https")
    return proxy
