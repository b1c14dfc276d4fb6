"""Who is asking: over the Unix socket the user at its other end, over TCP the holder of a token or of a client certificate.

The socket has mode 0600, so whoever reaches it is its owner or root, and may do everything. Over TCP nothing but the
probes, the callbacks and the previews (which carry a token of their own) and the page's files is answered without a
token of the settings, except by a standby, which only says who leads. What a token may do to which target is compared
where the targets are known: `adapters.http.sight`, `adapters.http.authority`.
"""

from __future__ import annotations

import hashlib
import hmac
import pwd
import socket
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

import anyio.to_thread
import structlog
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from adapters.access import Access, Scope, TargetKey, Token, Verb, has_expired
from adapters.http.bodies import ErrorCode
from adapters.http.certificates import names_in
from adapters.http.failures import STORE_TROUBLE, ApiFailure
from engine.clock import Clock
from engine.errors import StoreError

log = structlog.get_logger()

_PEER_CREDENTIALS = struct.Struct("3i")
OPEN_ROUTES = frozenset(
    {
        "/livez",
        "/v1/openapi.json",
        "/readyz",
        "/v1/callbacks/{rollout}/{token}/callback",
        "/v1/previews/{rollout}/{service}/{token}/{tail}",
        "/",
        "/ui",
        "/ui/",
        "/ui/assets/{name}",
    }
)
"""The routes that are answered without knowing who asks. The page is the same for everybody and holds nothing."""
_NEEDED = 'a token is needed; send it as "Authorization: Bearer TOKEN"'
_READING = frozenset({"GET", "HEAD"})


@dataclass(frozen=True, slots=True)
class Caller:
    name: str
    roles: tuple[str, ...] | None
    """None is full access, as the owner of the socket has it."""
    access: Access = Access.FULL
    scopes: tuple[Scope, ...] = ()
    """None at all allow everything."""
    expires_at: datetime | None = None

    def may(self, verb: Verb, key: TargetKey) -> bool:
        if self.access is Access.READ and verb is not Verb.READ:
            return False
        return not self.scopes or any(scope.allows(verb, key) for scope in self.scopes)

    @property
    def sees_everything(self) -> bool:
        return not self.scopes or any(scope.covers_everything for scope in self.scopes)

    def has_expired(self, now: datetime) -> bool:
        return has_expired(self.expires_at, now)


CALLER = web.RequestKey("caller", Caller)


def identify_callers(
    tokens: Callable[[], Sequence[Token]], clock: Clock, open_routes: frozenset[str] = OPEN_ROUTES
) -> Middleware:
    """A middleware that finds out who asks, and refuses orders by those who may only read. `tokens` are those in force."""
    gate = _Gate(tokens, clock)

    @web.middleware
    async def identify(request: web.Request, handler: Handler) -> web.StreamResponse:
        resource = request.match_info.route.resource
        if resource is not None and resource.canonical in open_routes:
            return await _answer_anybody(request, handler, resource.canonical)
        caller = await gate.identify(request)
        if caller.access is Access.READ and request.method not in _READING:
            raise ApiFailure(ErrorCode.FORBIDDEN, f"the token {caller.name} may read, but not give orders")
        request[CALLER] = caller
        return await handler(request)

    return identify


async def _answer_anybody(request: web.Request, handler: Handler, route: str) -> web.StreamResponse:
    try:
        return await handler(request)
    except StoreError as error:
        log.warning("api.store_failed", route=route, error=str(error))
        raise ApiFailure(ErrorCode.UNAVAILABLE, STORE_TROUBLE) from None


class _Gate:
    def __init__(self, tokens: Callable[[], Sequence[Token]], clock: Clock) -> None:
        self._tokens = tokens
        self._clock = clock
        self._users: dict[int, str] = {}

    async def identify(self, request: web.Request) -> Caller:
        connection = request.get_extra_info("socket")
        if connection is None:
            raise ConnectionResetError("the caller has gone away")
        if connection.family == socket.AF_UNIX:
            _, uid, _ = _PEER_CREDENTIALS.unpack(
                connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER_CREDENTIALS.size)
            )
            return Caller(await self._user(uid), None)
        return self._holder(request.headers.get("Authorization", ""), names_in(request.get_extra_info("peercert")))

    async def _user(self, uid: int) -> str:
        """Looked up beside the loop, because a directory service may be slow, and kept."""
        if uid not in self._users:
            try:
                entry = await anyio.to_thread.run_sync(pwd.getpwuid, uid)
                self._users[uid] = entry.pw_name
            except KeyError:
                self._users[uid] = f"user {uid}"
        return self._users[uid]

    def _holder(self, authorization: str, certified: frozenset[str]) -> Caller:
        found = self._by_token(authorization, certified) if authorization else self._by_certificate(certified)
        caller = Caller(found.name, found.roles, found.access, found.scopes, found.expires_at)
        if caller.has_expired(self._clock.now()):
            if found.sha256 is None:
                raise ApiFailure(ErrorCode.UNAUTHORIZED, f"the entry {found.name} of tokens has expired")
            advice = f"its holder needs a new one: headgate token new {found.name}"
            raise ApiFailure(ErrorCode.UNAUTHORIZED, f"the token {found.name} has expired; {advice}")
        return caller

    def _by_token(self, authorization: str, certified: frozenset[str]) -> Token:
        scheme, _, secret = authorization.partition(" ")
        if scheme.lower() != "bearer" or not secret.strip():
            raise ApiFailure(ErrorCode.UNAUTHORIZED, _NEEDED)
        digest = hashlib.sha256(secret.strip().encode("utf-8", "surrogateescape")).hexdigest()
        found: Token | None = None
        for token in self._tokens():  # Every one is compared, so that the time says nothing about them.
            if token.sha256 is not None and hmac.compare_digest(token.sha256, digest):
                found = token
        if found is None:
            raise ApiFailure(ErrorCode.UNAUTHORIZED, "this token is not one of those in the daemon's settings")
        if found.certificate is not None and found.certificate not in certified:
            message = f"the token {found.name} counts only together with its client certificate"
            raise ApiFailure(ErrorCode.UNAUTHORIZED, message)
        return found

    def _by_certificate(self, certified: frozenset[str]) -> Token:
        """Whoever needs a token beside the certificate is nobody without it."""
        for token in self._tokens():
            if token.sha256 is None and token.certificate in certified:
                return token
        raise ApiFailure(ErrorCode.UNAUTHORIZED, _NEEDED)
