"""Where called systems report their verdict. The address carries an unguessable token that is good for one step,
once.

An answer is only acknowledged when it is on disk, because a called side that has its acknowledgement does not send it
again.
"""

from __future__ import annotations

import hmac

import anyio
import structlog
from aiohttp import web
from anyio.streams.memory import MemoryObjectReceiveStream

from adapters.hooks.templates import preview_tokens
from adapters.http.bodies import CallbackBody, CallbackTaken, ErrorCode
from adapters.http.failures import ApiFailure, json_answer
from adapters.http.requests import read_body
from adapters.http.service import Service
from adapters.redaction import Redaction
from engine.feed import EntryNews, News
from engine.gates import all_ids, sign_callback, step_of
from engine.model import RolloutSpec, Verdict, Webhook
from engine.ports import StoredRollout

log = structlog.get_logger()

RECORD_SECONDS = 10.0
MOST_MESSAGE = 2_000


class Callbacks:
    def __init__(self, service: Service, *, record_seconds: float = RECORD_SECONDS) -> None:
        self._service = service
        self._record_seconds = record_seconds
        self._answering: set[str] = set()

    def routes(self) -> list[web.RouteDef]:
        return [web.post("/v1/callbacks/{rollout}/{token}/callback", self.answer)]

    async def answer(self, request: web.Request) -> web.Response:
        rollout, token = request.match_info["rollout"], request.match_info["token"]
        await self._find(rollout, token)
        body = await read_body(request, CallbackBody, any_type=True)
        stored = await self._find(rollout, token)
        if not _is_awaited(stored, token) or token in self._answering:
            raise _not_awaited()
        self._answering.add(token)
        try:
            await self._record(stored, token, body)
        finally:
            self._answering.discard(token)
        log.info("api.callback", rollout=rollout, success=body.success)
        return json_answer(CallbackTaken(rollout=rollout, success=body.success))

    async def _find(self, rollout: str, token: str) -> StoredRollout:
        """The rollout that the token was made for. An address that was never given out looks like any unknown one."""
        stored = next(
            (one for one in await self._service.rollouts(rollout.partition(".")[0]) if one.spec.id == rollout), None
        )
        if stored is not None:
            good = [hmac.compare_digest(one.encode(), token.encode()) for one in _callback_tokens(stored.spec)]
            if any(good):
                return stored
        raise ApiFailure(ErrorCode.NOT_FOUND, "there is nothing at this address")

    async def _record(self, stored: StoredRollout, token: str, body: CallbackBody) -> None:
        verdict = Verdict.PASSED if body.success else Verdict.FAILED
        hidden = Redaction([*_callback_tokens(stored.spec), *preview_tokens(stored.spec, stored.snapshot)])
        said = hidden.take_out(await self._service.take_out_secrets(body.md_message))
        message = "".join(letter if letter.isprintable() else " " for letter in said[:MOST_MESSAGE]).strip()
        with self._service.engine.feed.subscribe() as news:
            if not self._service.engine.callback(stored.spec.id, token, verdict, message):
                raise _not_awaited()
            with anyio.move_on_after(self._record_seconds):
                if await _is_recorded(news, stored.spec.id):
                    return
        raise ApiFailure(ErrorCode.UNAVAILABLE, "the answer could not be recorded yet; send it again in a while")


def _callback_tokens(spec: RolloutSpec) -> list[str]:
    """Of every webhook that the rollout may call."""
    return [sign_callback(spec, one) for one in all_ids(spec.plan) if isinstance(step_of(spec.plan, one), Webhook)]


def _not_awaited() -> ApiFailure:
    message = "this answer was already given, or nobody waits for it any more; nothing was changed"
    return ApiFailure(ErrorCode.REFUSED, message)


def _is_awaited(stored: StoredRollout, token: str) -> bool:
    waiting = [gate for gate in stored.snapshot.gates if gate.answer is None and not gate.passed]
    awaited = [hmac.compare_digest(gate.callback_token.encode(), token.encode()) for gate in waiting]
    return any(awaited)


async def _is_recorded(news: MemoryObjectReceiveStream[News], rollout: str) -> bool:
    try:
        async for item in news:
            if isinstance(item, EntryNews) and item.entry.rollout == rollout and item.entry.event == "callback":
                return True
    except anyio.EndOfStream:
        return False
    return False
