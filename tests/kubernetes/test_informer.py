"""What an informer makes of everything that a list or a watch can do to it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from random import Random

import anyio
import pytest

from adapters.kubernetes.informer import DOUBT_SECONDS, FORBIDDEN_BACKOFF_SECONDS, Informer
from adapters.kubernetes.paths import REPLICA_SETS
from adapters.kubernetes.transport import open_transport
from adapters.kubernetes.wire import Key, ReplicaSet, decode_replica_set
from tests.kubernetes.scripted_api import (
    Answer,
    ImpatientClock,
    ScriptedApi,
    ScriptedCredentials,
    answer,
    event,
    html,
    listing,
    replica_set,
    scripted_api,
    status,
    stream,
)

WEB: Key = ("shop", "web")


class Stand:
    def __init__(self, api: ScriptedApi, informer: Informer[ReplicaSet], clock: ImpatientClock) -> None:
        self.api = api
        self.informer = informer
        self.clock = clock
        self.told: list[tuple[str, int | None]] = []

    async def until(self, condition: Callable[[], bool]) -> None:
        with anyio.fail_after(5):
            while not condition():
                await anyio.sleep(0.002)

    def replicas(self, name: str = "web") -> int | None:
        found = self.informer.items.get(("shop", name))
        return found.replicas if found is not None else None


@asynccontextmanager
async def informing(script: Callable[[ScriptedApi], None]) -> AsyncIterator[Stand]:
    clock = ImpatientClock()
    async with scripted_api() as api:
        script(api)
        async with open_transport(ScriptedCredentials(api.server)) as transport, anyio.create_task_group() as tasks:
            stand: list[Stand] = []

            def on_change(key: Key, before: ReplicaSet | None, after: ReplicaSet | None) -> None:
                stand[0].told.append((key[1], after.replicas if after is not None else None))

            informer = Informer(
                transport,
                REPLICA_SETS,
                None,
                decode_replica_set,
                clock=clock,
                random=Random(7),
                relists=anyio.Semaphore(2),
                on_change=on_change,
                on_synced=lambda: None,
            )
            stand.append(Stand(api, informer, clock))
            tasks.start_soon(informer.run)
            yield stand[0]
            tasks.cancel_scope.cancel()


async def test_it_lists_in_pages_and_then_watches_from_the_lists_version() -> None:
    def script(api: ScriptedApi) -> None:
        api.lists.append(listing("5", replica_set("a", "1"), token="more"))
        api.lists.append(listing("5", replica_set("b", "2")))
        api.watches.append(stream(event("MODIFIED", replica_set("a", "6", replicas=9)), then="stay"))

    async with informing(script) as stand:
        await stand.until(lambda: stand.replicas("a") == 9)
        assert stand.replicas("b") == 1
        assert stand.api.watched_from == ["5"]
        assert stand.api.listed == 2
        assert stand.told == [("a", 1), ("b", 1), ("a", 9)]


async def test_an_orderly_end_goes_on_from_the_last_version_even_if_that_came_with_a_bookmark() -> None:
    bookmark = {"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "40"}}}

    def script(api: ScriptedApi) -> None:
        api.lists.append(listing("5"))
        api.watches.append(stream(event("ADDED", replica_set("web", "30")), bookmark))
        api.watches.append(stream(then="stay"))

    async with informing(script) as stand:
        await stand.until(lambda: len(stand.api.watched_from) == 2)
        assert stand.api.watched_from == ["5", "40"]
        assert stand.api.listed == 1


async def test_streams_that_end_at_once_are_backed_off_from() -> None:
    def script(api: ScriptedApi) -> None:
        api.lists.append(listing("5"))
        api.watches.append(stream())

    async with informing(script) as stand:
        await stand.until(lambda: max(stand.clock.slept, default=0.0) > 5)
        assert all(0.5 <= seconds <= 30 for seconds in stand.clock.slept)
        assert "ended the watch after" in stand.informer.trouble


@pytest.mark.parametrize("as_event", [True, False])
async def test_expired_history_is_listed_again_and_the_difference_is_told(as_event: bool) -> None:
    gone = {"type": "ERROR", "object": {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"}}

    def script(api: ScriptedApi) -> None:
        api.lists.append(listing("5", replica_set("kept", "1"), replica_set("deleted", "2"), replica_set("changed", "3")))
        api.lists.append(listing("50", replica_set("kept", "1"), replica_set("changed", "44", replicas=4)))
        api.watches.append(stream(gone) if as_event else status(410, "Expired"))
        api.watches.append(stream(then="stay"))

    async with informing(script) as stand:
        await stand.until(lambda: len(stand.api.watched_from) == 2)
        assert stand.api.watched_from == ["5", "50"]
        assert sorted(stand.told[3:]) == [("changed", 4), ("deleted", None)]


async def test_an_object_replaced_by_another_of_its_name_is_told_even_at_the_same_version() -> None:
    def script(api: ScriptedApi) -> None:
        api.lists.append(listing("5", replica_set("web", "1", uid="first")))
        api.lists.append(listing("6", replica_set("web", "1", uid="second", replicas=2)))
        api.watches.append(status(410, "Expired"))
        api.watches.append(stream(then="stay"))

    async with informing(script) as stand:
        await stand.until(lambda: stand.replicas() == 2)


@pytest.mark.parametrize(
    "trouble",
    [
        status(500, "InternalError"),
        status(503, "ServiceUnavailable"),
        html(502),
        stream("<html>not an event</html>"),
        stream('{"type": "ADDED", "object": {}}'),
        stream(then="break"),
        status(401, "Unauthorized"),
    ],
)
async def test_trouble_is_waited_out_and_the_watch_goes_on_where_it_was(trouble: Answer) -> None:
    def script(api: ScriptedApi) -> None:
        api.lists.append(listing("5", replica_set("web", "1")))
        api.watches.append(trouble)
        api.watches.append(stream(event("MODIFIED", replica_set("web", "9", replicas=3)), then="stay"))

    async with informing(script) as stand:
        await stand.until(lambda: stand.replicas() == 3)
        assert stand.api.watched_from == ["5", "5"]
        assert stand.api.listed == 1
        assert "secret of a proxy" not in stand.informer.trouble


async def test_a_wish_to_be_asked_later_is_respected_and_a_refusal_is_not_hammered() -> None:
    def script(api: ScriptedApi) -> None:
        api.lists.append(status(429, "TooManyRequests", Retry_After="7"))
        api.lists.append(status(403, "Forbidden", "replicasets is forbidden"))
        api.lists.append(listing("5"))
        api.watches.append(stream(then="stay"))

    async with informing(script) as stand:
        await stand.until(stand.informer.synced.is_set)
        assert stand.clock.slept == [7.0, FORBIDDEN_BACKOFF_SECONDS]
        assert stand.informer.trouble == ""


async def test_our_own_write_is_waited_for() -> None:
    def script(api: ScriptedApi) -> None:
        api.lists.append(listing("5", replica_set("web", "1")))
        api.watches.append(stream(event("MODIFIED", replica_set("web", "8")), then="stay"))

    async with informing(script) as stand:
        await stand.until(stand.informer.synced.is_set)
        assert stand.informer.is_current(WEB)
        still_to_come = stand.informer.expect(WEB, "8")
        assert stand.informer.is_current(WEB) is not still_to_come
        await stand.until(lambda: stand.informer.is_current(WEB))
        assert not stand.informer.expect(WEB, "8"), "an event that came before the write's own answer counts"


async def test_a_write_that_no_watch_delivers_is_read_once() -> None:
    def script(api: ScriptedApi) -> None:
        api.lists.append(listing("5", replica_set("web", "1")))
        api.watches.append(stream(then="stay"))
        api.others.append(answer(200, replica_set("web", "8", replicas=6)))

    async with informing(script) as stand:
        await stand.until(stand.informer.synced.is_set)
        assert stand.informer.expect(WEB, "8")
        assert not stand.informer.is_current(WEB)
        await stand.informer.dispel_doubt(WEB, "8")
        assert stand.clock.slept[-1] == DOUBT_SECONDS
        assert stand.informer.is_current(WEB)
        assert stand.replicas() == 6


async def test_a_list_that_began_before_the_write_does_not_count_as_having_seen_it() -> None:
    def script(api: ScriptedApi) -> None:
        api.lists.append(listing("5", replica_set("web", "1")))
        api.lists.append(listing("6", replica_set("web", "1")))
        api.watches.append(stream(then="stay"))

    async with informing(script) as stand:
        await stand.until(stand.informer.synced.is_set)
        began = stand.clock.monotonic()
        stand.informer.expect(WEB, "8")
        stand.informer._replace(dict(stand.informer.items), began - 1)
        assert not stand.informer.is_current(WEB)
        await stand.clock.sleep(1)
        stand.informer._replace(dict(stand.informer.items), stand.clock.monotonic())
        assert stand.informer.is_current(WEB)
