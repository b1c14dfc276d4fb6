"""Requests to one API server: JSON in, JSON out, every status checked, every wait bounded.

Requests and watches have connections of their own: a client library that shares one pool blocks for ever on the request after its
hundredth watch. A 401 renews the credentials once. What cannot be answered becomes a typed error (`adapters.kubernetes.errors`);
after a time-out of a write nobody knows whether it was applied, so callers read before they write again.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, TypeAlias

import aiohttp

from adapters.kubernetes.credentials import Credentials
from adapters.kubernetes.errors import ApiError, MalformedAnswer, Unauthorized, Unreachable, error_of

JsonObject: TypeAlias = dict[str, Any]

USER_AGENT = "headgate"
REQUEST_SECONDS = 40.0
"""Longer than the API server's own limit for a write to etcd (34 s were seen), so that its answer is not missed by a moment."""
CONNECT_SECONDS = 10.0
LONGEST_LINE = 32 * 2**20
"""Of a watch, in bytes. An object cannot be larger than etcd's limit of a few MiB."""


class Transport:
    """Made by `open_transport`."""

    def __init__(self, credentials: Credentials, requests: aiohttp.ClientSession, watches: aiohttp.ClientSession) -> None:
        self._credentials = credentials
        self._requests = requests
        self._watches = watches
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
        document = json.loads(content)
        if not isinstance(document, dict):
            raise MalformedAnswer(what, "the answer is not a JSON object")
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
        try:
            return await self._once(method, path, what, query, payload, content_type)
        except Unauthorized:
            await self._credentials.renew()
            return await self._once(method, path, what, query, payload, content_type)

    async def _once(
        self,
        method: str,
        path: str,
        what: str,
        query: Mapping[str, str] | None,
        payload: bytes | None,
        content_type: str,
    ) -> bytes:
        headers = await self._credentials.headers()
        if payload is not None:
            headers["Content-Type"] = content_type
        self.counts[method] += 1
        try:
            async with self._requests.request(
                method, self._credentials.server + path, params=query, data=payload, headers=headers
            ) as response:
                content = await response.read()
                if response.status >= 400:
                    raise _error(what, response, content)
                if "json" not in response.content_type:
                    raise MalformedAnswer(what, f"the answer is {response.content_type}, not JSON; is a proxy in between?")
                return content
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Unreachable(what, f"no answer from {self._credentials.server} ({_reason(error)})") from error

    @asynccontextmanager
    async def watch(
        self, path: str, *, what: str, query: Mapping[str, str], silence_seconds: float
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """The lines of a watch, for as long as the server sends any within `silence_seconds` of each other."""
        headers = await self._credentials.headers()
        self.counts["WATCH"] += 1
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=silence_seconds)
        try:
            async with self._watches.get(
                self._credentials.server + path, params=query, headers=headers, timeout=timeout
            ) as response:
                if response.status >= 400:
                    raise _error(what, response, await response.read())
                yield _lines(what, response)
        except Unauthorized:
            await self._credentials.renew()
            raise
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Unreachable(what, f"the watch broke off ({_reason(error)})") from error


async def _lines(what: str, response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    """Split by ourselves: the library's own line reader gives up at a few MiB."""
    pending = bytearray()
    async for chunk in response.content.iter_any():
        pending += chunk
        if b"\n" not in chunk:
            if len(pending) > LONGEST_LINE:
                raise MalformedAnswer(what, f"a line of the watch is longer than {LONGEST_LINE} bytes")
            continue
        *lines, rest = bytes(pending).split(b"\n")
        pending = bytearray(rest)
        for line in lines:
            if line:
                yield line


def _error(what: str, response: aiohttp.ClientResponse, content: bytes) -> ApiError:
    try:
        body = json.loads(content)
    except ValueError:
        body = None
    retry_after = response.headers.get("Retry-After", "")
    return error_of(what, response.status, body, float(retry_after) if retry_after.isdigit() else None)


def _reason(error: BaseException) -> str:
    return str(error) or type(error).__name__


@asynccontextmanager
async def open_transport(credentials: Credentials, *, requests_at_once: int = 64) -> AsyncIterator[Transport]:
    limit = aiohttp.ClientTimeout(total=REQUEST_SECONDS, sock_connect=CONNECT_SECONDS)
    tls = credentials.tls if credentials.tls is not None else True
    headers = {"User-Agent": USER_AGENT, "Accept": "application/json"}
    async with (
        aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=requests_at_once, ssl=tls), timeout=limit, headers=headers, trust_env=True
        ) as requests,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0, ssl=tls), headers=headers, trust_env=True) as watches,
    ):
        yield Transport(credentials, requests, watches)
