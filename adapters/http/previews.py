"""Preview addresses: a Service of a running rollout, for whoever holds the address, as long as its step says.

The address carries an unguessable token for exactly one Service of one rollout. Requests go through the API server's own proxy on
the rollout's account, so what a visitor sends is chosen with care (`adapters.http.preview_headers`), and nothing but that one
Service can be reached: a path that could lead elsewhere is refused.
"""

from __future__ import annotations

import hmac
from collections.abc import AsyncIterator
from datetime import datetime
from http import HTTPStatus
from urllib.parse import quote, unquote, urlsplit

import anyio
import msgspec
import structlog
from aiohttp import web

from adapters.forwarding import Answered, Door, Forwarded, NotForwarded, ServiceDoors
from adapters.http.preview_headers import CROSS_ORIGIN, HTML, rewritten_location, rewritten_page, sent_back, sent_on, value_of
from adapters.http.service import Service
from engine.gates import sign_preview
from engine.model import FINAL_STATES
from engine.ports import StoredRollout

log = structlog.get_logger()

PATH = "/v1/previews/{rollout}/{service}/{token}/{tail:.*}"
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
MOST_REQUEST_BYTES = 64 * 2**20
MOST_STATUS_BYTES = 64 * 1024
MOST_AT_ONCE = 64
SILENCE_SECONDS = 60.0
_ODD_PATH = "a path with . or .. or an encoded slash or control character is not sent on; write it out"


class _Refused(Exception):
    """What the visitor is told instead; plain text, because people read it in a browser."""

    def __init__(self, status: HTTPStatus, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.text = text


class _Status(msgspec.Struct):
    """The API server's own answer when it could not reach the Service, or may not."""

    kind: str
    api_version: str = msgspec.field(name="apiVersion")
    message: str = ""
    reason: str = ""


class Previews:
    def __init__(self, service: Service, doors: ServiceDoors, *, silence_seconds: float = SILENCE_SECONDS) -> None:
        self._service = service
        self._doors = doors
        self._silence_seconds = silence_seconds
        self._open = 0

    def routes(self) -> list[web.RouteDef]:
        return [web.route("*", PATH, self.show)]

    async def show(self, request: web.Request) -> web.StreamResponse:
        try:
            return await self._show(request)
        except _Refused as refused:
            return _answer(refused.status, refused.text)

    async def _show(self, request: web.Request) -> web.StreamResponse:
        stored, door, until = await self._find(request)
        if request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers:
            return _allow_cross_origin(request)
        tail = _tail_of(request)
        _check_request(request)
        if self._open >= MOST_AT_ONCE:
            raise _Refused(HTTPStatus.SERVICE_UNAVAILABLE, "too many requests to previews at once; try again in a while")
        outer = self._outer_path(request)
        left = max(1.0, (until - self._service.clock.now()).total_seconds())
        body = _Upload(request) if request.body_exists else None
        headers = sent_on(request.headers.items(), self._said_of_us(request, outer))
        forwarded = Forwarded(
            request.method, tail, headers, body.chunks() if body is not None else None, self._silence_seconds, left
        )
        self._open += 1
        try:
            async with self._doors.open(stored.spec.plan, door, forwarded) as answer:
                return await self._pass_back(request, answer, self._doors.prefix(stored.spec.plan, door), outer)
        except NotForwarded as error:
            if body is not None and body.is_too_large:
                raise _too_large() from error
            raise _Refused(HTTPStatus.BAD_GATEWAY, str(error)) from error
        finally:
            self._open -= 1

    # --- whether there is anything to show -----------------------------------------------------------------------------

    async def _find(self, request: web.Request) -> tuple[StoredRollout, Door, datetime]:
        """An address that was never given out looks like any unknown one."""
        rollout, service, token = (request.match_info[name] for name in ("rollout", "service", "token"))
        rollouts = await self._service.rollouts(rollout.partition(".")[0])
        stored = next((one for one in rollouts if one.spec.id == rollout), None)
        if stored is None or not hmac.compare_digest(sign_preview(stored.spec, service).encode(), token.encode()):
            raise _Refused(HTTPStatus.NOT_FOUND, "there is nothing at this address")
        facts = stored.snapshot.facts
        if f"preview.{service}.until" not in facts:
            raise _Refused(HTTPStatus.NOT_FOUND, "there is nothing at this address")
        until = datetime.fromisoformat(str(facts[f"preview.{service}.until"]))
        if stored.snapshot.state in FINAL_STATES:
            raise _Refused(HTTPStatus.GONE, f"this preview of {service} has ended with its rollout")
        if self._service.clock.now() >= until:
            raise _Refused(HTTPStatus.GONE, f"this preview of {service} has expired; its step sets how long it lives (ttl)")
        port, scheme = facts[f"preview.{service}.port"], facts[f"preview.{service}.scheme"]
        return stored, Door(service, int(port or 0), str(scheme)), until

    # --- the way there -------------------------------------------------------------------------------------------------

    def _outer_path(self, request: web.Request) -> str:
        root = urlsplit(self._service.public_url or "").path.rstrip("/")
        parts = (quote(request.match_info[name], safe="") for name in ("rollout", "service", "token"))
        return f"{root}/v1/previews/{'/'.join(parts)}"

    def _said_of_us(self, request: web.Request, outer: str) -> dict[str, str]:
        public = urlsplit(self._service.public_url or "")
        host, scheme = public.netloc or request.host, public.scheme or request.scheme
        return {"X-Forwarded-Host": host, "X-Forwarded-Proto": scheme, "X-Forwarded-Prefix": outer}

    # --- the way back --------------------------------------------------------------------------------------------------

    async def _pass_back(self, request: web.Request, answer: Answered, inner: str, outer: str) -> web.StreamResponse:
        kind = value_of(answer.headers, "content-type").partition(";")[0].strip().lower()
        chunks = answer.chunks
        if answer.status >= 400 and kind == "application/json":
            begun = await _read_beginning(chunks)
            if (refusal := _refusal_of_api_server(answer.status, begun, request.match_info["service"])) is not None:
                raise refusal
            chunks = _joined(begun, chunks)
        is_page = kind == HTML and not value_of(answer.headers, "content-encoding") and request.method != "HEAD"
        response = web.StreamResponse(status=answer.status)
        for name, value in sent_back(answer.headers, is_rewritten=is_page):
            response.headers.add(name, value)
        if location := value_of(answer.headers, "location"):
            response.headers["Location"] = rewritten_location(location, inner, outer)
        await response.prepare(request)
        if request.method != "HEAD":
            try:
                async for chunk in rewritten_page(chunks, inner, outer) if is_page else chunks:
                    await response.write(chunk)
            except NotForwarded:
                # Its head is sent already: cutting the connection is the only way left to say that something is missing.
                log.warning("preview.broke_off", service=request.match_info["service"])
                if request.transport is not None:
                    request.transport.abort()
                raise ConnectionResetError("the answer of the Service broke off") from None
        await response.write_eof()
        return response


def _allow_cross_origin(request: web.Request) -> web.Response:
    """A browser asks this for a page in the sandbox before it sends anything but plain requests."""
    asked = request.headers.get("Access-Control-Request-Headers", "")
    headers = {**CROSS_ORIGIN, "Access-Control-Allow-Methods": ", ".join(METHODS), "Access-Control-Max-Age": "600"}
    headers |= {"Access-Control-Allow-Headers": asked} if asked else {}
    return web.Response(status=HTTPStatus.NO_CONTENT, headers=headers)


def _tail_of(request: web.Request) -> str:
    """The path below the Service and the query, as they came. Refuses what could be read as another path further on."""
    raw, question, query = request.raw_path.partition("?")
    raw = raw if raw.startswith("/") else urlsplit(raw).path
    tail = raw.split("/", 6)[6]
    for segment in tail.split("/"):
        once = unquote(segment)
        for decoded in (once, unquote(once)):
            if decoded in (".", "..") or any(letter in decoded for letter in "/\\") or not decoded.isprintable():
                raise _Refused(HTTPStatus.BAD_REQUEST, _ODD_PATH)
    return tail + question + query


def _check_request(request: web.Request) -> None:
    if "upgrade" in request.headers.get("Connection", "").lower() or "Upgrade" in request.headers:
        raise _Refused(
            HTTPStatus.NOT_IMPLEMENTED, "previews carry plain requests and answers; WebSockets and other upgrades are not sent on"
        )
    if request.method not in METHODS:
        raise _Refused(HTTPStatus.METHOD_NOT_ALLOWED, f"previews take {', '.join(METHODS)}")
    if (request.content_length or 0) > MOST_REQUEST_BYTES:
        raise _too_large()


def _too_large() -> _Refused:
    return _Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"requests to previews are at most {MOST_REQUEST_BYTES >> 20} MiB")


class _Upload:
    """The visitor's body, as it comes; it breaks off where it is too large."""

    def __init__(self, request: web.Request) -> None:
        self._request = request
        self.is_too_large = False

    async def chunks(self) -> AsyncIterator[bytes]:
        total = 0
        while True:
            with anyio.fail_after(SILENCE_SECONDS):
                chunk = await self._request.content.readany()
            if not chunk:
                return
            total += len(chunk)
            if total > MOST_REQUEST_BYTES:
                self.is_too_large = True
                raise OSError("the body is too large")
            yield chunk


async def _read_beginning(chunks: AsyncIterator[bytes]) -> bytes:
    begun = b""
    async for chunk in chunks:
        begun += chunk
        if len(begun) > MOST_STATUS_BYTES:
            break
    return begun


async def _joined(begun: bytes, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield begun
    async for chunk in chunks:
        yield chunk


def _refusal_of_api_server(status: int, content: bytes, service: str) -> _Refused | None:
    """None where the answer is the Service's. The API server's own words name accounts and addresses, which are not repeated."""
    try:
        said = msgspec.json.decode(content, type=_Status)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if said.kind != "Status" or said.api_version != "v1":
        return None
    if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        why = "Headgate's account may not use the proxy to Services (services/proxy); headgate doctor says more"
    elif "no endpoints available" in said.message:
        why = f"no pod of Service {service} is ready"
    elif status == HTTPStatus.NOT_FOUND:
        why = f"there is no Service {service} any more"
    else:
        why = f"the API server of its cluster could not reach Service {service}"
    return _Refused(HTTPStatus.BAD_GATEWAY, f"{why}; try again in a while")


def _answer(status: HTTPStatus, text: str) -> web.Response:
    headers = {"Cache-Control": "no-store", "X-Robots-Tag": "noindex"}
    if status is HTTPStatus.METHOD_NOT_ALLOWED:
        headers["Allow"] = ", ".join(METHODS)
    return web.Response(status=status, text=f"{text}\n", headers=headers)
