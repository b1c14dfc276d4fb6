"""Why a request of ours got no answer, in words of our own. The HTTP library's repeat whole addresses, with a proxy's login in
them, and what the other side has said, which may be what it was told."""

from __future__ import annotations

import os
import ssl
from http import HTTPStatus

import aiohttp


def why_unanswered(error: Exception) -> str:
    """The rest of a sentence that begins with who was asked."""
    match error:
        case aiohttp.ClientHttpProxyError():
            return f"was not reached: the proxy answered {status_words(error.status)}"
        case aiohttp.ClientProxyConnectionError():
            return f"was not reached: the proxy cannot be reached: {_system_words(error)}"
        case aiohttp.ClientConnectorCertificateError():
            reason = getattr(error.certificate_error, "verify_message", "") or "it is not trusted"
            return f"was not reached, because of its TLS certificate: {reason}"
        case aiohttp.ClientConnectorDNSError():
            return "was not reached: its host name cannot be resolved"
        case _ if is_handshake_error(error):
            return "cannot be reached by TLS: does it speak https?"
        case aiohttp.ClientPayloadError():
            return "broke off in the middle of its answer"
        case aiohttp.ServerDisconnectedError():
            return "closed the connection without an answer"
        case aiohttp.ClientResponseError():
            return "did not answer with valid HTTP: does it speak https?"
        case OSError():
            return f"cannot be reached: {_system_words(error)}"
        case aiohttp.InvalidURL() | UnicodeError():
            return "was not reached: its address or the proxy's is malformed"
        case ValueError():
            return "was not asked: the request contradicts itself, for instance by logins in its address and in its headers"
        case _:
            return f"cannot be reached: {type(error).__name__}"


def is_handshake_error(error: Exception) -> bool:
    """Whether TLS failed. With TLS 1.3 a missing client certificate shows only when the answer is read."""
    return isinstance(getattr(error, "os_error", None), ssl.SSLError) or isinstance(error.__cause__, ssl.SSLError)


def status_words(status: int) -> str:
    """The number of an answer with what it usually means; not in the other side's own words."""
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)


def _system_words(error: OSError) -> str:
    """asyncio's own texts tell sockets and leave out the reason."""
    return os.strerror(error.errno) if error.errno else "the connection was cut"
