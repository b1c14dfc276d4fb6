"""How long an API server was away, as its own watches saw it, and for how long others may be behind."""

from __future__ import annotations

from datetime import datetime

import pytest

from adapters.kubernetes.outages import (
    CALM_SECONDS,
    MOST_BEHIND_SECONDS,
    MOST_SECONDS,
    PROMPT_SECONDS,
    STARTING_SECONDS,
    Outages,
)
from tests.clocks import START
from tests.kubernetes.informer_stand import informing
from tests.kubernetes.scripted_api import Answer, LiveWatch, ScriptedApi, listing, replica_set, status, stream, text


class Hand:
    """A clock that is turned by hand."""

    def __init__(self) -> None:
        self.at = 1_000.0

    def now(self) -> datetime:
        return START

    def monotonic(self) -> float:
        return self.at

    async def sleep(self, seconds: float) -> None:
        raise AssertionError("nobody sleeps here")


class Watched:
    def __init__(self) -> None:
        self.hand = Hand()
        self.outages = Outages(self.hand)

    def go_away(self, seconds: float, what: str = "pods") -> None:
        """A watch ends, cannot be opened again at once, and is open again after so many seconds."""
        self.outages.close(what)
        self.outages.fail(what)
        self.hand.at += seconds
        self.outages.recover(what)


def test_nobody_is_behind_an_api_server_that_was_never_away() -> None:
    assert Watched().outages.behind_seconds == 0.0


@pytest.mark.parametrize(("away", "behind"), [(1.0, 12.0), (10.0, 30.0), (45.0, MOST_BEHIND_SECONDS)])
def test_others_may_be_behind_for_twice_as_long_as_it_was_away_and_for_a_minute_at_most(away: float, behind: float) -> None:
    watched = Watched()
    watched.go_away(away)
    assert watched.outages.behind_seconds == pytest.approx(behind)
    watched.hand.at += behind / 2
    assert watched.outages.behind_seconds == pytest.approx(behind / 2)
    watched.hand.at += behind
    assert watched.outages.behind_seconds == 0.0


@pytest.mark.parametrize("how", ["close", "fail"])
def test_a_watch_that_is_open_again_at_once_was_never_away(how: str) -> None:
    """It has ended; or it could not be opened, and nobody knows why: of one that has never been open that says nothing."""
    watched = Watched()
    getattr(watched.outages, how)("pods")
    watched.hand.at += PROMPT_SECONDS / 2
    assert watched.outages.behind_seconds == 0.0
    watched.outages.recover("pods")
    watched.hand.at += MOST_BEHIND_SECONDS
    assert watched.outages.behind_seconds == 0.0


@pytest.mark.parametrize("asked", [True, False])
def test_whoever_waits_before_the_first_try_has_not_seen_whether_it_was_away(asked: bool) -> None:
    """A watch that was broken a few times waits for long by itself, and an API server is killed and back meanwhile."""
    watched = Watched()
    watched.outages.fail("pods")
    watched.hand.at += 20.0
    if asked:
        assert watched.outages.behind_seconds == pytest.approx(50.0)
    watched.outages.recover("pods")
    assert watched.outages.behind_seconds == pytest.approx(50.0)


def test_while_it_is_away_they_are_as_far_behind_as_if_it_came_back_now() -> None:
    watched = Watched()
    watched.outages.fail("pods")
    watched.hand.at += 10.0
    assert watched.outages.behind_seconds == pytest.approx(30.0)
    watched.hand.at += 50.0
    assert watched.outages.behind_seconds == pytest.approx(MOST_BEHIND_SECONDS)


def test_one_watch_that_is_well_again_does_not_end_the_outage_of_another_one() -> None:
    watched = Watched()
    watched.outages.fail("pods")
    watched.outages.fail("services")
    watched.hand.at += 10.0
    watched.outages.recover("pods")
    watched.hand.at += 10.0
    assert watched.outages.behind_seconds == pytest.approx(50.0)


def test_an_api_server_that_comes_and_goes_puts_off_others_more_and_more() -> None:
    watched = Watched()
    behind = []
    for _ in range(5):
        watched.go_away(2.0)
        behind.append(watched.outages.behind_seconds)
        watched.hand.at += 10.0
    assert behind == pytest.approx([14.0, 38.0, 62.0, 70.0, 70.0])


def test_two_minutes_without_trouble_end_it() -> None:
    watched = Watched()
    watched.go_away(45.0)
    watched.hand.at += CALM_SECONDS + 1.0
    watched.go_away(1.0)
    assert watched.outages.behind_seconds == pytest.approx(12.0)


def test_whoever_was_away_for_hours_puts_off_others_too() -> None:
    watched = Watched()
    watched.go_away(4 * MOST_SECONDS)
    assert watched.outages.behind_seconds == pytest.approx(MOST_BEHIND_SECONDS)
    watched.hand.at += CALM_SECONDS + 1.0
    watched.go_away(10.0)
    assert watched.outages.behind_seconds == pytest.approx(30.0)


def test_a_part_that_stays_away_holds_nobody_up_for_ever() -> None:
    watched = Watched()
    watched.outages.recover("pods")
    watched.outages.fail("widgets")
    watched.hand.at += MOST_SECONDS + 1.0
    assert watched.outages.behind_seconds == 0.0


def test_a_kind_that_comes_and_goes_hides_no_outage_of_the_others() -> None:
    watched = Watched()
    watched.outages.recover("pods")
    for _ in range(40):
        watched.go_away(3.0, "widgets")
        watched.hand.at += 57.0
    assert watched.outages.behind_seconds == 0.0, "that is how this kind is"
    watched.go_away(45.0)
    assert watched.outages.behind_seconds == pytest.approx(MOST_BEHIND_SECONDS)


def test_a_kind_that_is_back_after_hours_hides_no_outage_of_the_others() -> None:
    watched = Watched()
    watched.outages.recover("pods")
    watched.go_away(4 * MOST_SECONDS, "widgets")
    watched.hand.at += 100.0
    watched.go_away(45.0)
    assert watched.outages.behind_seconds == pytest.approx(MOST_BEHIND_SECONDS)


def test_two_kinds_in_trouble_one_after_the_other_put_nobody_off_for_longer() -> None:
    watched = Watched()
    watched.go_away(1.0, "pods")
    watched.hand.at += 100.0
    watched.go_away(1.0, "services")
    assert watched.outages.behind_seconds == pytest.approx(12.0)


def test_an_api_server_of_which_nothing_is_there_is_away_however_long_it_takes() -> None:
    watched = Watched()
    for what in ("pods", "services"):
        watched.outages.recover(what)
        watched.outages.close(what)
        watched.outages.fail(what)
    watched.hand.at += 2 * MOST_SECONDS
    assert watched.outages.behind_seconds == pytest.approx(MOST_BEHIND_SECONDS)
    watched.outages.recover("pods")
    assert watched.outages.behind_seconds == pytest.approx(MOST_BEHIND_SECONDS)


def test_an_outage_begins_with_the_end_of_the_watch_and_not_with_the_first_try_that_fails() -> None:
    """An API server that is told to stop ends its watches in good order, and whoever connects may wait for long in vain."""
    watched = Watched()
    watched.outages.close("pods")
    watched.hand.at += 10.0
    watched.outages.fail("pods")
    watched.hand.at += 2.0
    watched.outages.recover("pods")
    assert watched.outages.behind_seconds == pytest.approx(34.0)


def test_a_part_that_stays_away_hides_no_other_outage() -> None:
    watched = Watched()
    watched.outages.recover("pods")
    for _ in range(2 * int(MOST_SECONDS / 30)):
        watched.outages.fail("widgets")
        watched.hand.at += 30.0
    assert watched.outages.behind_seconds == 0.0
    watched.go_away(45.0)
    assert watched.outages.behind_seconds == pytest.approx(MOST_BEHIND_SECONDS)


def test_a_second_watch_that_fails_belongs_to_the_outage_of_the_first_one() -> None:
    watched = Watched()
    watched.outages.fail("pods")
    watched.hand.at += CALM_SECONDS + 1.0
    watched.outages.fail("services")
    watched.outages.recover("services")
    watched.outages.recover("pods")
    assert watched.outages.behind_seconds == pytest.approx(MOST_BEHIND_SECONDS)


def test_what_was_before_is_taken_over() -> None:
    hand = Hand()
    for behind in (5.0, 40.0, MOST_BEHIND_SECONDS):
        outages = Outages(hand, behind_seconds=behind)
        assert outages.behind_seconds == pytest.approx(behind)
        hand.at += behind + 1.0
        assert outages.behind_seconds == 0.0
        outages.recover("pods")
        assert outages.behind_seconds == 0.0


def test_what_was_before_goes_on_with_the_next_outage() -> None:
    hand = Hand()
    outages = Outages(hand, behind_seconds=30.0)
    hand.at += 10.0
    outages.close("pods")
    outages.fail("pods")
    hand.at += 2.0
    outages.recover("pods")
    assert outages.behind_seconds == pytest.approx(2 * (10.0 + 12.0) + STARTING_SECONDS)


def test_nobody_is_waited_for_any_longer_where_trouble_is_how_things_are() -> None:
    watched = Watched()
    began = watched.hand.at
    while watched.hand.at - began < MOST_SECONDS + 2.0:
        watched.go_away(2.0)
        watched.hand.at += 10.0
    for _ in range(100):
        watched.go_away(2.0)
        assert watched.outages.behind_seconds == 0.0
        watched.hand.at += 10.0


async def test_a_stream_that_breaks_and_is_opened_again_at_once_is_no_outage() -> None:
    def script(api: ScriptedApi) -> None:
        api.lists.append(listing("5", replica_set("web", "1")))
        api.watches.append(stream(then="break"))
        api.watches.append(stream(then="stay"))

    async with informing(script) as stand:
        await stand.until(lambda: len(stand.api.watched_from) == 2 and not stand.informer.trouble)
        assert stand.clock.slept
        assert stand.outages.behind_seconds == 0.0


@pytest.mark.parametrize(
    "refusal",
    [
        status(503, "ServiceUnavailable"),
        status(504, "Timeout"),
        status(429, "TooManyRequests"),
        text(502, "<html>Bad Gateway</html>", content_type="text/html"),
    ],
    ids=["503", "504", "429", "502 of a load balancer"],
)
async def test_a_watch_that_cannot_be_opened_again_is_one(refusal: Answer) -> None:
    def script(api: ScriptedApi) -> None:
        api.lists.append(listing("5", replica_set("web", "1")))
        api.watches.extend([refusal, refusal, refusal, stream(then="stay")])

    async with informing(script) as stand:
        await stand.until(lambda: len(stand.api.watched_from) == 4 and not stand.informer.trouble)
        behind = stand.outages.behind_seconds
        assert behind == pytest.approx(min(2 * sum(stand.clock.slept) + STARTING_SECONDS, MOST_BEHIND_SECONDS), abs=1.0)
        stand.clock.skip(behind + 1.0)
        assert stand.outages.behind_seconds == 0.0


@pytest.mark.parametrize("refusal", [status(403, "Forbidden"), status(410, "Expired"), status(500, "InternalError")])
async def test_what_may_be_about_us_or_about_one_kind_of_object_is_none(refusal: Answer) -> None:
    def script(api: ScriptedApi) -> None:
        api.lists.append(listing("5", replica_set("web", "1")))
        api.watches.extend([refusal, refusal, refusal, stream(then="stay")])

    async with informing(script) as stand:
        await stand.until(lambda: len(stand.api.watched_from) == 4 and not stand.informer.trouble)
        assert stand.outages.behind_seconds == 0.0


async def test_an_api_server_that_refuses_us_for_good_when_it_is_back_is_there() -> None:
    def script(api: ScriptedApi) -> None:
        api.lists.append(listing("5", replica_set("web", "1")))
        gone, refused = status(503, "ServiceUnavailable"), status(403, "Forbidden")
        api.watches.extend([gone, gone, gone, *[refused] * 10])

    async with informing(script) as stand:
        await stand.until(lambda: len(stand.api.watched_from) > 12)
        stand.clock.skip(MOST_BEHIND_SECONDS + 1.0)
        assert "403" in stand.informer.trouble or "said so" in stand.informer.trouble
        assert stand.outages.behind_seconds == 0.0


async def test_a_watch_that_stays_open_is_back_though_it_says_nothing() -> None:
    def script(api: ScriptedApi) -> None:
        api.lists.append(listing("5", replica_set("web", "1")))
        api.watches.extend([stream(), stream(), stream(), stream(then="stay")])

    async with informing(script) as stand:
        await stand.until(lambda: len(stand.api.watched_from) == 4)

        def is_back() -> bool:
            stand.clock.skip(0.1)
            return stand.outages.behind_seconds == 0.0

        await stand.until(is_back)


async def test_an_outage_is_seen_by_a_watch_that_waited_for_all_of_it() -> None:
    """The waits grow with each stream that breaks soon, so the first try after the last one may come when all is well again."""

    def script(api: ScriptedApi) -> None:
        api.lists.append(listing("5", replica_set("web", "1")))
        api.watches.extend([*[stream(then="break")] * 16, stream(then="stay")])

    async with informing(script) as stand:
        await stand.until(lambda: len(stand.api.watched_from) == 17 and not stand.informer.trouble)
        assert max(stand.clock.slept) > PROMPT_SECONDS
        assert stand.outages.behind_seconds > max(stand.clock.slept)


async def test_an_orderly_end_and_a_refusal_are_one() -> None:
    watch = LiveWatch()

    def script(api: ScriptedApi) -> None:
        api.lists.append(listing("5", replica_set("web", "1")))
        api.watches.extend([watch.respond, status(503, "ServiceUnavailable"), stream(then="stay")])

    async with informing(script) as stand:
        watch.send("MODIFIED", replica_set("web", "6", replicas=2))
        await stand.until_replicas(2)
        stand.clock.skip(60.0)
        watch.end()
        await stand.until(lambda: stand.informer.watches == 3 and not stand.informer.trouble)
        assert stand.outages.behind_seconds == pytest.approx(STARTING_SECONDS + 2 * sum(stand.clock.slept), abs=1.0)


async def test_a_refused_list_at_the_start_is_none() -> None:
    def script(api: ScriptedApi) -> None:
        api.lists.extend([status(429, "TooManyRequests"), listing("5", replica_set("web", "1"))])
        api.watches.append(stream(then="stay"))

    async with informing(script) as stand:
        await stand.until(lambda: stand.informer.watches == 1 and not stand.informer.trouble)
        stand.clock.skip(PROMPT_SECONDS + 1.0)
        assert stand.outages.behind_seconds == 0.0
