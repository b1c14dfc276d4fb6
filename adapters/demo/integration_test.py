"""The demo's integration test: a small test service that a webhook starts, that tries the new version, and that calls back."""

from __future__ import annotations

import aiohttp
import anyio
import anyio.abc
from aiohttp import web

REQUESTS = 20
MOST_FAILURES = 1


class TestService:
    """Answers the webhook at once and works afterwards, as a pipeline would."""

    def __init__(self, session: aiohttp.ClientSession, mesh_url: str, service: str, tasks: anyio.abc.TaskGroup) -> None:
        self._session = session
        self._mesh_url = mesh_url
        self._service = service
        self._tasks = tasks

    def routes(self) -> list[web.RouteDef]:
        return [web.post("/integration-test", self._start)]

    async def _start(self, request: web.Request) -> web.Response:
        body = await request.json()
        self._tasks.start_soon(self._test, str(body["callbackUri"]), name="integration test")
        return web.json_response({"started": True}, status=202)

    async def _test(self, callback: str) -> None:
        failures = 0
        for _ in range(REQUESTS):
            async with self._session.get(self._mesh_url, headers={"Host": self._service}) as answer:
                await answer.read()
                failures += answer.status != 200
            await anyio.sleep(0.04)
        verdict = {
            "success": failures <= MOST_FAILURES,
            "mdMessage": f"{REQUESTS - failures} of {REQUESTS} requests to the new version were answered well",
        }
        async with self._session.post(callback, json=verdict) as answer:
            await answer.read()
