"""The bookkeeping of own writes, rule by rule. Their sum is told in test_reading_own_writes."""

from __future__ import annotations

from adapters.kubernetes.own_writes import REQUEST_SECONDS, OwnWrites
from adapters.kubernetes.wire import Key

WEB: Key = ("shop", "web")
UID = "0a1b"


def see(writes: OwnWrites, version: int, *, deleted: bool = False) -> bool:
    return writes.see(WEB, str(version), UID, deleted=deleted)


def test_a_list_counts_if_it_began_after_the_write_and_not_if_it_only_ended_after_it() -> None:
    writes = OwnWrites()
    writes.expect(WEB, "8", at=10.0)
    assert writes.listed(began=10.0, ended=12.0) == []
    assert not writes.are_seen(WEB)
    assert writes.listed(began=10.1, ended=12.0) == [WEB]
    assert writes.are_seen(WEB)


def test_what_a_list_may_have_gone_past_is_uncertain_and_what_it_cannot_have_is_not() -> None:
    writes = OwnWrites()
    writes.expect(WEB, "8", at=10.0)
    assert not writes.may_be_past(WEB)
    writes.listed(began=9.0, ended=12.0)
    assert writes.may_be_past(WEB), "it was under way during the write"
    see(writes, 8)
    assert not writes.may_be_past(WEB)
    writes.expect(WEB, "9", at=12.0 + REQUEST_SECONDS)
    assert writes.may_be_past(WEB), "the write may have waited for its answer for as long as that"
    see(writes, 9)
    writes.expect(WEB, "10", at=12.1 + REQUEST_SECONDS)
    assert not writes.may_be_past(WEB)


def test_what_was_read_in_a_version_is_held_back_until_that_comes() -> None:
    writes = OwnWrites()
    assert writes.read(WEB, "9", began=1.0, known="5") == [WEB]
    assert [see(writes, version) for version in (6, 7, 8, 9, 10)] == [False, False, False, False, True]


def test_a_reading_that_finds_what_is_known_holds_nothing_back() -> None:
    writes = OwnWrites()
    writes.read(WEB, "5", began=1.0, known="5")
    assert see(writes, 6)


def test_a_second_reading_that_finds_the_same_holds_back_the_same() -> None:
    writes = OwnWrites()
    writes.read(WEB, "9", began=1.0, known="5")
    writes.read(WEB, "9", began=2.0, known="9")
    assert [see(writes, version) for version in (8, 9, 10)] == [False, False, True]


def test_what_was_read_and_gone_is_held_back_until_its_end_comes() -> None:
    writes = OwnWrites()
    writes.read(WEB, None, began=1.0, known="5")
    assert [see(writes, 6), see(writes, 7, deleted=True), see(writes, 8)] == [False, False, True]


def test_what_was_read_and_gone_after_writes_of_ours_is_held_back_until_they_all_have_come() -> None:
    writes = OwnWrites()
    writes.expect(WEB, "7", at=0.5)
    writes.expect(WEB, "8", at=0.6)
    writes.read(WEB, None, began=1.0, known=None)
    assert [see(writes, 6, deleted=True), see(writes, 7), see(writes, 8), see(writes, 9)] == [False, False, False, True]


def test_what_nobody_knows_of_and_nobody_made_is_not_held_back() -> None:
    writes = OwnWrites()
    writes.read(WEB, None, began=1.0, known=None)
    assert see(writes, 6)


def test_a_list_ends_all_holding_back() -> None:
    writes = OwnWrites()
    writes.read(WEB, "9", began=1.0, known="5")
    writes.listed(began=2.0, ended=3.0)
    assert see(writes, 10)


def test_a_write_made_while_the_object_was_read_is_still_waited_for() -> None:
    writes = OwnWrites()
    writes.expect(WEB, "8", at=0.5)
    writes.expect(WEB, "11", at=1.5)
    assert writes.read(WEB, "9", began=1.0, known="5") == []
    assert not writes.is_expected(WEB, "8")
    assert writes.is_expected(WEB, "11")


def test_only_the_latest_marks_are_remembered() -> None:
    writes = OwnWrites()
    see(writes, 1)
    assert not writes.expect(WEB, "1", at=0.0)
    for version in range(2, 5_000):
        see(writes, version)
    assert writes.expect(WEB, "1", at=0.0)
    assert not writes.expect(WEB, "4000", at=0.0)
