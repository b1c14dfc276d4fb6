"""Fetches a manifest that a deploy file names by its address. It must not know what a manifest is.

With the standard library, because it is read like a file: at once, before anything else runs. Proxies and further
certificate authorities are taken from the environment, as its users have them for their other tools.
"""

from __future__ import annotations

import ssl
import time
import urllib.error
import urllib.request
from http.client import HTTPException, HTTPMessage, HTTPResponse
from typing import IO
from urllib.parse import SplitResult, urlsplit

from strategies.deployfile import MOST_BYTES, Unreadable

SECONDS = 30.0
"""For one address, its redirects among it."""
SILENCE_SECONDS = 10.0
MOST_REDIRECTS = 5
_CHUNK_BYTES = 64 * 1024
_ACCEPTED = "application/yaml, application/x-yaml, text/yaml, text/plain, */*;q=0.5"
_INSTEAD = "fetch it yourself, and name the file instead"


def fetch(address: str, *, seconds: float = SECONDS) -> bytes:
    """What is at an address, as far as one byte beyond the most that a manifest may have. Raises `Unreadable`."""
    host = _check(address)
    deadline = time.monotonic() + seconds
    opener = urllib.request.build_opener(_Redirects(deadline))
    request = urllib.request.Request(address, headers={"User-Agent": "headgate", "Accept": _ACCEPTED})
    try:
        with opener.open(request, timeout=min(SILENCE_SECONDS, seconds)) as answer:
            return _read(answer, host, deadline, seconds)
    except urllib.error.HTTPError as error:
        error.close()
        raise Unreadable(f"{host} answered {error.code} instead of the manifest; {_advise(error.code)}") from error
    except urllib.error.URLError as error:
        raise Unreadable(f"{host} cannot be reached: {_explain(error.reason)}; {_INSTEAD}") from error
    except TimeoutError as error:
        raise Unreadable(f"{host} did not answer in time; {_INSTEAD}") from error
    except (OSError, HTTPException, ValueError) as error:
        raise Unreadable(f"{host} did not send the manifest: {_explain(error)}; {_INSTEAD}") from error


def _check(address: str) -> str:
    """The host, which is all of an address that messages say: its path and query may hold keys."""
    try:
        parts = urlsplit(address)
        host = parts.hostname or ""
        port = f":{parts.port}" if parts.port else ""
    except ValueError as error:
        raise Unreadable(f"this is not an address: {error}") from error
    if not host or not address.isascii() or not address.isprintable() or " " in address:
        raise Unreadable("this is not an address; expected https://host/path, what is special in it escaped with %")
    if parts.username is not None or parts.password is not None:
        raise Unreadable(f"the address names a user or a password, which others would come to read; {_INSTEAD}")
    return f"{host}{port}"


def _read(answer: HTTPResponse, host: str, deadline: float, seconds: float) -> bytes:
    if answer.headers.get_content_type() == "text/html":
        raise Unreadable(f"{host} answered with a web page; give the address of the bare file")
    content = bytearray()
    while len(content) <= MOST_BYTES:
        if time.monotonic() > deadline:
            raise Unreadable(f"{host} took longer than {seconds:g} s; {_INSTEAD}")
        chunk = answer.read1(_CHUNK_BYTES)
        if not chunk:
            break
        content += chunk
    if answer.length and len(content) <= MOST_BYTES:
        raise Unreadable(f"{host} ended before the manifest did; try again")
    return bytes(content[: MOST_BYTES + 1])


class _Redirects(urllib.request.HTTPRedirectHandler):
    """A few of them, and none from https to where anybody on the way could change what comes."""

    max_repeats = max_redirections = MOST_REDIRECTS + 1

    def __init__(self, deadline: float) -> None:
        self._deadline = deadline
        self._followed = 0

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> urllib.request.Request | None:
        refusal = self._refuse(urlsplit(req.full_url), urlsplit(newurl))
        if refusal:
            fp.close()
            raise Unreadable(f"{refusal}; {_INSTEAD}")
        return super().redirect_request(req, fp, code, msg, headers, newurl)

    def _refuse(self, before: SplitResult, after: SplitResult) -> str:
        self._followed += 1
        if before.scheme == "https" and after.scheme == "http":
            return f"{before.hostname} redirects from https to http"
        if self._followed > MOST_REDIRECTS:
            return f"{before.hostname} redirects more than {MOST_REDIRECTS} times"
        return "the redirects took too long" if time.monotonic() > self._deadline else ""


def _advise(status: int) -> str:
    if 300 <= status < 400:
        return f"it redirects to what is no address of the web; {_INSTEAD}"
    if status in (401, 403, 404):
        return f"check the address; if it asks for a login, {_INSTEAD}"
    return f"try again later, or {_INSTEAD}"


def _explain(reason: object) -> str:
    if isinstance(reason, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted ({reason.verify_message}); SSL_CERT_FILE can name another authority"
    if isinstance(reason, TimeoutError):
        return "no answer in time"
    if isinstance(reason, OSError) and reason.strerror:
        return reason.strerror.lower()
    return " ".join(str(reason).split()) or type(reason).__name__
