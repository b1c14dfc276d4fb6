"""Probes and figures: is the daemon alive, can it work, and what has it done."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus

import anyio
import structlog
from aiohttp import web

from adapters.http.bodies import ErrorCode, Health
from adapters.http.failures import STORE_TROUBLE, ApiFailure, json_answer
from adapters.http.identity import CALLER
from adapters.http.service import Service
from adapters.http.telemetry import METRICS_CONTENT
from engine.errors import StoreError

log = structlog.get_logger()

READY_SECONDS = 5.0
FRESH_SECONDS = 1.0
"""How long it holds that the store could be written to."""


class Probes:
    def __init__(self, service: Service, writer_figures: Callable[[], tuple[int, int]]) -> None:
        self._service = service
        self._writer_figures = writer_figures
        self._asking = anyio.Lock()
        self._good_until = float("-inf")
        self._noted = ""

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/livez", self.live),
            web.get("/readyz", self.ready),
            web.get("/metrics", self.metrics),
        ]

    async def live(self, _request: web.Request) -> web.Response:
        """The loop that drives the rollouts goes round: it has just answered."""
        return json_answer(Health(ready=True, message="alive"))

    async def ready(self, _request: web.Request) -> web.Response:
        """Everything unfinished was taken up (the API only opens after that), and decisions can be written down."""
        trouble = await self._trouble()
        self._note(trouble)
        status = HTTPStatus.SERVICE_UNAVAILABLE if trouble else HTTPStatus.OK
        return json_answer(Health(ready=not trouble, message=STORE_TROUBLE if trouble else "ready"), status)

    def _note(self, trouble: str) -> None:
        """In the log, and once for as long as it stays the same: anybody may ask, as often as they like."""
        if trouble and trouble != self._noted:
            log.warning("store.not_ready", error=trouble)
        self._noted = trouble

    async def _trouble(self) -> str:
        if self._service.telemetry.store_error:
            return self._service.telemetry.store_error
        try:
            with anyio.fail_after(READY_SECONDS):
                await self._check_store()
        except StoreError as error:
            return str(error)
        except TimeoutError:
            return f"the store did not answer within {READY_SECONDS:g} s"
        return ""

    async def _check_store(self) -> None:
        """One question for all who ask at once, and one a second at most: each costs a write, and anybody may ask."""
        async with self._asking:
            if self._service.clock.monotonic() >= self._good_until:
                await self._service.check_store()
                self._good_until = self._service.clock.monotonic() + FRESH_SECONDS

    async def metrics(self, request: web.Request) -> web.Response:
        caller = request[CALLER]
        if not caller.sees_everything:
            message = f"these are figures of all releases together, and the token {caller.name} may read only some of them"
            raise ApiFailure(ErrorCode.FORBIDDEN, message)
        states = [
            stored.snapshot.state
            for release in await self._service.store.unfinished_releases()
            for stored in self._service.engine.rollouts(release.id)
        ]
        text = self._service.telemetry.render(states, *self._writer_figures())
        return web.Response(body=text, headers={"Content-Type": METRICS_CONTENT, "Cache-Control": "no-store"})
