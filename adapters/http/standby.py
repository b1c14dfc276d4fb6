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

_REFUSED = "/{path:.*}"
_OPEN_ROUTES = frozenset({"/livez", "/readyz", "/{path}"})
"""A refusal says no more than the probe. Callers of webhooks have no token of ours, and would take 401 for the last word."""


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
            identify_callers(tokens, clock, _OPEN_ROUTES),
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
            web.route("*", _REFUSED, standby.refuse),
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
        is_elsewhere = bool(self._turn.leader) and not self._turn.leads
        raise ApiFailure(ErrorCode.UNAVAILABLE, f"{self._situation}; ask there" if is_elsewhere else self._situation)

    @property
    def _situation(self) -> str:
        turn = self._turn
        if turn.leads:
            return "this daemon is just taking over"
        told = f"{turn.leader} leads" if turn.leader else "nobody leads yet"
        if turn.trouble:
            # Why it cannot, the log says: whoever asks needs no token, and the reason names the API server.
            return f"this daemon is a standby that cannot ask for the lease, its log says why; as far as it knows, {told}"
        return f"this daemon is a standby: {told}" if turn.leader else f"this daemon is a standby, and {told}"
