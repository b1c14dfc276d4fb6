"""What only a store behind a wire can go through: a server that restarts or dies, answers that are lost, and another daemon that
takes over."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import anyio.lowlevel
import anyio.to_thread
import asyncpg
import pytest

from engine.errors import Deposed, StoreBusy, StoreDamaged, StoreError, StoreTooNew
from engine.ports import StoredRollout
from store.postgres import PostgresStore, open_postgres
from store.postgres_place import PostgresPlace
from store.postgres_session import open_session
from tests.clocks import START
from tests.postgres.cutting import Cut, Wire, stretch_wire
from tests.postgres.server import PASSWORD, PostgresServer
from tests.store.stand import PostgresStand, decision, release, stored, whenever

_BACKENDS = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"


async def commit_in_the_end(store: PostgresStore, before: StoredRollout, text: str) -> int:
    """As the engine does: again and again. How often it failed."""
    failures = 0
    with anyio.fail_after(30):
        while True:
            try:
                await store.commit(decision(before, text))
            except StoreError:
                failures += 1
                await anyio.sleep(0.05)
            else:
                return failures


async def story(stand: PostgresStand) -> list[str]:
    rows = await stand.ask("SELECT convert_from(body, 'UTF8')::json ->> 'text' FROM journal ORDER BY seq")
    return [text for (text,) in rows]


@asynccontextmanager
async def store_on_a_wire(stand: PostgresStand, server: PostgresServer) -> AsyncIterator[tuple[PostgresStore, Wire]]:
    async with stretch_wire(server.port) as wire, stand.open(port=wire.port) as store:
        await store.add_release(release(), [stored()], START)
        yield store, wire


# --- servers that go away ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGQUIT])
async def test_a_restart_of_the_server_costs_failed_commits_and_nothing_else(
    postgres_stand: PostgresStand, postgres_server: PostgresServer, how: signal.Signals
) -> None:
    async with postgres_stand.open() as store:
        await store.add_release(release(), [stored()], START)
        await anyio.to_thread.run_sync(postgres_server.stop, how)
        try:
            with pytest.raises(StoreError, match="cannot be reached"):
                await commit_once_or_twice(store)
            with pytest.raises(StoreError):
                await store.releases()
        finally:
            await anyio.to_thread.run_sync(postgres_server.start)
        await commit_in_the_end(store, stored(), "after the restart")
        assert [entry.text for entry in await store.journal("r1")] == ["after the restart"]
        with pytest.raises(StoreBusy):
            async with postgres_stand.open():
                pass


async def commit_once_or_twice(store: PostgresStore) -> None:
    """The first may find the connection gone, the second that there is no server."""
    try:
        await store.commit(decision(stored(), "lost"))
    except StoreError:
        await store.commit(decision(stored(), "lost"))


async def test_a_backend_that_is_killed_takes_all_sessions_down_and_the_store_goes_on(
    postgres_stand: PostgresStand, postgres_server: PostgresServer
) -> None:
    async with postgres_stand.open() as store:
        await store.add_release(release(), [stored()], START)
        for (pid,) in await postgres_stand.ask(_BACKENDS):
            os.kill(pid, signal.SIGKILL)
        await commit_in_the_end(store, stored(), "after the crash")
        assert [one.id for one in await store.releases()] == ["r1"]
        assert await story(postgres_stand) == ["after the crash"]


async def test_a_session_that_is_ended_at_any_moment_costs_a_try(
    postgres_stand: PostgresStand, postgres_server: PostgresServer
) -> None:
    """Also between two statements, when the news of its end lies on the wire and has not been read."""
    async with postgres_stand.open() as store:
        now = stored()
        await store.add_release(release(), [now], START)
        ends = 0
        administrator = await asyncpg.connect(postgres_stand.place.url, password=PASSWORD)
        try:
            for delay in range(24):
                commit = decision(now, f"{delay}")
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(commit_in_the_end, store, now, f"{delay}")
                    for _ in range(delay):
                        await anyio.lowlevel.checkpoint()
                    ends += len(await administrator.fetch(f"SELECT pg_terminate_backend(pid) FROM ({_BACKENDS}) AS others"))
                now = StoredRollout(now.spec, commit.snapshot)
        finally:
            await administrator.close()
        assert ends >= 12
        assert await story(postgres_stand) == [f"{delay}" for delay in range(24)]


# --- answers that are lost ---------------------------------------------------------------------------------------------


async def test_a_commit_whose_answer_was_lost_counts_as_written_when_it_was(
    postgres_stand: PostgresStand, postgres_server: PostgresServer
) -> None:
    """Told that it had failed, the engine would decide again on a stand that the store has left, for ever."""
    async with store_on_a_wire(postgres_stand, postgres_server) as (store, wire):
        first = decision(stored(), "first")
        wire.cut = Cut.AFTER_COMMIT
        await store.commit(first)
        assert wire.cuts == 1
        await store.commit(decision(StoredRollout(first.spec, first.snapshot), "second"))
        assert await story(postgres_stand) == ["first", "second"]


async def test_a_commit_that_the_server_never_heard_of_counts_as_failed(
    postgres_stand: PostgresStand, postgres_server: PostgresServer
) -> None:
    """Its transaction is still open on the server, with all its locks, and nobody will ever end it there."""
    async with store_on_a_wire(postgres_stand, postgres_server) as (store, wire):
        wire.cut = Cut.BEFORE_COMMIT
        with pytest.raises(StoreError, match="could not be written"):
            await store.commit(decision(stored(), "never heard of"))
        assert wire.cuts == 1
        await store.commit(decision(stored(), "heard of"))
        assert await story(postgres_stand) == ["heard of"]


async def test_nobody_is_told_anything_of_a_commit_until_it_is_known(
    postgres_stand: PostgresStand, postgres_server: PostgresServer
) -> None:
    async with store_on_a_wire(postgres_stand, postgres_server) as (store, wire):
        told = anyio.Event()

        async def commit() -> None:
            await store.commit(decision(stored(), "written"))
            told.set()

        async with anyio.create_task_group() as tasks:
            wire.cut, wire.is_down = Cut.AFTER_COMMIT, True
            tasks.start_soon(commit)
            with anyio.fail_after(10):
                while wire.refused < 2:
                    await anyio.sleep(0.01)
            assert await story(postgres_stand) == ["written"]
            assert not told.is_set()
            wire.is_down = False
            with anyio.fail_after(10):
                await told.wait()


async def test_a_commit_whose_wait_for_a_replica_was_cut_short_counts_as_written_when_a_replica_has_it(
    postgres_stand: PostgresStand, postgres_server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is seen at once then; and lost, if the server is."""
    monkeypatch.setattr("store.postgres_place.STATEMENT_SECONDS", 0.5)
    async with postgres_stand.open() as store:
        await store.add_release(release(), [stored()], START)
        told = anyio.Event()

        async def commit() -> None:
            await store.commit(decision(stored(), "written"))
            told.set()

        async with anyio.create_task_group() as tasks, waiting_for_a_replica(postgres_stand) as replica_is_back:
            tasks.start_soon(commit)
            versions: set[str] = set()
            with anyio.fail_after(20):
                while len(versions) < 4:  # As it was, and what was cut short: the commit, and two that came after it.
                    assert not told.is_set()
                    ((version,),) = await postgres_stand.ask("SELECT xmin::text FROM writer")
                    versions.add(version)
            assert await story(postgres_stand) == ["written"]
            await replica_is_back()
            with anyio.fail_after(10):
                await told.wait()


@asynccontextmanager
async def waiting_for_a_replica(stand: PostgresStand) -> AsyncIterator[Callable[[], Awaitable[None]]]:
    """Commits wait for one that is not there, until what is yielded is called."""

    async def wait_for(names: str) -> None:
        await stand.ask(f"ALTER SYSTEM SET synchronous_standby_names = '{names}'")
        await stand.ask("SELECT pg_reload_conf()")
        while await stand.ask("SHOW synchronous_standby_names") != [(names,)]:
            await anyio.lowlevel.checkpoint()

    await wait_for("nobody")
    try:
        yield lambda: wait_for("")
    finally:
        with anyio.CancelScope(shield=True):
            await wait_for("")


async def test_a_store_that_is_closed_does_not_wait_for_a_server_that_is_gone(
    postgres_stand: PostgresStand, postgres_server: PostgresServer
) -> None:
    failures: list[str] = []

    async def commit(store: PostgresStore) -> None:
        try:
            await store.commit(decision(stored(), "in doubt"))
        except StoreError as error:
            failures.append(str(error))

    async with anyio.create_task_group() as tasks:
        with anyio.fail_after(10):
            async with store_on_a_wire(postgres_stand, postgres_server) as (store, wire):
                wire.cut, wire.is_down = Cut.AFTER_COMMIT, True
                tasks.start_soon(commit, store)
                while wire.refused < 1:
                    await anyio.sleep(0.01)
    assert "before it was known" in failures[0]


async def test_a_server_that_is_gone_without_a_word_keeps_nobody_from_stopping(
    postgres_stand: PostgresStand, postgres_server: PostgresServer
) -> None:
    with anyio.fail_after(8):
        async with store_on_a_wire(postgres_stand, postgres_server) as (store, wire):
            assert len(await store.releases()) == 1
            wire.is_dead = True


async def test_a_server_that_is_gone_without_a_word_is_waited_for_once_and_not_for_each_thing_to_be_written(
    postgres_stand: PostgresStand, postgres_server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("store.postgres_place.STATEMENT_SECONDS", 2.0)
    failures: list[str] = []

    async def commit(store: PostgresStore, text: str) -> None:
        try:
            await store.commit(decision(stored(), text))
        except StoreError as error:
            failures.append(str(error))

    async with anyio.create_task_group() as tasks:
        with anyio.fail_after(7):
            async with store_on_a_wire(postgres_stand, postgres_server) as (store, wire):
                wire.is_dead = True
                tasks.start_soon(commit, store, "begun")
                while not wire.unheard:
                    await anyio.lowlevel.checkpoint()
                tasks.start_soon(commit, store, "waiting")
                await anyio.lowlevel.checkpoint()
    assert len(failures) == 2
    assert await story(postgres_stand) == []


# --- what was acknowledged and is lost ---------------------------------------------------------------------------------


async def test_a_replica_that_lacks_a_commit_ends_the_daemon_and_the_next_one_goes_on_from_there(
    postgres_stand: PostgresStand,
) -> None:
    """On the stand that it remembers, it could never write again: not an abort either."""
    kept = decision(stored(), "kept")
    lost = decision(StoredRollout(kept.spec, kept.snapshot), "lost")
    with pytest.raises(Deposed, match="has lost what it had acknowledged"):
        async with postgres_stand.open() as store:
            await store.add_release(release(), [stored()], START)
            await store.commit(kept)
            await postgres_stand.ask("CREATE TABLE replica AS SELECT rollout.*, latest FROM rollout, writer")
            await store.commit(lost)
            await postgres_stand.ask("UPDATE rollout SET seq = replica.seq, snapshot = replica.snapshot FROM replica")
            await postgres_stand.ask("UPDATE writer SET latest = replica.latest FROM replica")
            await postgres_stand.ask(f"DELETE FROM journal WHERE seq = {lost.snapshot.seq}")
            await postgres_stand.ask(f"SELECT pg_terminate_backend(pid) FROM ({_BACKENDS}) AS others")
            await commit_in_the_end(store, StoredRollout(lost.spec, lost.snapshot), "on a stand that is nowhere")
    async with postgres_stand.open() as store:
        await store.commit(decision(StoredRollout(kept.spec, kept.snapshot), "decided again"))
    assert await story(postgres_stand) == ["kept", "decided again"]


async def test_a_replica_that_never_heard_of_this_daemon_has_lost_something_too(postgres_stand: PostgresStand) -> None:
    with pytest.raises(Deposed, match="has lost what it had acknowledged"):
        async with postgres_stand.open() as store:
            await postgres_stand.ask("UPDATE writer SET epoch = epoch - 1, holder = 'the one before'")
            await commit_in_the_end(store, stored(), "on a stand that is nowhere")


# --- taking over -------------------------------------------------------------------------------------------------------


async def test_who_was_deposed_writes_nothing_more_and_ends(postgres_stand: PostgresStand) -> None:
    async with postgres_stand.open() as old:
        await old.add_release(release(), [stored()], START)
        await old.commit(decision(stored(), "by the old one"))
    first = decision(stored())
    later = StoredRollout(first.spec, first.snapshot)
    with pytest.raises(Deposed, match=r"taken over by daemon \d+"):
        async with postgres_stand.open() as old, postgres_stand.open(take_over=whenever) as new:
            assert new.epoch == old.epoch + 1
            with pytest.raises(Deposed):
                await old.commit(decision(later, "by the deposed one"))
            await anyio.sleep_forever()
    assert await story(postgres_stand) == ["by the old one"]


async def test_who_is_stopped_in_the_middle_of_a_transaction_keeps_nobody_from_taking_over(postgres_stand: PostgresStand) -> None:
    """A process that is stopped holds its connection, and the transaction on it all its locks."""
    async with postgres_stand.open() as store:
        await store.add_release(release(), [stored()], START)
    stopped = await open_session(postgres_stand.place, "the stopped one", START)
    try:
        with pytest.raises(Deposed):
            async with stopped.transaction() as transaction:
                await transaction.execute("UPDATE release SET status = ?", [("STOPPED",)])
                with anyio.fail_after(5):
                    async with postgres_stand.open(take_over=whenever) as new:
                        await new.commit(decision(stored(), "by the new one"))
        with pytest.raises(Deposed):
            async with stopped.transaction():
                pytest.fail("it was let in again")
    finally:
        await stopped.close()
    assert await story(postgres_stand) == ["by the new one"]
    assert await postgres_stand.ask("SELECT status FROM release") == [("RUNNING",)]


async def test_who_was_deposed_does_not_disturb_who_writes(postgres_stand: PostgresStand) -> None:
    stopped = await open_session(postgres_stand.place, "the stopped one", START)
    async with postgres_stand.open(take_over=whenever) as new:
        before = await postgres_stand.ask(_BACKENDS)
        for _ in range(2):
            with pytest.raises(Deposed):
                async with stopped.transaction():
                    pytest.fail("it was let in again")
        assert await postgres_stand.ask(_BACKENDS) == before
        await new.add_release(release(), [stored()], START)
    await stopped.close()


@pytest.mark.parametrize("times", [0, 1])
async def test_who_loses_the_lease_while_it_opens_the_store_deposes_nobody(postgres_stand: PostgresStand, times: int) -> None:
    """It lasts this many questions: to end the other one's session, and to raise the epoch."""
    questions = iter(range(times))

    def require() -> None:
        if next(questions, None) is None:
            raise Deposed("the lease is lost")

    async with postgres_stand.open() as leader:
        await leader.add_release(release(), [stored()], START)
        with pytest.raises(Deposed, match="the lease is lost"):
            async with postgres_stand.open(take_over=require):
                pass
        if times == 0:
            await leader.commit(decision(stored(), "by who leads"))
        else:
            await commit_in_the_end(leader, stored(), "by who leads")
    assert await story(postgres_stand) == ["by who leads"]


# --- what is refused ---------------------------------------------------------------------------------------------------


async def test_a_store_of_a_newer_schema_is_refused_and_its_daemon_left_in_peace(postgres_stand: PostgresStand) -> None:
    async with postgres_stand.open() as store:
        await store.add_release(release(), [stored()], START)
        await postgres_stand.ask("UPDATE version SET number = 99 RETURNING 1")
        with pytest.raises(StoreTooNew, match="written by a newer version"):
            async with postgres_stand.open(take_over=whenever):
                pass
        await store.commit(decision(stored(), "still here"))


async def test_tables_of_somebody_else_are_refused(postgres_stand: PostgresStand) -> None:
    await postgres_stand.ask("CREATE SCHEMA headgate")
    with pytest.raises(StoreDamaged, match="not Headgate's"):
        async with postgres_stand.open():
            pass


async def test_every_database_of_a_server_may_have_a_store(
    postgres_stand: PostgresStand, postgres_place: PostgresPlace
) -> None:
    async with postgres_stand.open(), open_postgres(postgres_place, "another", START) as store:
        await store.add_release(release(), [stored()], START)


async def test_a_socket_that_is_not_there_is_named_with_its_folder_and_port(tmp_path: Path) -> None:
    place = PostgresPlace(f"postgresql:///headgate?host={tmp_path}&port=6543")
    with pytest.raises(StoreError, match=f"cannot be reached at {tmp_path}, port 6543: .*No such file"):
        async with open_postgres(place, "nobody", START):
            pass


async def test_no_error_shows_the_password(postgres_server: PostgresServer, postgres_place: PostgresPlace) -> None:
    async def wrong() -> str:
        return PASSWORD + "-of-yesterday"

    nowhere = PostgresPlace(postgres_place.url + "_not_there", postgres_place.password)
    for place in (PostgresPlace(postgres_place.url, wrong), nowhere):
        with pytest.raises(StoreError, match="cannot be reached") as caught:
            async with open_postgres(place, "nobody", START):
                pass
        assert PASSWORD not in repr((caught.value, caught.value.__cause__))
