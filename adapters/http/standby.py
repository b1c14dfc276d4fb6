"""The API of a daemon that waits for its turn: it is alive, it is not ready, and it knows who leads. It carries out nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from http import HTTPStatus

from aiohttp import web
from prometheus_client import CollectorRegistry, generate_latest

from adapters.access import Token
from adapters.http.bodies import ErrorCode, Health
from adapters.http.failures import ApiFailure, answer_errors, json_answer
from adapters.http.hosts import refuse_other_hosts, refuse_other_origins
from adapters.http.identity import identify_callers
from adapters.http.listening import CONNECTIONS, Connections
from adapters.http.page.serving import add_safety_headers
from adapters.http.telemetry import METRICS_CONTENT, TurnFigures
from adapters.leadership import Turn
from adapters.settings import Address
from engine.clock import Clock


def build_standby_application(
    turn: Turn,
    tokens: Callable[[], Sequence[Token]],
    clock: Clock,
    listen: Address | None = None,
    public_url: str | None = None,
) -> web.Application:
    connections = Connections()
    application = web.Application(
        middlewares=[
            connections.note(),
            answer_errors,
            refuse_other_hosts(listen, public_url),
            refuse_other_origins(public_url),
            identify_callers(tokens, clock),
        ]
    )
    application[CONNECTIONS] = connections
    application.on_response_prepare.append(add_safety_headers)
    standby = _Standby(turn)
    application.add_routes(
        [
            web.get("/livez", standby.live),
            web.get("/readyz", standby.ready),
            web.get("/metrics", standby.metrics),
            web.route("*", "/{path:.*}", standby.refuse),
        ]
    )
    return application


class _Standby:
    def __init__(self, turn: Turn) -> None:
        self._turn = turn
        self._registry = CollectorRegistry()
        self._registry.register(TurnFigures(turn))

    async def live(self, _request: web.Request) -> web.Response:
        return json_answer(Health(ready=True, message="alive"))

    async def ready(self, _request: web.Request) -> web.Response:
        return json_answer(Health(ready=False, message=self._situation), HTTPStatus.SERVICE_UNAVAILABLE)

    async def metrics(self, _request: web.Request) -> web.Response:
        headers = {"Content-Type": METRICS_CONTENT, "Cache-Control": "no-store"}
        return web.Response(body=generate_latest(self._registry), headers=headers)

    async def refuse(self, _request: web.Request) -> web.Response:
        raise ApiFailure(ErrorCode.UNAVAILABLE, f"{self._situation}; ask there")

    @property
    def _situation(self) -> str:
        if self._turn.leads:
            return "this daemon is just taking over"
        leader = self._turn.leader
        return f"this daemon is a standby: {leader} leads" if leader else "this daemon is a standby, and nobody leads yet"
