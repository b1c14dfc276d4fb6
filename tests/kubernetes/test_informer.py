"""What an informer makes of everything that a list or a watch can do to it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime

import anyio
import pytest
from aiohttp import web

from adapters.kubernetes.informer import (
    DOUBTED_SECONDS,
    FORBIDDEN_BACKOFF_SECONDS,
    MOST_DOUBTED_REFUSALS,
    MOST_SILENT_SECONDS,
    UNHEARD_SECONDS,
)
from adapters.kubernetes.transport import open_transport
from tests.kubernetes.informer_stand import Stand, informing, make_informer
from tests.kubernetes.scripted_api import (
    Answer,
    ImpatientClock,
    LiveWatch,
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

FORBIDDEN = status(403, "Forbidden", "replicasets is forbidden")
BOOKMARK = {"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "40"}}}
NOT_UNDERSTOOD = event("MODIFIED", replica_set("web", "7") | {"spec": {"replicas": "three"}})


def event_stream_error(code: int, reason: str) -> Answer:
    return stream({"type": "ERROR", "object": {"kind": "Status", "code": code, "reason": reason, "message": "so"}})


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
    def script(api: ScriptedApi) -> None:
        api.lists.append(listing("5"))
        api.watches.append(stream(event("ADDED", replica_set("web", "30")), BOOKMARK))
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
        assert "ends the watch as soon as it has begun" in stand.informer.trouble
        assert stand.api.listed == 1


@pytest.mark.parametrize("as_event", [True, False])
async def test_expired_history_is_listed_again_and_the_difference_is_told(as_event: bool) -> None:
    gone = {"type": "ERROR", "object": {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"}}

    def script(api: ScriptedApi) -> None:
        api.lists.append(
            listing("5", replica_set("kept", "1"), replica_set("deleted", "2"), replica_set("changed", "3"))
        )
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
        await stand.until_replicas(2)


@pytest.mark.parametrize(
    "trouble",
    [
        status(500, "InternalError"),
        status(503, "ServiceUnavailable"),
        html(502),
        stream("<html>not an event</html>"),
        stream('{"type": "ADDED", "object": {}}'),
        stream(then="break"),
        event_stream_error(500, "InternalError"),
    ],
)
async def test_trouble_is_waited_out_and_the_watch_goes_on_where_it_was(trouble: Answer) -> None:
    def script(api: ScriptedApi) -> None:
        api.lists.append(listing("5", replica_set("web", "1")))
        api.watches.append(trouble)
        api.watches.append(stream(event("MODIFIED", replica_set("web", "9", replicas=3)), then="stay"))

    async with informing(script) as stand:
        await stand.until_replicas(3)
        assert stand.api.watched_from == ["5", "5"]
        assert stand.api.listed == 1
        assert "secret of a proxy" not in stand.informer.trouble


async def test_a_wish_to_be_asked_later_is_respected_and_a_refusal_is_not_hammered() -> None:
    def script(api: ScriptedApi) -> None:
        api.lists.append(status(429, "TooManyRequests", Retry_After="7"))
        api.lists.extend(FORBIDDEN for _ in range(MOST_DOUBTED_REFUSALS + 1))
        api.lists.append(listing("5"))
        api.watches.append(stream(then="stay"))

    async with informing(script) as stand:
        await stand.until(stand.informer.synced.is_set)
        asked, *doubted, refused = stand.clock.slept
        assert 7.0 <= asked <= 8.0
        assert all(DOUBTED_SECONDS[0] <= seconds <= DOUBTED_SECONDS[1] for seconds in doubted)
        assert refused == FORBIDDEN_BACKOFF_SECONDS
        await stand.until(lambda: stand.informer.trouble == "")


async def test_it_is_not_blind_for_long_after_an_api_server_that_was_restarted() -> None:
    """As one does it that is killed and comes back: nobody answers, then nobody may do anything, then the history is gone."""
    watch = LiveWatch()

    def script(api: ScriptedApi) -> None:
        api.lists.append(listing("5", replica_set("web", "1")))
        api.lists.append(listing("50", replica_set("web", "44", replicas=4)))
        api.watches.append(watch.respond)
        api.watches.extend(status(503, "ServiceUnavailable") for _ in range(6))
        api.watches.extend((FORBIDDEN, FORBIDDEN, status(410, "Expired")))
        api.watches.append(stream(then="stay"))

    async with informing(script) as stand:
        await stand.until(lambda: stand.informer.watches == 1)
        watch.cut()
        await stand.until_replicas(4)
        *away, first, second, expired = stand.clock.slept
        assert max(away) > 2, "by then it waits long for a server that does not answer"
        assert all(DOUBTED_SECONDS[0] <= seconds <= DOUBTED_SECONDS[1] for seconds in (first, second))
        assert expired <= 1.0


@pytest.mark.parametrize(("asked", "least", "most"), [("0", 0.5, 1.5), ("86400", 120, 121)])
async def test_absurd_wishes_are_respected_within_reason(asked: str, least: float, most: float) -> None:
    def script(api: ScriptedApi) -> None:
        api.lists.append(status(429, "TooManyRequests", Retry_After=asked))
        api.lists.append(listing("5"))
        api.watches.append(stream(then="stay"))

    async with informing(script) as stand:
        await stand.until(stand.informer.synced.is_set)
        assert least <= stand.clock.slept[0] <= most


# --- what else a list or a watch can do ------------------------------------------------------------------------------


async def test_a_refused_login_is_renewed_without_waiting() -> None:
    def script(api: ScriptedApi) -> None:
        api.lists.append(status(401, "Unauthorized"))
        api.lists.append(listing("5"))
        api.watches.append(status(401, "Unauthorized"))
        api.watches.append(stream(event("ADDED", replica_set("web", "6")), then="stay"))

    async with informing(script) as stand:
        await stand.until_replicas(1)
        assert stand.clock.slept == []


async def test_history_that_expires_between_two_pages_begins_the_list_again() -> None:
    def script(api: ScriptedApi) -> None:
        api.lists.append(listing("5", replica_set("old", "1"), token="more"))
        api.lists.append(status(410, "Expired"))
        api.lists.append(listing("9", replica_set("new", "8")))
        api.watches.append(stream(then="stay"))

    async with informing(script) as stand:
        await stand.until(stand.informer.synced.is_set)
        assert list(stand.informer.items) == [("shop", "new")]
        assert [query.get("continue") for _, _, query in stand.api.requests[:3]] == [None, "more", None]


async def test_history_that_expires_at_once_again_and_again_is_not_a_reason_to_list_all_the_time() -> None:
    def script(api: ScriptedApi) -> None:
        api.lists.append(listing("5"))
        api.watches.append(status(410, "Expired"))

    async with informing(script) as stand:
        await stand.until(lambda: max(stand.clock.slept, default=0.0) > 5)
        assert stand.clock.slept[0] <= 1.0, "once is normal"


@pytest.mark.parametrize(("held", "again"), [(0, False), (6, True), (61, True)], ids=["a moment", "a while", "long"])
async def test_what_broke_before_a_watch_that_held_for_long_is_forgiven(held: float, again: bool) -> None:
    """And one that held for a while is tried again at once, but only once."""
    watch = LiveWatch()

    def script(api: ScriptedApi) -> None:
        api.lists.append(listing("5"))
        api.watches.extend(status(500, "InternalError") for _ in range(8))
        api.watches.append(watch.respond)
        api.watches.extend(status(500, "InternalError") for _ in range(8))
        api.watches.append(stream(then="stay"))

    async with informing(script) as stand:
        watch.send("ADDED", replica_set("web", "6"))
        await stand.until_replicas(1)
        stand.clock.skip(held)
        watch.cut()
        await stand.until(lambda: stand.informer.watches == 18 and not stand.informer.trouble)
        before, (first, *then) = stand.clock.slept[:8], stand.clock.slept[8:]
        assert max(before) > 2
        assert (first <= 1.5) is again
        assert (then[0] <= 1.5) is (held > 60)


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        (listing("5", replica_set("web", "1") | {"spec": {"replicas": "three"}}), "an object is not understood"),
        (answer(200, {"kind": "List", "items": {}}), "the answer is not a list"),
        (answer(200, {"kind": "List", "metadata": {}, "items": []}), "no resourceVersion to watch from"),
        (html(200), "not JSON"),
    ],
)
async def test_a_list_that_makes_no_sense_is_told_and_asked_for_again(said: Answer, sentence: str) -> None:
    def script(api: ScriptedApi) -> None:
        api.lists.extend((said, said, listing("5", replica_set("web", "1"))))
        api.watches.append(stream(then="stay"))

    async with informing(script) as stand:
        await stand.until(lambda: sentence in stand.informer.trouble)
        await stand.until(stand.informer.synced.is_set)
        assert stand.replicas() == 1


async def test_a_bookmark_without_a_version_is_not_taken_for_one() -> None:
    def script(api: ScriptedApi) -> None:
        api.lists.append(listing("5"))
        api.watches.append(stream({"type": "BOOKMARK", "object": {"metadata": {}}}))
        api.watches.append(stream(then="stay"))

    async with informing(script) as stand:
        await stand.until(lambda: len(stand.api.watched_from) == 2)
        assert stand.api.watched_from == ["5", "5"]
        assert stand.api.listed == 1


async def test_one_that_is_deleted_is_gone_and_told() -> None:
    def script(api: ScriptedApi) -> None:
        api.lists.append(listing("5", replica_set("web", "1")))
        api.watches.append(stream(event("DELETED", replica_set("web", "6")), then="stay"))

    async with informing(script) as stand:
        await stand.until(lambda: stand.told == [("web", 1), ("web", None)])
        assert stand.replicas() is None


async def test_only_so_many_lists_are_asked_for_at_the_same_time() -> None:
    running = most = 0

    async def slow_list(request: web.Request) -> web.StreamResponse:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await anyio.sleep(0.01)
        running -= 1
        return await listing("5")(request)

    async with scripted_api() as api, open_transport(ScriptedCredentials(api.server)) as transport:
        api.lists.append(slow_list)
        api.watches.append(stream(then="stay"))
        relists = anyio.Semaphore(2)
        async with anyio.create_task_group() as tasks:
            informers = [make_informer(transport, ImpatientClock(), relists) for _ in range(6)]
            for informer in informers:
                tasks.start_soon(informer.run)
            with anyio.fail_after(5):
                for informer in informers:
                    await informer.synced.wait()
            tasks.cancel_scope.cancel()
    assert most == 2


# --- hearing nothing -------------------------------------------------------------------------------------------------


async def test_a_watch_that_has_shown_bookmarks_is_left_when_it_says_nothing_any_more() -> None:
    def script(api: ScriptedApi) -> None:
        api.lists.append(listing("5"))
        api.watches.append(stream(event("ADDED", replica_set("web", "30")), BOOKMARK, then="stay"))
        api.watches.append(stream(event("MODIFIED", replica_set("web", "41", replicas=3)), then="stay"))

    async with informing(script) as stand:
        await stand.until_replicas(3)
        assert stand.api.watched_from == ["5", "40"]
        silent, again = stand.clock.slept
        assert silent == pytest.approx(MOST_SILENT_SECONDS, abs=1.0)
        assert again <= 1.5
        assert stand.told_unheard == [False], "it was heard of again soon"


async def test_a_watch_that_never_shows_bookmarks_is_not_held_to_them() -> None:
    def script(api: ScriptedApi) -> None:
        api.lists.append(listing("5"))
        api.watches.append(stream(event("ADDED", replica_set("web", "30")), then="stay"))

    async with informing(script) as stand:
        await stand.until_replicas(1)
        stand.clock.skip(2 * MOST_SILENT_SECONDS)
        await anyio.wait_all_tasks_blocked()
        assert (stand.informer.watches, stand.clock.slept) == (1, [])


@asynccontextmanager
async def losing(trouble: Answer) -> AsyncIterator[tuple[Stand, datetime]]:
    """A watch that is cut, and is in this trouble from then on, until nothing is heard any more; and when it was cut."""
    watch = LiveWatch()

    def script(api: ScriptedApi) -> None:
        api.lists.append(listing("5", replica_set("web", "1")))
        api.lists.append(listing("50", replica_set("web", "44", replicas=4)))
        api.watches.append(watch.respond)
        api.watches.append(trouble)

    async with informing(script) as stand:
        await stand.until(lambda: stand.informer.watches == 1)
        lost = stand.clock.now()
        watch.cut()
        await stand.until(lambda: stand.informer.unheard is not None)
        yield stand, lost


async def test_a_kind_that_may_not_be_watched_any_more_is_unheard_of_until_it_may_be_and_what_was_missed_is_listed() -> None:
    async with losing(FORBIDDEN) as (stand, lost):
        unheard = stand.informer.unheard
        assert unheard is not None
        assert "replicasets is forbidden" in unheard.says
        assert (unheard.since - lost).total_seconds() < 1
        assert sum(stand.clock.slept) >= UNHEARD_SECONDS
        assert stand.replicas() == 1
        stand.api.watches.append(stream(then="stay"))
        await stand.until(lambda: stand.informer.unheard is None)
        assert stand.replicas() == 4, "before anything is concluded from it"
        assert stand.told_unheard == [False, True, False]
        assert stand.api.listed == 2, "not as long as it may not be watched"


@pytest.mark.parametrize("trouble", [stream(NOT_UNDERSTOOD), event_stream_error(500, "InternalError")])
async def test_a_watch_that_can_be_opened_and_breaks_at_once_is_unheard_of_too(trouble: Answer) -> None:
    async with losing(trouble) as (stand, _):
        assert sum(stand.clock.slept) >= UNHEARD_SECONDS
        stand.api.watches.extend((stream(BOOKMARK, then="stay"), stream(then="stay")))
        await stand.until(lambda: stand.informer.unheard is None)
        assert stand.replicas() == 4
        assert stand.told_unheard == [False, True, False]


@pytest.mark.parametrize("seconds", [1.5, 61.0])
async def test_a_watch_that_is_ended_again_and_again_is_heard_of_all_the_time(seconds: float) -> None:
    """Whoever is in between may do so; what was missed comes with each beginning."""
    watches = [LiveWatch() for _ in range(int(2 * UNHEARD_SECONDS / seconds))]

    def script(api: ScriptedApi) -> None:
        api.lists.append(listing("5"))
        for watch in watches:
            api.watches.extend((status(503, "ServiceUnavailable"), watch.respond))
        api.watches.append(stream(then="stay"))

    async with informing(script) as stand:
        for number, watch in enumerate(watches, start=1):
            await stand.until(lambda number=number: stand.informer.watches == 2 * number and not stand.informer.trouble)  # type: ignore[misc]
            stand.clock.skip(seconds)
            watch.cut()
        await stand.until(lambda: stand.informer.watches > 2 * len(watches))
        assert stand.told_unheard == [False]


async def test_an_outage_that_ends_in_time_is_nothing_to_be_told() -> None:
    watch = LiveWatch()

    def script(api: ScriptedApi) -> None:
        api.lists.append(listing("5", replica_set("web", "1")))
        api.watches.append(watch.respond)
        api.watches.extend(status(503, "ServiceUnavailable") for _ in range(5))
        api.watches.append(stream(event("MODIFIED", replica_set("web", "9", replicas=3)), then="stay"))

    async with informing(script) as stand:
        await stand.until(lambda: stand.informer.watches == 1)
        watch.cut()
        await stand.until_replicas(3)
        assert 5 < sum(stand.clock.slept) < UNHEARD_SECONDS
        assert stand.told_unheard == [False]
        assert stand.api.listed == 1


async def test_one_that_never_came_up_is_unheard_of_too() -> None:
    def script(api: ScriptedApi) -> None:
        api.lists.append(status(500, "InternalError", "conversion webhook failed"))
        api.watches.append(stream(then="stay"))

    async with informing(script) as stand:
        await stand.until(lambda: stand.informer.unheard is not None)
        assert not stand.informer.synced.is_set()
        stand.api.lists.append(listing("5"))
        await stand.until(lambda: stand.informer.synced.is_set() and stand.informer.unheard is None)


async def test_its_health_says_since_when_and_for_how_long_nothing_was_heard() -> None:
    def script(api: ScriptedApi) -> None:
        api.lists.extend(FORBIDDEN for _ in range(MOST_DOUBTED_REFUSALS + 2))
        api.lists.append(listing("5"))
        api.watches.append(stream(then="stay"))

    async with informing(script) as stand:
        before = stand.informer.health
        assert (before.synced, before.trouble) == (False, "")
        await stand.until(lambda: stand.informer.trouble != "")
        first = stand.informer.health
        assert "replicasets is forbidden" in first.trouble
        await stand.until(lambda: stand.informer.synced.is_set() and not stand.informer.trouble)
        well = stand.informer.health
        assert (well.synced, well.trouble) == (True, "")
        waited = sum(stand.clock.slept)
        assert waited > 2 * FORBIDDEN_BACKOFF_SECONDS
        assert (well.since - first.since).total_seconds() == pytest.approx(waited, abs=0.001)
        stand.clock.skip(30)
        assert 30 <= stand.informer.health.silent_seconds < 31
