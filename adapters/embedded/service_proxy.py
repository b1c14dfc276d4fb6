"""The proxy subresource of Services: a request to a Service's path is sent on to one of its ready pods.

Pods that are real HTTP servers have an annotation with the port that they listen on; simulated ones cannot be reached, which is
answered as the real server answers for a pod that does not.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import count

import aiohttp
from aiohttp import web
from yarl import URL

from adapters.embedded.endpoint_slices import SERVICE_LABEL
from adapters.embedded.errors import ServiceUnavailable
from adapters.embedded.json_objects import JsonObject, labels_of
from adapters.embedded.resources import ENDPOINT_SLICES, SERVICES
from adapters.embedded.routes import Target
from adapters.embedded.storage import Storage

_NAME = re.compile(r"(?:(?P<scheme>https?):)?(?P<service>[^:]+)(?::(?P<port>[^:]*))?")
_HOP_BY_HOP = frozenset({"connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade", "host", "authorization"})
_LOOPBACK = "127."


class ServiceProxy:
    """Its connections are opened at the first request and have to be closed."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._turn = count()
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def answer(self, received: web.BaseRequest, target: Target, tail: str) -> web.StreamResponse:
        """`tail` is the path below the Service, encoded. Raises `ServiceUnavailable` and `NotFound`."""
        named = _NAME.fullmatch(target.name)
        if named is None:
            raise ServiceUnavailable(f"invalid service request {target.name!r}")
        address, number = self._choose(target.namespace, named["service"], named["port"] or "")
        if not address.startswith(_LOOPBACK):
            raise ServiceUnavailable(f"error trying to reach service: dial tcp {address}:{number}: i/o timeout")
        _, question, query = received.raw_path.partition("?")
        url = URL(f"http://{address}:{number}/{tail.removeprefix('/')}{question}{query}", encoded=True)
        headers = [(name, value) for name, value in received.headers.items() if name.lower() not in _HOP_BY_HOP]
        body = received.content.iter_any() if received.body_exists else None
        if self._session is None:
            self._session = aiohttp.ClientSession(auto_decompress=False, cookie_jar=aiohttp.DummyCookieJar())
        try:
            async with self._session.request(
                received.method, url, headers=headers, data=body, allow_redirects=False
            ) as found:
                return await _pass_back(received, found, target)
        except aiohttp.ClientConnectorError as error:
            message = f"error trying to reach service: dial tcp {address}:{number}: connect: connection refused"
            raise ServiceUnavailable(message) from error

    def _choose(self, namespace: str, service: str, port: str) -> tuple[str, int]:
        """One ready pod's address after the other."""
        wanted = self._port_name(self._storage.get(SERVICES, namespace, service), port)
        ready = sorted(self._ready(namespace, service, wanted))
        if not ready:
            raise ServiceUnavailable(f'no endpoints available for service "{service}"')
        return ready[next(self._turn) % len(ready)]

    def _port_name(self, service: JsonObject, wanted: str) -> str:
        ports: list[JsonObject] = service["spec"].get("ports") or []
        for port in ports:
            if wanted in (str(port["port"]), port.get("name", "")) or (not wanted and len(ports) == 1):
                return str(port.get("name", ""))
        raise ServiceUnavailable(f'no service port "{wanted}" found for service "{service["metadata"]["name"]}"')

    def _ready(self, namespace: str, service: str, port: str) -> Iterator[tuple[str, int]]:
        for one in self._storage.iterate(ENDPOINT_SLICES, namespace):
            if labels_of(one).get(SERVICE_LABEL) != service:
                continue
            numbers = [found["port"] for found in one.get("ports") or () if found.get("name", "") == port]
            for endpoint in one.get("endpoints") or ():
                if endpoint["conditions"].get("ready"):
                    yield from ((address, number) for address in endpoint["addresses"] for number in numbers)


async def _pass_back(received: web.BaseRequest, found: aiohttp.ClientResponse, target: Target) -> web.StreamResponse:
    response = web.StreamResponse(status=found.status)
    for name, value in found.headers.items():
        if name.lower() not in _HOP_BY_HOP | {"location"}:
            response.headers.add(name, value)
    if location := found.headers.get("Location"):
        here = f"/api/v1/namespaces/{target.namespace}/services/{target.name}/proxy"
        response.headers["Location"] = here + location if location.startswith("/") else location
    await response.prepare(received)
    async for chunk in found.content.iter_any():
        await response.write(chunk)
    await response.write_eof()
    return response
