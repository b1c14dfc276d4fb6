"""Which headers pass between a preview's visitor and the Service, and what becomes of addresses in answers. Pure.

Nothing that means something to Headgate or to the API server gets through: no login (ours or a visitor's), no cookies (they would
be of Headgate's own host), and none of the headers by which a trusted proxy acts for somebody else. What the Service answers is
shown under Headgate's own host name, so it is kept in a sandbox: a browser takes it for a page of no host at all, which can read
nothing that Headgate's own page keeps. The address itself is the only login of a preview, so any page that has it may use it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from urllib.parse import urlsplit

Headers = Iterable[tuple[str, str]]

_HOP_BY_HOP = frozenset(
    {
        "connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection", "te", "trailer",
        "transfer-encoding", "upgrade",
    }
)  # fmt: skip
_NOT_SENT_ON = frozenset(
    {"accept-encoding", "authorization", "cookie", "expect", "forwarded", "host", "referer", "x-api-key", "x-real-ip"}
)
_ACTING_FOR_OTHERS = ("impersonate-", "x-forwarded-", "x-remote-")
_NOT_SENT_BACK = frozenset(
    {
        "access-control-allow-credentials", "access-control-allow-origin", "alt-svc", "audit-id", "clear-site-data",
        "cross-origin-opener-policy", "cross-origin-resource-policy", "location", "nel", "report-to", "reporting-endpoints",
        "service-worker-allowed", "set-cookie", "set-cookie2", "strict-transport-security",
    }
)  # fmt: skip
SANDBOX = (
    "sandbox allow-scripts allow-forms allow-modals allow-downloads allow-popups allow-popups-to-escape-sandbox "
    "allow-pointer-lock allow-orientation-lock"
)
"""Without allow-same-origin, which would give the page Headgate's own origin."""
CROSS_ORIGIN = {
    "Access-Control-Allow-Origin": "*",
    "Cross-Origin-Resource-Policy": "cross-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}
"""A page in the sandbox is a stranger to its own address: without these it could not load its own scripts and data."""
_OF_THE_API_SERVER = ("x-kubernetes-",)
HTML = "text/html"


def sent_on(headers: Headers, ours: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """The visitor's headers for the Service, with ours: where it is seen from outside."""
    given = tuple(headers)
    dropped = _HOP_BY_HOP | _NOT_SENT_ON | _named_by_connection(given)
    kept = [
        (name, value) for name, value in given if name.lower() not in dropped and not name.lower().startswith(_ACTING_FOR_OTHERS)
    ]
    if not any(name.lower() == "accept" for name, _ in kept):
        kept.append(("Accept", "*/*"))
    # An encoded page could not be read for the addresses in it.
    return (*kept, ("Accept-Encoding", "identity"), *ours.items())


def sent_back(headers: Headers, *, is_rewritten: bool) -> tuple[tuple[str, str], ...]:
    """The Service's headers for the visitor, without its Location, which is told apart. Referrers would give the address away."""
    given = tuple(headers)
    dropped = _HOP_BY_HOP | _NOT_SENT_BACK | _named_by_connection(given) | ({"content-length"} if is_rewritten else set())
    kept = [
        (name, value) for name, value in given if name.lower() not in dropped and not name.lower().startswith(_OF_THE_API_SERVER)
    ]
    if not any(name.lower() == "referrer-policy" for name, _ in kept):
        kept.append(("Referrer-Policy", "same-origin"))
    return (*kept, ("Content-Security-Policy", SANDBOX), *CROSS_ORIGIN.items(), ("X-Robots-Tag", "noindex"))


def _named_by_connection(headers: Headers) -> frozenset[str]:
    named = [value.split(",") for name, value in headers if name.lower() == "connection"]
    return frozenset(word.strip().lower() for words in named for word in words)


def value_of(headers: Headers, wanted: str) -> str:
    """The first value of a header; empty where there is none."""
    return next((value for name, value in headers if name.lower() == wanted), "")


def rewritten_location(location: str, inner: str, outer: str) -> str:
    """`inner`: the Service's path at the API server, without a slash at its end; `outer`: its preview path, likewise.

    The API server puts its own path, and sometimes its own host, in front of what the Service says.
    """
    parts = urlsplit(location)
    path = location if not parts.netloc else parts._replace(scheme="", netloc="").geturl()
    if path == inner or path.startswith((f"{inner}/", f"{inner}?")):
        return outer + (path.removeprefix(inner) or "/")
    if not parts.netloc and location.startswith("/") and not location.startswith("//"):
        return outer + location
    return location


async def rewritten_page(chunks: AsyncIterator[bytes], inner: str, outer: str) -> AsyncIterator[bytes]:
    """A page as it comes, with the preview's path in the place of the API server's, which that writes into links."""
    old, new, rest = inner.encode(), outer.encode(), b""
    async for chunk in chunks:
        rest = (rest + chunk).replace(old, new)
        # What may be the beginning of one more waits for the next chunk. The new path never holds the old one.
        keep = next((size for size in range(min(len(old) - 1, len(rest)), 0, -1) if old.startswith(rest[-size:])), 0)
        piece, rest = (rest[:-keep], rest[-keep:]) if keep else (rest, b"")
        if piece:
            yield piece
    if rest:
        yield rest
