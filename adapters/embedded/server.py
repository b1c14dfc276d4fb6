"""The API server: real HTTP on loopback in front of one storage.

It receives requests, sends answers, streams watches, checks the token, keeps the audit and does what the fault plan says.
What requests mean is known elsewhere. It knows no controllers; they share the storage.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import socket
from collections.abc import Mapping
from types import TracebackType
from typing import Self

from aiohttp import web

from adapters.embedded.access import Access
from adapters.embedded.audit import Audit, AuditedRequest
from adapters.embedded.dispatching import JSON, Answer, Dispatcher, Request, error_answer
from adapters.embedded.errors import ApiError, Expired, InternalError, RequestTooLarge, Unauthorized
from adapters.embedded.faults import Fault, Faults, Moment
from adapters.embedded.json_objects import JsonObject
from adapters.embedded.options import ReadOptions, read_options
from adapters.embedded.reading import reach_version
from adapters.embedded.routes import WRITES, Target, Verb
from adapters.embedded.selectors import parse_selection
from adapters.embedded.service_proxy import ServiceProxy
from adapters.embedded.storage import Storage
from adapters.embedded.watching import Watch, WatchHub
from adapters.embedded.writing import media_type_of

logger = logging.getLogger(__name__)

LARGEST_BODY = 3 * 1024 * 1024
"""Bytes of a request's body; the real server reads as many."""

BOOKMARK_SECONDS = 60.0
WATCH_SECONDS = 1800
"""How long a watch lasts whose client does not say."""

_OPEN_TO_ALL = ("/healthz", "/livez", "/readyz", "/version")


class ApiServer:
    """A server for one storage; an async context manager. It listens on 127.0.0.1 only.

    Args:
        port: 0 takes a free one.
        token: with one, every request must carry it as its bearer token.
        bookmark_seconds: how often a watch that wants bookmarks gets one.
    """

    def __init__(
        self, storage: Storage, *, port: int = 0, token: str | None = None, bookmark_seconds: float = BOOKMARK_SECONDS
    ) -> None:
        self.storage = storage
        self.audit = Audit()
        self.access = Access()
        self.faults = Faults(expire_history=storage.forget_history)
        self._wanted_port = port
        self._token = token
        self._bookmark_seconds = bookmark_seconds
        self._dispatcher = Dispatcher(storage, self.access, lambda: f"127.0.0.1:{self.port}")
        self._hub = WatchHub(storage)
        self.faults.connect_watches(self._hub.cut, self._hub.silence)
        self._proxy = ServiceProxy(storage)
        self._socket: socket.socket | None = None
        self._runner: web.ServerRunner | None = None

    async def __aenter__(self) -> Self:
        self._socket = socket.create_server(("127.0.0.1", self._wanted_port), backlog=1024)
        server = web.Server(self._handle, request_factory=_make_request, handler_cancellation=True, access_log=None)
        self._runner = web.ServerRunner(server, shutdown_timeout=1.0)
        await self._runner.setup()
        await web.SockSite(self._runner, self._socket, backlog=1024).start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._hub.end()
        if self._runner is not None:
            await self._runner.cleanup()
        await self._proxy.close()

    @property
    def port(self) -> int:
        """The port that it listens on.

        Raises:
            RuntimeError: it has not been entered.
        """
        if self._socket is None:
            raise RuntimeError("the server has no port before it is entered: use it with `async with`")
        port: int = self._socket.getsockname()[1]
        return port

    @property
    def url(self) -> str:
        """Where it is found."""
        return f"http://127.0.0.1:{self.port}"

    def kubeconfig(self, namespace: str = "default") -> JsonObject:
        """A kubeconfig with one context, `embedded`, that leads here."""
        return {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "embedded",
            "clusters": [{"name": "embedded", "cluster": {"server": self.url}}],
            "users": [{"name": "embedded", "user": {"token": self._token} if self._token else {}}],
            "contexts": [
                {"name": "embedded", "context": {"cluster": "embedded", "user": "embedded", "namespace": namespace}}
            ],
        }

    # Requests

    async def _handle(self, received: web.BaseRequest) -> web.StreamResponse:
        path, query = received.raw_path.partition("?")[0], _single_valued(received)
        target: Target | None = None
        body = b""
        status = 0
        try:
            self._authorize(received, path)
            target = self._dispatcher.find_target(received.method, path, query)
            if target is not None and target.verb is Verb.WATCH:
                response = await self._handle_watch(received, target, query)
            elif target is not None and target.subresource == "proxy":
                response = await self._proxy.answer(received, target, path.partition("/proxy")[2])
            else:
                body = await _read_body(received)
                answer = await self._answer(received, path, query, target, body)
                response = _to_response(answer)
            status = response.status
            return response
        except ApiError as error:
            status = error.code
            return _to_response(error_answer(error))
        except Exception:
            logger.exception("the embedded API server failed on %s %s", received.method, path)
            status = InternalError.code
            return _to_response(error_answer(InternalError(f"the embedded API server failed on {path}: see its log")))
        finally:
            self._record(received, path, query, target, status, body)

    def _authorize(self, received: web.BaseRequest, path: str) -> None:
        if self._token is None or path.startswith(_OPEN_TO_ALL):
            return
        given = received.headers.get("Authorization", "")
        if not hmac.compare_digest(given.encode(), f"Bearer {self._token}".encode()):
            raise Unauthorized()

    async def _answer(
        self, received: web.BaseRequest, path: str, query: Mapping[str, str], target: Target | None, body: bytes
    ) -> Answer:
        headers = received.headers
        user_agent = headers.get("User-Agent", "")
        fault = self.faults.take(target, user_agent) if target is not None else None
        if fault is not None and fault.moment is Moment.BEFORE:
            await _strike(fault, received)
        accept = headers.get("Accept", "")
        request = Request(received.method, path, query, accept, media_type_of(headers), user_agent, body, target)
        answer = await self._dispatcher.answer(request)
        if fault is not None and fault.moment is Moment.AFTER:
            await _strike(fault, received)
        return answer

    def _record(
        self,
        received: web.BaseRequest,
        path: str,
        query: Mapping[str, str],
        target: Target | None,
        status: int,
        body: bytes,
    ) -> None:
        self.audit.record(
            AuditedRequest(
                method=received.method,
                path=path,
                verb=target.verb.value if target else "",
                resource=target.resource.qualified_name if target else "",
                namespace=target.namespace if target else "",
                name=target.name if target else "",
                subresource=target.subresource if target else "",
                query=query,
                user_agent=received.headers.get("User-Agent", ""),
                media_type=media_type_of(received.headers),
                status=status,
                body=body if target is not None and target.verb in WRITES else b"",
            )
        )

    # Watches

    async def _handle_watch(
        self, received: web.BaseRequest, target: Target, query: Mapping[str, str]
    ) -> web.StreamResponse:
        user_agent = received.headers.get("User-Agent", "")
        fault = self.faults.take(target, user_agent)
        if fault is not None:
            await _strike(fault, received)
        options = read_options(query, watch=True)
        selection = parse_selection(target.resource, options.label_selector, options.field_selector)
        accept = received.headers.get("Accept", "")
        presenter = self._dispatcher.presenter(target, accept, options.include_object)
        if options.send_initial_events:
            await reach_version(self.storage, options.resource_version)
        watch = Watch(target, presenter, selection, user_agent)
        if self.faults.takes_expiry(target, user_agent):
            watch.fail(Expired("too old resource version: the history was forgotten as a test planned"))
        scope = self.audit.open_watch(target)
        self._hub.open(watch, options)
        try:
            return await self._stream(received, watch, options)
        finally:
            self._hub.close(watch)
            self.audit.close_watch(scope)

    async def _stream(self, received: web.BaseRequest, watch: Watch, options: ReadOptions) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": JSON, "Cache-Control": "no-cache, private"})
        response.enable_chunked_encoding()
        try:
            await response.prepare(received)
            await self._send_lines(response, watch, options)
            if watch.cut_inside_line is not None:
                await self._cut_stream(received, response, watch)
            else:
                await response.write_eof()
        except ConnectionError:
            logger.debug("the client of a watch on %s went away", watch.target.resource.qualified_name)
        return response

    async def _send_lines(self, response: web.StreamResponse, watch: Watch, options: ReadOptions) -> None:
        now = asyncio.get_running_loop().time
        end = now() + (options.timeout_seconds or WATCH_SECONDS)
        next_bookmark = now() + self._bookmark_seconds
        while True:
            piece = watch.take()
            if piece:
                await response.write(piece)
                continue
            if watch.ended:
                return
            over, bookmarks = now() >= end, options.allow_bookmarks and not watch.is_silent
            if bookmarks and (over or now() >= next_bookmark):
                await response.write(watch.bookmark(self.storage.resource_version))
                next_bookmark = now() + self._bookmark_seconds
            if over:
                return
            await watch.wait(max(0.0, min(end, next_bookmark if bookmarks else end) - now()))

    async def _cut_stream(self, received: web.BaseRequest, response: web.StreamResponse, watch: Watch) -> None:
        if watch.cut_inside_line:
            line = watch.bookmark(self.storage.resource_version)
            await response.write(line[: len(line) // 2])
        if received.transport is not None:
            received.transport.close()


def _make_request(*parts: object) -> web.BaseRequest:
    message, payload, protocol, writer, task = parts
    loop = asyncio.get_running_loop()
    return web.BaseRequest(message, payload, protocol, writer, task, loop, client_max_size=LARGEST_BODY)  # type: ignore[arg-type]


async def _read_body(received: web.BaseRequest) -> bytes:
    if not received.body_exists:
        return b""
    try:
        return await received.read()
    except web.HTTPRequestEntityTooLarge as error:
        raise RequestTooLarge(f"Request entity too large: limit is {LARGEST_BODY}") from error


def _single_valued(received: web.BaseRequest) -> dict[str, str]:
    """The query; of a repeated parameter, the first value."""
    if not received.query_string:
        return {}
    return dict(list(received.query.items())[::-1])


def _to_response(answer: Answer) -> web.Response:
    response = web.Response(status=answer.status, body=answer.body, headers=dict(answer.headers))
    response.headers["Content-Type"] = answer.media_type
    for warning in answer.warnings:
        quoted = warning.replace("\\", "\\\\").replace('"', '\\"')
        response.headers.add("Warning", f'299 - "{quoted}"')
    return response


async def _strike(fault: Fault, received: web.BaseRequest) -> None:
    """Do what a fault says: be late, cut the connection, or fail."""
    if fault.seconds:
        await asyncio.sleep(fault.seconds)
    if fault.cut and received.transport is not None:
        received.transport.abort()
        await asyncio.get_running_loop().create_future()  # ends with the cancellation that the lost connection brings
    if fault.error is not None:
        raise fault.error
