"""What the tests of the API server share: a storage with a clock set by hand, a served one with a client, and objects."""

from __future__ import annotations

import io
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import count
from typing import Any

import aiohttp
import anyio

from adapters.embedded.json_objects import JsonObject
from adapters.embedded.server import ApiServer
from adapters.embedded.storage import Storage
from tests.clocks import START

DEPLOYMENTS_PATH = "/apis/apps/v1/namespaces/default/deployments"
SERVICES_PATH = "/api/v1/namespaces/default/services"
CONFIG_MAPS_PATH = "/api/v1/namespaces/default/configmaps"
SPLITS_PATH = "/apis/split.smi-spec.io/v1alpha2/namespaces/default/trafficsplits"
DEFINITIONS_PATH = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"

MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
JSON_PATCH = "application/json-patch+json"
APPLY = "application/apply-patch+yaml"


class HandClock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self._now = START

    def __call__(self) -> datetime:
        return self._now

    def advance(self, seconds: float) -> None:
        self._now += timedelta(seconds=seconds)


def new_storage(clock: Callable[[], datetime] | None = None, *, history: int = 10_000) -> Storage:
    """A storage with uids in order."""
    numbers = count(1)
    return Storage(clock or HandClock(), lambda: f"uid-{next(numbers)}", history)


@dataclass(frozen=True)
class Reply:
    """What the server answered."""

    status: int
    json: Any
    headers: Mapping[str, str]

    @property
    def message(self) -> str:
        return str(self.json["message"])

    @property
    def causes(self) -> list[tuple[str, str]]:
        """Field and reason of each cause."""
        return [(cause.get("field", ""), cause.get("reason", "")) for cause in self.json["details"].get("causes", [])]


class WatchStream:
    """The events of an open watch, one by one."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response

    async def next(self, within: float = 5.0) -> JsonObject:
        """The next event."""
        with anyio.fail_after(within):
            line = await self._response.content.readline()
        if not line:
            raise EOFError("the watch ended")
        event: JsonObject = json.loads(line)
        return event

    async def next_short(self) -> tuple[str, str]:
        """Type and name of the next event."""
        event = await self.next()
        return event["type"], event["object"]["metadata"].get("name", "")

    async def rest(self, within: float = 5.0) -> list[JsonObject]:
        """All events until the server ends the watch."""
        events = []
        while True:
            try:
                events.append(await self.next(within))
            except EOFError:
                return events


class Api:
    """A client of a served storage."""

    def __init__(self, server: ApiServer, session: aiohttp.ClientSession) -> None:
        self.server = server
        self.storage = server.storage
        self._session = session

    async def request(
        self, method: str, path: str, body: object = None, *, media_type: str = "application/json", **headers: str
    ) -> Reply:
        data = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if data is not None:
            sent["Content-Type"] = media_type
        stream = io.BytesIO(data) if data is not None else None
        async with self._session.request(method, self.server.url + path, data=stream, headers=sent) as response:
            text = await response.read()
            is_json = response.headers.get("Content-Type", "").startswith("application/json")
            return Reply(response.status, json.loads(text) if is_json and text else text, response.headers)

    async def get(self, path: str, **headers: str) -> Reply:
        return await self.request("GET", path, **headers)

    async def post(self, path: str, body: object, **headers: str) -> Reply:
        return await self.request("POST", path, body, **headers)

    async def put(self, path: str, body: object, **headers: str) -> Reply:
        return await self.request("PUT", path, body, **headers)

    async def patch(self, path: str, body: object, media_type: str = MERGE, **headers: str) -> Reply:
        return await self.request("PATCH", path, body, media_type=media_type, **headers)

    async def delete(self, path: str, body: object = None, **headers: str) -> Reply:
        return await self.request("DELETE", path, body, **headers)

    async def apply(self, path: str, body: JsonObject, manager: str, *, force: bool = False) -> Reply:
        """A server-side apply."""
        name = body["metadata"]["name"]
        query = f"?fieldManager={manager}" + ("&force=true" if force else "")
        return await self.patch(f"{path}/{name}{query}", body, APPLY)

    @asynccontextmanager
    async def watch(self, path: str, **parameters: object) -> AsyncIterator[WatchStream]:
        """An open watch."""
        query = "&".join(["watch=true", *(f"{name}={value}" for name, value in parameters.items())])
        timeout = aiohttp.ClientTimeout(total=None)
        async with self._session.get(f"{self.server.url}{path}?{query}", timeout=timeout) as response:
            assert response.status == 200, await response.text()
            yield WatchStream(response)


@asynccontextmanager
async def serve(storage: Storage | None = None, *, token: str | None = None, **options: Any) -> AsyncIterator[Api]:
    """A served storage and its client."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    async with (
        ApiServer(storage or new_storage(), token=token, **options) as server,
        aiohttp.ClientSession(headers=headers) as session,
    ):
        yield Api(server, session)


async def eventually(condition: Callable[[], bool], within: float = 5.0) -> None:
    """Return as soon as a condition holds."""
    with anyio.fail_after(within):
        while not condition():
            await anyio.sleep(0.005)


# Objects


def deployment(name: str = "web", **spec: object) -> JsonObject:
    """A Deployment of one container."""
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": "default", "labels": {"app": name}},
        "spec": {
            "replicas": 3,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {
                    "containers": [
                        {
                            "name": "app",
                            "image": "shop/web:1",
                            "ports": [{"containerPort": 8080}],
                            "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}],
                        }
                    ]
                },
            },
            **spec,
        },
    }


def pod(name: str = "web-1", **metadata: object) -> JsonObject:
    """A Pod of one container."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "default", **metadata},
        "spec": {"containers": [{"name": "app", "image": "shop/web:1"}]},
    }


def service(name: str = "web", **spec: object) -> JsonObject:
    """A Service with one port."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"selector": {"app": name}, "ports": [{"port": 80}], **spec},
    }


def config_map(name: str = "settings", **data: str) -> JsonObject:
    """A ConfigMap."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": "default"},
        "data": data,
    }


def traffic_split(name: str = "web", *, weights: Mapping[str, int] | None = None) -> JsonObject:
    """A TrafficSplit, v1alpha2."""
    weights = weights or {"web-stable": 100, "web-canary": 0}
    return {
        "apiVersion": "split.smi-spec.io/v1alpha2",
        "kind": "TrafficSplit",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"service": name, "backends": [{"service": key, "weight": value} for key, value in weights.items()]},
    }
