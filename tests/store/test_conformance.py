"""What every store must do, whatever database it is on: what it keeps, in which order, and how it groups commits."""

from __future__ import annotations

import signal
import subprocess
from datetime import timedelta

import anyio
import pytest
from msgspec.structs import replace

from engine.errors import StoreBusy, StoreError
from engine.model import Action, ActionKind, Origin, ReleaseStatus, Snapshot, State, TimerName
from engine.ports import Commit, NotedOrigin, StoredRollout
from store.group_commit import FenceLost
from tests.clocks import START
from tests.store.stand import Stand, decision, release, stored


async def test_what_is_committed_is_there_after_a_restart(stand: Stand) -> None:
    one = stored()
    action = Action(1, "record:web", ActionKind.RECORD, {"workload": "web"})
    timers = {TimerName.WAIT: START + timedelta(seconds=60)}
    async with stand.open() as store:
        await store.add_release(release(), [one], START)
        await store.commit(decision(one, "began", state=State.PREPARING, action=action, timers=timers))
    async with stand.open() as store:
        assert [found.id for found in await store.unfinished_releases()] == ["r1"]
        (found,) = await store.rollouts("r1")
        assert found.spec == one.spec
        assert (found.snapshot.state, found.snapshot.action, found.snapshot.timers) == (State.PREPARING, action, timers)
        assert [entry.text for entry in await store.journal("r1")] == ["began"]
    assert await stand.ask("SELECT name, due_at FROM timer") == [("wait", "2026-01-05T03:01:00.000000+00:00")]
    assert await stand.ask("SELECT number, name, pending FROM action") == [(1, "record:web", 1)]


async def test_a_decision_on_an_old_stand_is_thrown_away_and_harms_nobody_in_its_group(stand: Stand) -> None:
    one, other = stored(), stored(target="staging")
    async with stand.open() as store:
        await store.add_release(release(), [one, other], START)
        await store.commit(decision(one, "first"))
        outcomes: list[str] = []

        async def try_to_commit(commit: Commit) -> None:
            try:
                await store.commit(commit)
                outcomes.append("written")
            except FenceLost:
                outcomes.append("thrown away")

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(try_to_commit, decision(one, "first again"))
            tasks.start_soon(try_to_commit, decision(other, "other"))
        assert sorted(outcomes) == ["thrown away", "written"]
        assert [entry.text for entry in await store.journal("r1")] == ["first", "other"]


async def test_many_rollouts_share_a_commit(stand: Stand) -> None:
    many = [stored(target=f"t{number}") for number in range(200)]
    async with stand.open() as store:
        await store.add_release(release(), many, START)
        before = store.writer.commits
        async with anyio.create_task_group() as tasks:
            for one in many:
                tasks.start_soon(store.commit, decision(one))
        assert store.writer.changes >= 200
        assert store.writer.commits - before < 20


async def test_a_closed_store_says_so(stand: Stand) -> None:
    async with stand.open() as store:
        kept = store
    with pytest.raises(StoreError, match="closed"):
        await kept.update_release(release())


async def test_a_text_that_is_none_is_kept_with_question_marks_and_harms_nobody(stand: Stand) -> None:
    """Half of a surrogate pair stands for a byte that could not be read, such as one in a called side's answer."""
    first = stored()
    async with stand.open() as store:
        await store.add_release(release(), [first], START)
        await store.commit(decision(first, text="answered 500 Erreur intern\udce9", failure="intern\udce9"))
        (entry,) = await store.journal("r1")
        assert entry.text == "answered 500 Erreur intern?"
        (kept,) = await store.rollouts("r1")
        assert kept.snapshot.failure == "intern?"


# --- where releases come from ------------------------------------------------------------------------------------------


async def test_a_release_and_the_file_that_it_came_from_are_written_together_or_not_at_all(stand: Stand) -> None:
    first, second = Origin("/deploy.d", "shop.yaml", "one"), Origin("/deploy.d", "shop.yaml", "two")
    async with stand.open() as store:
        await store.add_release(release(), [stored()], START, first)
        with pytest.raises(StoreError):
            await store.add_release(release(), [stored()], START, second)
        assert await store.origins() == [NotedOrigin(first, "r1")]
        await store.add_release(release("r2"), [stored("r2")], START, second)
        await store.note_origin(NotedOrigin(Origin("/deploy.d", "copy.yaml", "two"), "r2"))
    async with stand.open() as store:
        assert [(noted.origin.file, noted.origin.digest, noted.release) for noted in await store.origins()] == [
            ("copy.yaml", "two", "r2"),
            ("shop.yaml", "two", "r2"),
        ]


async def test_a_clock_that_is_set_back_changes_no_order(stand: Stand) -> None:
    """Of two releases of an application, the one that came first is carried out first, also by the next daemon; and a rollout's
    story is told as it went."""
    one, earlier = stored(), START - timedelta(minutes=1)
    async with stand.open() as store:
        await store.add_release(release(), [one], START)
        await store.add_release(replace(release("r2"), created_at=earlier), [stored("r2")], earlier)
        assert [found.id for found in await store.unfinished_releases()] == ["r1", "r2"]
        assert [found.id for found in await store.releases()] == ["r2", "r1"]
        first = decision(one, "first")
        await store.commit(first)
        later = decision(StoredRollout(one.spec, first.snapshot), "second")
        await store.commit(Commit(later.spec, later.snapshot, replace(later.entry, at=earlier), later.previous_seq))
        assert [entry.text for entry in await store.journal("r1")] == ["first", "second"]


async def test_a_second_daemon_on_the_same_store_is_refused_and_harms_nobody(stand: Stand) -> None:
    async with stand.open() as store:
        await store.add_release(release(), [stored()], START)
        with pytest.raises(StoreBusy, match="two daemons on one store"):
            async with stand.open():
                pass
        await store.commit(decision(stored()))
    async with stand.open() as store:
        assert [entry.text for entry in await store.journal("r1")] == ["noted"]


async def test_releases_are_found_by_application_and_by_whether_they_have_ended(stand: Stand) -> None:
    async with stand.open() as store:
        for name, application in (("r1", "shop"), ("r2", "till"), ("r3", "shop")):
            await store.add_release(replace(release(name), application=application), [stored(name)], START)
        await store.update_release(replace(release("r3"), status=ReleaseStatus.SUCCEEDED))
        assert [one.id for one in await store.releases(application="shop")] == ["r3", "r1"]
        assert [one.id for one in await store.releases(limit=2)] == ["r3", "r2"]
        assert [one.id for one in await store.unfinished_releases()] == ["r1", "r2"]
        assert await store.release("nobody") is None
        found = await store.release("r3")
        assert found is not None and found.status is ReleaseStatus.SUCCEEDED


@pytest.mark.process
def test_what_was_acknowledged_survives_sigkill(stand: Stand) -> None:
    command, environment = stand.writing_process()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    assert process.stdout is not None
    acknowledged = 0
    for line in process.stdout:
        acknowledged = int(line)
        if acknowledged >= 100:
            break
    process.send_signal(signal.SIGKILL)
    rest = process.stdout.read().split()
    acknowledged = int(rest[-1]) if rest else acknowledged
    process.wait()
    process.stdout.close()

    async def read() -> tuple[Snapshot, int]:
        async with stand.open() as store:
            (found,) = await store.rollouts("r1")
            return found.snapshot, len(await store.journal("r1"))

    snapshot, entries = anyio.run(read)
    assert acknowledged <= snapshot.seq <= acknowledged + 1
    assert entries == snapshot.seq
