"""The API's client: over the daemon's Unix socket, or over TCP with a token. Every failure is an error with a
sentence."""

from __future__ import annotations

import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from types import TracebackType
from typing import Self, TypeAlias, TypeVar
from urllib.parse import quote

import aiohttp
import msgspec

from adapters.http.bodies import (
    Accepted,
    CommandBody,
    CommandTaken,
    Failure,
    FolderList,
    JournalBody,
    ReleaseDetail,
    ReleaseList,
    RetryBody,
    RollbackBody,
    SubmitBody,
    WatchLine,
    encode,
)
from adapters.http.client_errors import DaemonRefused, DaemonUnreachable
from adapters.http.socket_paths import within_reach
from engine.errors import HeadgateError

T = TypeVar("T")

ANSWER_SECONDS = 60.0
CONNECT_SECONDS = 5.0
SILENCE_SECONDS = 45.0
"""A watch says at least every 15 seconds that it is alive; after this long it is taken for dead."""
LONGEST_LINE = 2**24


@dataclass(frozen=True, slots=True)
class SocketPlace:
    path: Path

    def __str__(self) -> str:
        return str(self.path)


@dataclass(frozen=True, slots=True)
class TcpPlace:
    url: str
    token: str = field(repr=False)
    """Empty where a client certificate is all that is shown."""
    tls: ssl.SSLContext | None = field(default=None, repr=False)
    """How the daemon's certificate is verified, and what is shown to it; None is the system's authorities, and nothing."""

    def __str__(self) -> str:
        return self.url


Place: TypeAlias = SocketPlace | TcpPlace
"""Where a daemon is."""


class DaemonClient:
    """Used as `async with DaemonClient(place) as client`. Raises `DaemonUnreachable` and `DaemonRefused` everywhere."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self._session: aiohttp.ClientSession | None = None
        self._closing = ExitStack()

    async def __aenter__(self) -> Self:
        headers = {"User-Agent": "headgate", "Accept": "application/json"}
        timeout = aiohttp.ClientTimeout(total=ANSWER_SECONDS, sock_connect=CONNECT_SECONDS)
        if isinstance(self.place, SocketPlace):
            connector: aiohttp.BaseConnector = self._socket_connector(self.place.path)
        else:
            connector = aiohttp.TCPConnector(ssl=self.place.tls or True)
            if self.place.token:
                headers["Authorization"] = f"Bearer {self.place.token}"
        self._session = aiohttp.ClientSession(
            connector=connector, headers=headers, timeout=timeout, read_bufsize=LONGEST_LINE
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._closing:
            if self._session is not None:
                await self._session.close()

    def _socket_connector(self, path: Path) -> aiohttp.UnixConnector:
        try:
            near = self._closing.enter_context(within_reach(path))
        except OSError as error:
            raise self._unreachable(error) from error
        return aiohttp.UnixConnector(str(near))

    # --- the API -------------------------------------------------------------------------------------------------------

    async def submit(self, body: SubmitBody) -> Accepted:
        return await self._ask("POST", "/v1/releases", Accepted, body)

    async def releases(self, application: str | None = None, limit: int = 100) -> ReleaseList:
        query = {"limit": str(limit)} | ({"application": application} if application is not None else {})
        return await self._ask("GET", "/v1/releases", ReleaseList, query=query)

    async def release(self, release: str) -> ReleaseDetail:
        return await self._ask("GET", f"/v1/releases/{quote(release, safe='')}", ReleaseDetail)

    async def journal(self, release: str) -> JournalBody:
        return await self._ask("GET", f"/v1/releases/{quote(release, safe='')}/journal", JournalBody)

    async def command(self, release: str, body: CommandBody) -> CommandTaken:
        return await self._ask("POST", f"/v1/releases/{quote(release, safe='')}/commands", CommandTaken, body)

    async def roll_back(self, release: str, body: RollbackBody) -> Accepted:
        return await self._ask("POST", f"/v1/releases/{quote(release, safe='')}/rollback", Accepted, body)

    async def retry(self, release: str, body: RetryBody) -> Accepted:
        return await self._ask("POST", f"/v1/releases/{quote(release, safe='')}/retry", Accepted, body)

    async def folders(self) -> FolderList:
        return await self._ask("GET", "/v1/folders", FolderList)

    async def watch(self, release: str) -> AsyncGenerator[WatchLine]:
        """The lines of one watch, until the daemon ends it. A lost connection is `DaemonUnreachable`."""
        limits = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=SILENCE_SECONDS)
        path = f"/v1/releases/{quote(release, safe='')}/watch"
        async with self._request("GET", path, limits=limits) as response:
            try:
                async for line in response.content:
                    yield _decode(line, WatchLine)  # type: ignore[arg-type]  # a union is a type to msgspec
            except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
                raise DaemonUnreachable(f"the connection to the daemon was lost ({_reason(error)})") from error

    # --- how it is asked -----------------------------------------------------------------------------------------------

    async def _ask(
        self,
        method: str,
        path: str,
        kind: type[T],
        body: msgspec.Struct | None = None,
        *,
        query: Mapping[str, str] | None = None,
    ) -> T:
        async with self._request(method, path, body=body, query=query) as response:
            try:
                content = await response.read()
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                raise DaemonUnreachable(f"the daemon broke off its answer ({_reason(error)})") from error
            return _decode(content, kind)

    @asynccontextmanager
    async def _request(
        self,
        method: str,
        path: str,
        *,
        body: msgspec.Struct | None = None,
        query: Mapping[str, str] | None = None,
        limits: aiohttp.ClientTimeout | None = None,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        assert self._session is not None, "the client is used inside of its block"
        base = self.place.url if isinstance(self.place, TcpPlace) else "http://headgate"
        headers = {"Content-Type": "application/json"} if body is not None else {}
        try:
            response = await self._session.request(
                method,
                base + path,
                params=query,
                data=BytesIO(encode(body)) if body is not None else None,
                headers=headers,
                timeout=limits or self._session.timeout,
                allow_redirects=False,
            )
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise self._unreachable(error) from error
        async with response:
            if response.status >= 300:
                raise await _refusal(response)
            yield response

    def _unreachable(self, error: Exception) -> DaemonUnreachable:
        if isinstance(self.place, TcpPlace):
            return DaemonUnreachable(
                f"no daemon answers at {self.place} ({_reason(error)}); is the address right, and is one running?"
            )
        return DaemonUnreachable(
            f"no daemon answers on {self.place} ({_reason(error)}); start one with: headgate serve, or carry the "
            "file out without one: headgate run FILE"
        )


def _decode(content: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(content, type=kind)
    except msgspec.DecodeError as error:
        message = "the daemon's answer is not understood; is it another version, or another program?"
        raise DaemonUnreachable(message) from error


async def _refusal(response: aiohttp.ClientResponse) -> HeadgateError:
    try:
        body = msgspec.json.decode(await response.read(), type=Failure).error
    except (msgspec.DecodeError, aiohttp.ClientError, TimeoutError):
        return DaemonUnreachable(f"something answers {response.status} that is not the daemon; is the address right?")
    return DaemonRefused(response.status, body)


def _reason(error: Exception) -> str:
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        why = getattr(error.certificate_error, "verify_message", "") or "nobody known has signed it"
        return f"its certificate is not trusted: {why}; HEADGATE_CA_FILE can name the authority that signed it"
    if isinstance(getattr(error, "os_error", None), ssl.SSLError) or isinstance(error.__cause__, ssl.SSLError):
        return "TLS failed: does it speak https, and does it want a client certificate? HEADGATE_CLIENT_CERTIFICATE can name one"
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, aiohttp.ClientPayloadError | aiohttp.ServerDisconnectedError):
        return "it broke off"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return (str(error) or type(error).__name__)[:200]
