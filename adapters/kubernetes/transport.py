"""Requests to one API server: JSON in, JSON out, every status checked, every wait bounded.

Each of these was seen to go wrong in client libraries, and is why something here is as it is (for pools, proxies and
probes, see `adapters.kubernetes.connections`):

* **Statuses.** A library that hands out raw answers hands out errors as answers too. Everything but 2xx is an error
  here, also a redirect: followed, it would turn a POST into a GET, and show our token or somebody's login page.
* **Bodies.** A proxy's HTML page is not an event of a watch, and a cut-off body is not an object: `MalformedAnswer`. A
  bare "404 page not found" is what the API server says of a kind that it does not serve, and what a proxy says of a
  cluster that it has lost; it is believed only after the same address has answered as an API server does. Bodies are
  never logged.
* **Waits.** Connections, answers, the beginning of a watch and the silence within it have limits of their own. A watch
  whose other end is gone without a word is also found by TCP's own probes, in a minute, where nobody in between answers them
  (`adapters.kubernetes.informer` counts bookmarks).
* **Long lines.** The HTTP library's line reader gives up at a few MiB; watches are split here, up to
  `Limits.line_bytes`.
* **401.** Credentials are renewed once (by one caller for all), then the request is made once more.
* **Writes by whoever does not lead any more.** Leadership is asked before a write is begun, and once more when there is a
  connection for it and nothing was sent yet. What hangs on the wire after that is void by its resourceVersion.
* **Writes without an answer.** `Unreachable.maybe_applied` says that nobody knows. A PUT or DELETE can be sent a second
  time by the HTTP library when its idle connection was closed under it, so it can meet its own effect: as a `Conflict`,
  or as `NotFound`.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

import aiohttp
from yarl import URL

from adapters.forwarding import Answered, Forwarded
from adapters.kubernetes.connections import WRITE, Limits, Sessions, open_sessions
from adapters.kubernetes.credentials import Credentials, Login
from adapters.kubernetes.errors import ApiError, MalformedAnswer, NotFound, Unauthorized, Unreachable, error_of
from adapters.leadership import UNDISPUTED, Leadership
from adapters.redaction import Redaction
from adapters.unanswered import why_unanswered

JsonObject: TypeAlias = dict[str, Any]

_BARE_NOT_FOUND = b"404 page not found"
_NO_ANSWER = (aiohttp.ClientError, TimeoutError, OSError, ValueError)
"""What the HTTP library raises for a request; a `ValueError` is about what was to be sent. Never kept as the cause of an error
of ours: a traceback would tell its words, and a proxy's login among them."""


class Transport:
    """Made by `open_transport`."""

    def __init__(self, credentials: Credentials, sessions: Sessions, limits: Limits, leadership: Leadership) -> None:
        self._credentials = credentials
        self._leadership = leadership
        self._sessions = sessions
        self._limits = limits
        self.counts: Counter[str] = Counter()
        """Requests by verb, watches among them."""

    async def request(
        self,
        method: str,
        path: str,
        *,
        what: str,
        query: Mapping[str, str] | None = None,
        body: object = None,
        content_type: str = "application/json",
    ) -> JsonObject:
        """The answer's object. `what` names the request in errors. Raises `ApiError`."""
        payload = json.dumps(body).encode() if body is not None else None
        content = await self.request_bytes(
            method, path, what=what, query=query, payload=payload, content_type=content_type
        )
        document = _parsed(content)
        if not isinstance(document, dict):
            raise MalformedAnswer(what, "the answer is not a whole JSON object")
        return document

    async def request_bytes(
        self,
        method: str,
        path: str,
        *,
        what: str,
        query: Mapping[str, str] | None = None,
        payload: bytes | None = None,
        content_type: str = "application/json",
    ) -> bytes:
        """The answer's JSON as it came. Raises `ApiError`."""
        request = _Request(method, path, what, query, payload, content_type)
        login = self._credentials.login
        try:
            return await self._once(request, login)
        except Unauthorized:
            if not await self._credentials.renew(login):
                raise
            return await self._once(request, self._credentials.login)

    @asynccontextmanager
    async def open_text(
        self, path: str, *, what: str, query: Mapping[str, str] | None = None
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """An answer that is plain text, such as a pod's log, as it comes. Raises `ApiError`, also while it is read."""
        request = _Request("GET", path, what, query)
        login = self._credentials.login
        try:
            response = await self._begin_text(request, login)
        except Unauthorized:
            if not await self._credentials.renew(login):
                raise
            response = await self._begin_text(request, self._credentials.login)
        try:
            async with aclosing(self._chunks(what, response, "the answer")) as chunks:
                yield chunks
        finally:
            response.close()

    async def _begin_text(self, request: _Request, login: Login) -> aiohttp.ClientResponse:
        self.counts[request.method] += 1
        try:
            response = await self._sessions.requests.get(
                self._credentials.server + request.path,
                params=request.query,
                headers=[*login.headers, ("Accept", "*/*")],
                allow_redirects=False,
                ssl=login.tls or True,
                server_hostname=self._credentials.server_name,
            )
            if response.status == 200:
                return response
            try:
                content = await response.read()
            finally:
                response.close()
        except _NO_ANSWER as error:
            raise self._unreachable(request.what, error) from None
        failure = _failure(request.what, response, content)
        raise failure or MalformedAnswer(request.what, f"status {response.status} is no answer to this")

    @asynccontextmanager
    async def pass_through(self, forwarded: Forwarded, path: str, *, what: str) -> AsyncIterator[Answered]:
        """A request of somebody else's, sent on with our login; its answer is somebody else's too, whatever its status.

        `path` is sent as it is. The login is not renewed, because a body cannot be sent twice. Raises `Unreachable`.
        """
        self._leadership.require()
        self.counts["PROXY"] += 1
        login, limits = self._credentials.login, self._limits
        timeout = aiohttp.ClientTimeout(
            total=forwarded.most_seconds, sock_connect=limits.connect_seconds, sock_read=forwarded.silence_seconds
        )
        try:
            response = await self._sessions.watches.request(
                forwarded.method,
                URL(self._credentials.server + path, encoded=True),
                data=forwarded.body,
                headers=[*forwarded.headers, *login.headers],
                allow_redirects=False,
                auto_decompress=False,
                ssl=login.tls or True,
                server_hostname=self._credentials.server_name,
                timeout=timeout,
            )
        except _NO_ANSWER as error:
            raise self._unreachable(what, error, is_write=forwarded.method != "GET") from None
        try:
            async with aclosing(self._chunks(what, response, "the answer")) as chunks:
                yield Answered(response.status, tuple(response.headers.items()), chunks)
        finally:
            response.close()

    async def _chunks(self, what: str, response: aiohttp.ClientResponse, name: str) -> AsyncGenerator[bytes, None]:
        try:
            async for chunk in response.content.iter_any():
                yield chunk
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Unreachable(what, f"{name} broke off ({_reason(error)})") from None

    async def _once(self, request: _Request, login: Login) -> bytes:
        status, content, failure = await self._exchange(request, login)
        if failure is not None and status == 404 and content.strip() == _BARE_NOT_FOUND:
            if await self._is_an_api_server(login):
                raise NotFound(request.what, "the cluster does not serve such a kind of object")
            raise MalformedAnswer(request.what, "status 404, but not by an API server; is a proxy in between?")
        if failure is not None:
            raise failure
        return content

    async def _exchange(self, request: _Request, login: Login) -> tuple[int, bytes, ApiError | None]:
        """Raises `Unreachable`."""
        is_write = request.method != "GET"
        if is_write:
            self._leadership.require()
        self.counts[request.method] += 1
        content_type = [("Content-Type", request.content_type)] if request.payload is not None else []
        try:
            async with self._sessions.requests.request(
                request.method,
                self._credentials.server + request.path,
                params=request.query,
                data=request.payload,
                headers=[*login.headers, *content_type],
                allow_redirects=False,
                ssl=login.tls or True,
                server_hostname=self._credentials.server_name,
                trace_request_ctx=WRITE if is_write else None,
            ) as response:
                content = await response.read()
                return response.status, content, _failure(request.what, response, content)
        except _NO_ANSWER as error:
            raise self._unreachable(request.what, error, is_write=is_write) from None

    async def _is_an_api_server(self, login: Login) -> bool:
        """Whether this address answers discovery as an API server does (also a refusal is an answer of its own)."""
        status, content, _ = await self._exchange(_Request("GET", "/apis", "GET /apis"), login)
        document = _parsed(content)
        return isinstance(document, dict) and document.get("kind") == ("APIGroupList" if status == 200 else "Status")

    @asynccontextmanager
    async def watch(
        self, path: str, *, what: str, query: Mapping[str, str], silence_seconds: float
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """The lines of a watch, for as long as the server sends any within `silence_seconds` of each other.

        Entered when the server has accepted the watch. Raises `ApiError`, also while the lines are read.
        """
        request = _Request("GET", path, what, query)
        login = self._credentials.login
        try:
            response = await self._begin_watch(request, login, silence_seconds)
        except Unauthorized:
            if not await self._credentials.renew(login):
                raise
            response = await self._begin_watch(request, self._credentials.login, silence_seconds)
        try:
            async with aclosing(self._lines(what, response)) as lines:
                yield lines
        finally:
            response.close()

    async def _begin_watch(self, request: _Request, login: Login, silence_seconds: float) -> aiohttp.ClientResponse:
        self.counts["WATCH"] += 1
        limits = self._limits
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=limits.connect_seconds, sock_read=silence_seconds)
        try:
            async with asyncio.timeout(limits.request_seconds):
                response = await self._sessions.watches.get(
                    self._credentials.server + request.path,
                    params=request.query,
                    headers=login.headers,
                    allow_redirects=False,
                    ssl=login.tls or True,
                    server_hostname=self._credentials.server_name,
                    timeout=timeout,
                )
                if response.status == 200 and "json" in response.content_type:
                    return response
                try:
                    content = await response.read() if response.status != 200 else b""
                finally:
                    response.close()
        except _NO_ANSWER as error:
            raise self._unreachable(request.what, error) from None
        failure = _failure(request.what, response, content)
        raise failure or MalformedAnswer(request.what, f"status {response.status} is no answer to a watch")

    async def _lines(self, what: str, response: aiohttp.ClientResponse) -> AsyncGenerator[bytes, None]:
        pending = bytearray()
        async with aclosing(self._chunks(what, response, "the watch")) as chunks:
            async for chunk in chunks:
                pending += chunk
                if b"\n" in chunk:
                    *lines, rest = bytes(pending).split(b"\n")
                    pending = bytearray(rest)
                    for line in lines:
                        if line:
                            yield line
                if len(pending) > self._limits.line_bytes:
                    raise MalformedAnswer(what, f"a line of the watch is longer than {self._limits.line_bytes} bytes")

    def _unreachable(self, what: str, error: Exception, *, is_write: bool = False) -> Unreachable:
        never_sent = isinstance(error, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError | ValueError)
        message = f"no answer from {_shown(self._credentials.server)} ({_reason(error)})"
        return Unreachable(what, message, maybe_applied=is_write and not never_sent)


@dataclass(frozen=True, slots=True)
class _Request:
    method: str
    path: str
    what: str
    query: Mapping[str, str] | None = None
    payload: bytes | None = None
    content_type: str = "application/json"


def _failure(what: str, response: aiohttp.ClientResponse, content: bytes) -> ApiError | None:
    """What is wrong with an answer, if anything is."""
    status = response.status
    if status >= 400:
        said = _without_login(response, content.decode("utf-8", errors="replace"))
        return error_of(what, status, _parsed(said), _retry_after(response))
    if not 200 <= status < 300:
        return MalformedAnswer(
            what, f"status {status}, a redirect: is this the address of an API server, or of a login page?"
        )
    if "json" not in response.content_type:
        return MalformedAnswer(what, f"the answer is {response.content_type}, not JSON; is a proxy in between?")
    return None


def _without_login(response: aiohttp.ClientResponse, content: str) -> str:
    """An answer as it may be told: whoever answers (a proxy, somebody in the server's place) may repeat how we logged in."""
    scheme, _, shown = response.request_info.headers.get("Authorization", "").partition(" ")
    secrets = [shown]
    if scheme.lower() == "basic":
        password = base64.b64decode(shown).partition(b":")[2]
        secrets += [password.decode(encoding, errors="replace") for encoding in ("utf-8", "latin-1")]
    return Redaction(secrets, shortest=1).take_out(content)


def _parsed(content: bytes | str) -> object:
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return None


def _retry_after(response: aiohttp.ClientResponse) -> float | None:
    """In seconds. The other form that HTTP knows, a date, is not used by API servers."""
    text = response.headers.get("Retry-After", "")
    return float(text) if text.isascii() and text.isdigit() else None


def _shown(server: str) -> str:
    """Without a login that somebody has written into the address."""
    return str(URL(server).with_user(None)).rstrip("/")


def _reason(error: Exception) -> str:
    return "timed out" if isinstance(error, TimeoutError) else f"it {why_unanswered(error)}"


@asynccontextmanager
async def open_transport(
    credentials: Credentials, *, limits: Limits | None = None, leadership: Leadership = UNDISPUTED
) -> AsyncIterator[Transport]:
    """A transport that can be used until the block ends. `leadership` is asked immediately before each write, which raises
    `Deposed` where it does not hold any more. Raises `CredentialsFailed` where the proxy cannot be used."""
    limits = limits or Limits()
    async with open_sessions(credentials.server, credentials.proxy, limits, leadership) as sessions:
        yield Transport(credentials, sessions, limits, leadership)
