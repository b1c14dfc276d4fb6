"""What an informer says of an object that we have just written or deleted."""

from __future__ import annotations

from aiohttp import web

from adapters.kubernetes.informer import DOUBT_SECONDS
from tests.kubernetes.informer_stand import LONG_AFTER_THE_LIST, WEB, informing, live
from tests.kubernetes.scripted_api import (
    LiveWatch,
    ScriptedApi,
    answer,
    html,
    listing,
    replica_set,
    status,
    stream,
)


async def test_our_own_writes_are_all_waited_for_and_nothing_else() -> None:
    async with live() as (stand, watch):
        assert stand.informer.is_current(WEB)
        assert stand.informer.expect(WEB, "8")
        assert stand.informer.expect(WEB, "9")
        for version, current in (("7", False), ("8", False), ("9", True)):
            watch.send("MODIFIED", replica_set("web", version, replicas=int(version)))
            await stand.until_replicas(int(version))
            assert stand.informer.is_current(WEB) is current
        assert stand.informer.is_current(("shop", "other"))


async def test_an_event_that_came_before_the_writes_own_answer_counts_even_if_more_came_since() -> None:
    async with live() as (stand, watch):
        watch.send("MODIFIED", replica_set("web", "8"))
        watch.send("DELETED", replica_set("web", "9"))
        await stand.until_replicas(None)
        assert not stand.informer.expect(WEB, "8")
        assert not stand.informer.expect_gone(WEB, "uid-web")
        assert stand.informer.is_current(WEB)


async def test_a_write_that_changed_nothing_made_no_new_version_to_wait_for() -> None:
    async with live() as (stand, _):
        assert not stand.informer.expect(WEB, "1")


async def test_the_end_of_an_object_before_ours_of_the_same_name_is_not_news_of_ours() -> None:
    async with live() as (stand, watch):
        assert stand.informer.expect(WEB, "8")
        watch.send("DELETED", replica_set("web", "7"))
        await stand.until_replicas(None)
        assert not stand.informer.is_current(WEB)
        watch.send("ADDED", replica_set("web", "8", uid="second", replicas=2))
        await stand.until_replicas(2)
        assert stand.informer.is_current(WEB)


async def test_the_end_of_what_we_deleted_is_waited_for() -> None:
    async with live() as (stand, watch):
        assert stand.informer.expect_gone(WEB, "uid-web")
        watch.send("MODIFIED", replica_set("web", "8", replicas=8))
        await stand.until_replicas(8)
        assert not stand.informer.is_current(WEB)
        watch.send("DELETED", replica_set("web", "9"))
        await stand.until(lambda: stand.informer.is_current(WEB))
        assert stand.replicas() is None


async def test_the_end_of_what_the_cache_never_saw_is_told_if_we_waited_for_it() -> None:
    async with live() as (stand, watch):
        other = ("shop", "other")
        assert stand.informer.expect_gone(other, "uid-other")
        watch.send("DELETED", replica_set("other", "7"))
        await stand.until(lambda: stand.informer.is_current(other))
        assert stand.told[-1] == ("other", None)


async def test_a_write_that_no_watch_delivers_is_read_and_what_comes_late_is_held_back() -> None:
    async with live(answer(200, replica_set("web", "10", replicas=10))) as (stand, watch):
        assert stand.informer.expect(WEB, "8")
        await stand.informer.dispel_doubt(WEB, "8")
        assert stand.clock.slept == [DOUBT_SECONDS]
        assert stand.informer.is_current(WEB)
        assert stand.replicas() == 10
        for version in (7, 8, 9, 10, 11):
            watch.send("MODIFIED", replica_set("web", str(version), replicas=version))
        await stand.until_replicas(11)
        assert [replicas for name, replicas in stand.told if replicas not in (10, 11)] == [1]


async def test_held_back_news_of_our_own_write_is_told_although_the_object_is_the_same() -> None:
    async with live() as (stand, watch):

        async def answer_while_we_write(request: web.Request) -> web.StreamResponse:
            stand.clock.skip(1)
            assert stand.informer.expect(WEB, "10")
            return await answer(200, replica_set("web", "10", replicas=10))(request)

        stand.api.others.append(answer_while_we_write)
        await stand.informer.refresh(WEB)
        assert stand.replicas() == 10
        assert not stand.informer.is_current(WEB)
        told = len(stand.told)
        watch.send("MODIFIED", replica_set("web", "10", replicas=10))
        await stand.until(lambda: stand.informer.is_current(WEB))
        assert stand.told[told:] == [("web", 10)]


async def test_what_we_deleted_is_read_too_and_does_not_come_back_with_late_news() -> None:
    async with live(status(404, "NotFound")) as (stand, watch):
        stand.clock.skip(LONG_AFTER_THE_LIST)
        assert stand.informer.expect_gone(WEB, "uid-web")
        await stand.informer.dispel_doubt(WEB, "uid-web")
        assert stand.informer.is_current(WEB)
        watch.send("MODIFIED", replica_set("web", "7"))
        watch.send("DELETED", replica_set("web", "8"))
        watch.send("ADDED", replica_set("web", "9", uid="second", replicas=9))
        await stand.until_replicas(9)
        assert [replicas for _, replicas in stand.told if replicas not in (None, 9)] == [1]


async def test_what_finalizers_keep_alive_does_not_hold_up_verdicts_for_ever() -> None:
    async with live(answer(200, replica_set("web", "6", replicas=6))) as (stand, _):
        assert stand.informer.expect_gone(WEB, "uid-web")
        await stand.informer.dispel_doubt(WEB, "uid-web")
        assert stand.informer.is_current(WEB)
        assert stand.replicas() == 6


async def test_doubt_lasts_as_long_as_the_object_cannot_be_read() -> None:
    answers = (status(500, "InternalError"), html(404), answer(200, {}), answer(200, replica_set("web", "8")))
    async with live(*answers) as (stand, _):
        assert stand.informer.expect(WEB, "8")
        await stand.informer.dispel_doubt(WEB, "8")
        assert stand.clock.slept == [DOUBT_SECONDS] * 4
        assert stand.replicas() == 1
        assert stand.informer.is_current(WEB)


async def test_a_reading_that_was_overtaken_by_the_watch_is_thrown_away() -> None:
    async with live() as (stand, watch):

        async def answer_late(request: web.Request) -> web.StreamResponse:
            watch.send("MODIFIED", replica_set("web", "9", replicas=9))
            await stand.until_replicas(9)
            return await answer(200, replica_set("web", "8", replicas=8))(request)

        stand.api.others.append(answer_late)
        await stand.informer.refresh(WEB)
        assert stand.replicas() == 9


async def test_a_reading_that_was_overtaken_by_a_list_is_thrown_away_even_if_that_changed_nothing() -> None:
    watch = LiveWatch()

    def script(api: ScriptedApi) -> None:
        api.lists.append(listing("5"))
        api.watches.append(watch.respond)
        api.watches.append(status(410, "Expired"))
        api.watches.append(stream(then="stay"))

    async with informing(script) as stand:
        await stand.until(stand.informer.synced.is_set)

        async def answer_late(request: web.Request) -> web.StreamResponse:
            watch.cut()
            await stand.until(lambda: len(stand.api.watched_from) == 3)
            return await answer(200, replica_set("web", "8"))(request)

        stand.api.others.append(answer_late)
        await stand.informer.refresh(WEB)
        assert stand.api.listed == 2
        assert stand.replicas() is None, "made and deleted again before the list"


async def test_what_a_list_showed_counts_too() -> None:
    watch = LiveWatch()

    def script(api: ScriptedApi) -> None:
        api.lists.append(listing("5", replica_set("web", "1"), replica_set("old", "2")))
        api.lists.append(listing("9", replica_set("web", "8")))
        api.watches.append(status(410, "Expired"))
        api.watches.append(watch.respond)

    async with informing(script) as stand:
        watch.send("MODIFIED", replica_set("web", "10", replicas=10))
        await stand.until_replicas(10)
        assert not stand.informer.expect(WEB, "8")
        assert not stand.informer.expect_gone(("shop", "old"), "uid-old")


async def test_a_write_during_a_list_that_may_have_gone_past_it_is_found_out_by_another_list() -> None:
    def script(api: ScriptedApi) -> None:
        api.lists.append(listing("5"))
        api.lists.append(listing("9"))
        api.watches.append(stream(then="stay"))
        api.others.append(status(404, "NotFound"))

    async with informing(script) as stand:
        await stand.until(stand.informer.synced.is_set)
        assert stand.informer.expect(WEB, "4"), "made and undone again before the list, and answered after it"
        await stand.informer.dispel_doubt(WEB, "4")
        assert stand.informer.is_current(WEB)
        assert stand.api.listed == 2
        assert stand.told == [("web", None)], "what may be concluded has changed, so it is told"
