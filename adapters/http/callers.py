"""Tells a caller who the daemon takes them for: what a page or a script asks before it offers anything."""

from __future__ import annotations

from aiohttp import web

from adapters.access import Access, Verb
from adapters.http.bodies import CallerBody
from adapters.http.failures import json_answer
from adapters.http.identity import CALLER, Caller


class Callers:
    def routes(self) -> list[web.RouteDef]:
        return [web.get("/v1/caller", self.show)]

    async def show(self, request: web.Request) -> web.Response:
        caller = request[CALLER]
        return json_answer(CallerBody(name=caller.name, roles=caller.roles, may_order=_may_order(caller)))


def _may_order(caller: Caller) -> bool:
    limited = bool(caller.scopes) and all(set(scope.verbs) == {Verb.READ} for scope in caller.scopes)
    return caller.access is not Access.READ and not limited
