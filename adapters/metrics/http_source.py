"""Asks one HTTP source of metrics, and turns everything that can go wrong on the way into a sentence.

Redirects are not followed: behind one is usually a login page, and credentials would travel to a place that nobody
named. Error texts of libraries are not passed on as they are, because some of them repeat the address with its query.
This module must not know what the answers mean.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http import HTTPStatus

import aiohttp
from yarl import URL

from adapters.metrics.credentials import Access, CredentialsError, TlsContext, authorize, read_keys
from adapters.proxies import ProxyUnusable, proxy_of_environment
from adapters.redaction import Redaction
from adapters.unanswered import is_handshake_error, why_unanswered
from engine.errors import HeadgateError

MAX_SHOWN = 300
MAX_READ = 256 * 1024
"""How much of a foreign text is looked through for what is shown of it: far more, so that its end is far behind the cut."""
CHUNK_BYTES = 64 * 1024
JSON = "application/json"
MIN_HEADER_SECRET = 8
"""Header values from this length on may be keys and are never shown; shorter ones are tenant names and the like."""


class SourceMisconfigured(HeadgateError):
    """A metric source cannot be used as it is configured."""


class HttpFailure(Exception):
    """No usable answer came. The message holds no credentials; `passing` says that trying again may help."""

    def __init__(self, message: str, *, passing: bool) -> None:
        super().__init__(message)
        self.passing = passing


@dataclass(frozen=True, slots=True)
class Reply:
    """The head of an answer, and the way to its body while the request is open."""

    status: int
    headers: Mapping[str, str]
    address: str
    response: aiohttp.ClientResponse = field(repr=False)
    secrets: tuple[str, ...] = field(repr=False)

    @property
    def content_type(self) -> str:
        return self.headers.get("Content-Type", "").partition(";")[0].strip().lower()

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body in pieces, unpacked."""
        async for chunk in self.response.content.iter_chunked(CHUNK_BYTES):
            yield chunk

    async def body(self, max_bytes: int) -> bytes:
        """The whole body. Raises HttpFailure when it is larger than allowed."""
        content = bytearray()
        async for chunk in self.chunks():
            content += chunk
            if len(content) > max_bytes:
                raise HttpFailure(f"{self.address} sent more than {max_bytes} bytes", passing=False)
        return bytes(content)

    def quote(self, text: str) -> str:
        """A foreign text for a message: without our secrets, on one line, and not too long.

        It is given as a whole, because a secret that was cut is not known any more.
        """
        return shorten(Redaction(self.secrets, shortest=1).take_out(text[:MAX_READ]))


class HttpSource:
    """One source behind a shared session."""

    def __init__(self, session: aiohttp.ClientSession, access: Access) -> None:
        """Raises SourceMisconfigured when a header could not be sent."""
        for name, value in [*access.headers.items(), *((name, "") for name in access.secret_headers)]:
            if not all(character.isprintable() and character.isascii() for character in name + value):
                raise SourceMisconfigured(f"the header {name!r} contains characters that a header cannot have")
        self._session = session
        self._access = access
        self._hidden = tuple(value for value in access.headers.values() if len(value) >= MIN_HEADER_SECRET) + access.hidden
        self._tls = TlsContext(access.tls) if access.tls is not None else None

    @asynccontextmanager
    async def ask(
        self,
        method: str,
        url: URL,
        *,
        timeout_s: float,
        accept: str,
        form: Mapping[str, str] | None = None,
        json_body: bytes | None = None,
        hidden: Sequence[str] = (),
    ) -> AsyncIterator[Reply]:
        """Send a request, with a form or a JSON text as its body. `hidden` is what else in it no message may show.

        Everything that goes wrong until the block ends, also while its body reads, is an HttpFailure.
        """
        address = shown_address(url)
        if self._session.closed:
            raise HttpFailure(f"{address} was not asked: the HTTP session is closed", passing=False)
        try:
            authorization = await authorize(self._access.authentication)
            keys = await read_keys(self._access.secret_headers)
            headers = {"Accept": accept, **self._access.headers, **keys}
            if json_body is not None:
                headers["Content-Type"] = JSON
            if authorization.header is not None:
                headers["Authorization"] = authorization.header
            request = self._session.request(
                method,
                url,
                data=form if json_body is None else json_body,
                headers=headers,
                ssl=True if self._tls is None else await self._tls.current(),
                timeout=aiohttp.ClientTimeout(total=timeout_s),
                allow_redirects=False,
                proxy=proxy_of_environment(url),
            )
            async with await _begin(request, address) as response:
                secrets = (*authorization.secrets, *keys.values(), *self._hidden, *hidden)
                yield Reply(response.status, response.headers, address, response, secrets)
        except (CredentialsError, ProxyUnusable) as error:
            raise HttpFailure(f"{address} was not asked: {error}", passing=False) from error
        except TimeoutError as error:
            raise HttpFailure(f"{address} did not answer within {timeout_s:.3g} s", passing=True) from error
        except (aiohttp.ClientError, OSError) as error:
            raise HttpFailure(f"{address} {describe(error)}", passing=is_passing(error)) from error


async def _begin(request: Awaitable[aiohttp.ClientResponse], address: str) -> aiohttp.ClientResponse:
    """Apart from the rest, because a `ValueError` of whoever reads the answer would be a defect, and no failure to ask."""
    try:
        return await request
    except aiohttp.ClientError:
        raise
    except ValueError as error:
        raise HttpFailure(f"{address} {describe(error)}", passing=False) from error


def checked_address(text: str) -> URL:
    """An http(s) address that can be asked. Raises SourceMisconfigured."""
    try:
        url = URL(text)
        host = url.host or ""
        # Looking a name up that cannot be encoded raises what is no network error.
        if not host.encode("idna").decode("ascii").isprintable() or " " in host:
            raise ValueError
    except ValueError:
        # The text itself is not repeated: it may hold a password.
        raise SourceMisconfigured(
            "the address is not a URL with a valid host name; expected for instance http://prometheus.example:9090"
        ) from None
    if url.scheme not in ("http", "https") or not host:
        raise SourceMisconfigured("the address has to begin with http:// or https:// and a host name")
    if url.user is not None or url.password is not None:
        raise SourceMisconfigured(
            f"the address of {shown_address(url)} holds a user name or password: move them to the source's credentials"
        )
    return url


def shown_address(url: URL) -> str:
    """An address for messages: without user, password and query, which may hold secrets."""
    return str(url.with_user(None).with_query(None).with_fragment(None))


def describe(error: Exception) -> str:
    """What went wrong, as the rest of a sentence that begins with the address."""
    match error:
        case aiohttp.ClientConnectorCertificateError():
            return f"{shorten(why_unanswered(error))}. Give the CA file that signed it"
        case _ if is_handshake_error(error):
            return "cannot be asked by TLS: does it speak https, and does it want a client certificate?"
        case _:
            return why_unanswered(error)


def is_passing(error: Exception) -> bool:
    """Whether the same request may succeed in a moment: connections come back, certificates and protocols do not."""
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return error.status >= HTTPStatus.INTERNAL_SERVER_ERROR
    if isinstance(error, (aiohttp.ClientConnectorCertificateError, aiohttp.ClientResponseError, aiohttp.InvalidURL)):
        return False
    return not is_handshake_error(error)


def shorten(text: str) -> str:
    """A text on one line, with at most MAX_SHOWN characters."""
    line = re.sub(r"\s+", " ", text).strip()
    return line if len(line) <= MAX_SHOWN else line[: MAX_SHOWN - 1] + "…"
