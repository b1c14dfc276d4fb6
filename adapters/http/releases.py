"""The API's releases: submit, list, look at one, read its journal, give it orders. Thin: the work is the engine's."""

from __future__ import annotations

from http import HTTPStatus

import structlog
from aiohttp import web

from adapters.http.authority import require_displacement, require_order
from adapters.http.bodies import (
    Accepted,
    CommandBody,
    CommandTaken,
    ErrorCode,
    JournalBody,
    ReleaseList,
    RetryBody,
    RollbackBody,
    SubmitBody,
)
from adapters.http.failures import ApiFailure, json_answer
from adapters.http.identity import CALLER
from adapters.http.offers import offers
from adapters.http.requests import read_body, read_limit
from adapters.http.rollback import plan_retry, plan_rollback
from adapters.http.service import MOST_SEARCHED, Service
from adapters.http.sight import Sight
from adapters.http.submission import compile_submission
from adapters.http.views import entry_body
from engine.errors import Conflict
from engine.events import Command
from engine.model import ReleasePlan
from strategies.rollback import source_of

log = structlog.get_logger()

USUAL_LIMIT = 100
MOST_REASON = 1_000


class Releases:
    def __init__(self, service: Service) -> None:
        self._service = service

    def routes(self) -> list[web.RouteDef]:
        return [
            web.post("/v1/releases", self.submit),
            web.get("/v1/releases", self.list),
            web.get("/v1/releases/{release}", self.show),
            web.get("/v1/releases/{release}/journal", self.journal),
            web.post("/v1/releases/{release}/commands", self.command),
            web.get("/v1/releases/{release}/offers", self.offers),
            web.post("/v1/releases/{release}/rollback", self.roll_back),
            web.post("/v1/releases/{release}/retry", self.retry),
        ]

    async def submit(self, request: web.Request) -> web.Response:
        body = await read_body(request, SubmitBody)
        _require_printable(body.name, "name")
        sight = self._sight(request)
        plan = await compile_submission(body, sight.caller, self._service.known())
        return await self._begin(plan, sight, source=body.name)

    async def offers(self, request: web.Request) -> web.Response:
        sight = self._sight(request)
        release = await sight.find(request.match_info["release"])
        return json_answer(await offers(self._service, sight, release))

    async def roll_back(self, request: web.Request) -> web.Response:
        """A release of its own, so that it is watched, aborted and taken back as any other."""
        body = await read_body(request, RollbackBody)
        _require_printable(body.reason, "reason")
        sight = self._sight(request)
        release = await sight.find(request.match_info["release"])
        plan = await plan_rollback(self._service, sight, release, body)
        return await self._begin(plan, sight, source=source_of(plan))

    async def retry(self, request: web.Request) -> web.Response:
        """The same revision, as a new attempt with a name of its own."""
        body = await read_body(request, RetryBody)
        _require_printable(body.reason, "reason")
        sight = self._sight(request)
        release = await sight.find(request.match_info["release"])
        plan = await plan_retry(self._service, sight, release, body)
        return await self._begin(plan, sight, source=source_of(plan))

    async def _begin(self, plan: ReleasePlan, sight: Sight, *, source: str) -> web.Response:
        by = sight.caller.name
        # With nothing to wait for in between, so that it is still so when the engine looks.
        require_displacement(sight.caller, self._service.engine.displaced_by(plan))
        try:
            release = await self._service.engine.submit(plan, by=by, source=source)
        except Conflict as error:
            raise await self._conflict(error, sight) from error
        log.info("api.submitted", release=release.id, application=release.application, source=source, by=by)
        answer = Accepted(release=await sight.body(release), warnings=plan.warnings)
        return json_answer(answer, HTTPStatus.ACCEPTED)

    async def _conflict(self, error: Conflict, sight: Sight) -> ApiFailure:
        running = await self._service.store.release(error.release)
        if running is None or await sight.sees(running):
            return ApiFailure(ErrorCode.CONFLICT, str(error), release=error.release)
        message = f"a release that the token {sight.caller.name} may not see is in the way; try again when it has ended"
        return ApiFailure(ErrorCode.CONFLICT, message)

    async def list(self, request: web.Request) -> web.Response:
        limit = read_limit(request, USUAL_LIMIT, MOST_SEARCHED)
        application = request.query.get("application")
        sight = self._sight(request)
        releases = await sight.releases(application=application, limit=limit)
        return json_answer(ReleaseList(releases=tuple([await sight.body(release) for release in releases])))

    async def show(self, request: web.Request) -> web.Response:
        sight = self._sight(request)
        return json_answer(await sight.detail(await sight.find(request.match_info["release"])))

    async def journal(self, request: web.Request) -> web.Response:
        sight = self._sight(request)
        release = await sight.find(request.match_info["release"])
        targets = {stored.spec.id: stored.spec.plan.target for stored in await sight.rollouts(release.id)}
        entries = await self._service.store.journal(release.id)
        bodies = tuple(entry_body(entry, targets[entry.rollout]) for entry in entries if entry.rollout in targets)
        return json_answer(JournalBody(release=release.id, entries=bodies))

    async def command(self, request: web.Request) -> web.Response:
        body = await read_body(request, CommandBody)
        if body.expected_step is not None and body.expected_step < 0:
            raise ApiFailure(ErrorCode.BAD_REQUEST, "expectedStep is negative; steps are counted from 1")
        _require_printable(body.reason, "reason")
        sight = self._sight(request)
        release, caller = await sight.find(request.match_info["release"]), sight.caller
        require_order(caller, body.kind, release, await self._service.rollouts(release.id), body.target)
        command = Command(
            kind=body.kind,
            by=caller.name,
            expected_step=None if body.expected_step is None else body.expected_step - 1,
            gate=body.gate,
            roles=caller.roles,
            reason=body.reason,
        )
        taken = await self._service.engine.command(release.id, command, body.target)
        log.info("api.ordered", release=release.id, order=body.kind, targets=taken, by=caller.name)
        return json_answer(CommandTaken(release=release.id, kind=body.kind, targets=tuple(taken)))

    def _sight(self, request: web.Request) -> Sight:
        return Sight(self._service, request[CALLER])


def _require_printable(text: str, what: str) -> None:
    """It goes into the journal, and from there to people's terminals."""
    if not text.isprintable() or len(text) > MOST_REASON:
        message = f"{what} has to be printable text on one line, of at most {MOST_REASON} characters"
        raise ApiFailure(ErrorCode.BAD_REQUEST, message)
