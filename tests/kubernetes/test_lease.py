"""Who may lead, by the Lease: single decisions, and candidates that are paused, cut off and killed at any moment."""

from __future__ import annotations

from datetime import datetime, timedelta
from random import Random
from typing import Any
from unittest.mock import patch

import anyio
import pytest

from adapters.kubernetes.errors import AlreadyExists, Conflict, NamespaceGone, Unreachable
from adapters.kubernetes.leading import Candidate
from adapters.kubernetes.lease import LeaseTimes, Move, Record, Sight, decide, held, new_lease, read_record, released
from adapters.kubernetes.outages import MOST_BEHIND_SECONDS
from engine.errors import Deposed
from tests.clocks import START, run_in_virtual_time
from tests.folders.stage import listening

TIMES = LeaseTimes(lease_duration=15, renew_deadline=10.0, retry_period=2.0)


def record(holder: str, *, duration: int = 15, version: str = "1", transitions: int = 3) -> Record:
    spec = {"holderIdentity": holder, "leaseDurationSeconds": duration, "leaseTransitions": transitions}
    return read_record({"metadata": {"name": "headgate", "resourceVersion": version}, "spec": spec})


@pytest.mark.parametrize(
    ("sight", "now", "move"),
    [
        (Sight(), 0.0, Move.CREATE),
        (Sight(record("me"), 0.0), 3.0, Move.RENEW),
        (Sight(record("me"), 0.0), 300.0, Move.RENEW),
        (Sight(record("other"), 0.0), 3.0, Move.WAIT),
        (Sight(record("other"), 0.0), 14.9, Move.WAIT),
        (Sight(record("other"), 0.0), 15.0, Move.TAKE),
        (Sight(record("other", duration=60), 0.0), 15.0, Move.WAIT),
        (Sight(record(""), 0.0), 0.0, Move.TAKE),
        (Sight(record(""), 0.0, record("other")), 14.9, Move.WAIT),
        (Sight(record(""), 0.0, record("other")), 15.0, Move.TAKE),
        (Sight(None, 0.0, record("other")), 14.9, Move.WAIT),
        (Sight(None, 0.0, record("other", duration=60)), 15.0, Move.WAIT),
        (Sight(None, 0.0, record("other")), 15.0, Move.CREATE),
        (Sight(None, 0.0, record("me")), 0.0, Move.CREATE),
    ],
)
def test_what_is_done_next(sight: Sight, now: float, move: Move) -> None:
    assert decide(sight, "me", now) is move


def test_time_counts_from_when_a_change_was_seen_whatever_the_record_says() -> None:
    """Clocks of two hosts are never compared: the record's own times may lie years away."""
    sight = Sight().look(record("other", version="1"), 100.0)
    assert sight.look(record("other", version="1"), 110.0).changed_at == 100.0
    assert sight.look(record("other", version="2"), 110.0).changed_at == 110.0


@pytest.mark.parametrize(
    ("looks", "known"),
    [
        ([None], Sight()),
        ([record("")], Sight(record(""), 0.0)),
        ([record("other"), None], Sight(None, 1.0, record("other"))),
        ([record("other"), None, None], Sight(None, 1.0, record("other"))),
        ([record("other"), record("", version="2")], Sight(record("", version="2"), 1.0, record("other"))),
        ([record("other"), record("", version="2"), None], Sight(None, 2.0, record("other"))),
        ([record("other"), record("", duration=1, version="2")], Sight(record("", duration=1, version="2"), 1.0)),
        ([record("other"), record("", duration=1, version="2"), None], Sight(None, 2.0)),
        ([record("other"), None, record("third", version="3")], Sight(record("third", version="3"), 2.0)),
    ],
)
def test_a_holder_that_somebody_has_taken_out_is_remembered_and_one_that_gave_it_back_is_not(
    looks: list[Record | None], known: Sight
) -> None:
    sight = Sight()
    for moment, found in enumerate(looks):
        sight = sight.look(found, float(moment))
    assert sight == known


def test_what_is_written() -> None:
    fresh = new_lease("tools", "headgate", "me", TIMES, START)
    assert fresh["spec"] == {
        "holderIdentity": "me",
        "leaseDurationSeconds": 15,
        "acquireTime": "2026-01-05T03:00:00.000000Z",
        "renewTime": "2026-01-05T03:00:00.000000Z",
        "leaseTransitions": 0,
    }
    later = START + timedelta(seconds=2.5)
    mine = read_record({**fresh, "metadata": {**fresh["metadata"], "resourceVersion": "7"}})
    renewed = held(mine, "me", TIMES, later)
    assert renewed["metadata"]["resourceVersion"] == "7"
    assert renewed["spec"] == {**fresh["spec"], "renewTime": "2026-01-05T03:00:02.500000Z"}
    taken = held(mine, "other", TIMES, later)["spec"]
    assert (taken["holderIdentity"], taken["leaseTransitions"]) == ("other", 1)
    assert taken["acquireTime"] == taken["renewTime"] == "2026-01-05T03:00:02.500000Z"
    given_back = released(mine, later)["spec"]
    assert (given_back["holderIdentity"], given_back["leaseDurationSeconds"], given_back["leaseTransitions"]) == ("", 1, 0)


# --- candidates in trouble ---------------------------------------------------------------------------------------------


class SharedLease:
    """The object, as an API server keeps it."""

    namespace, name = "tools", "headgate"

    def __init__(self) -> None:
        self.body: dict[str, Any] | None = None
        self.version = 0

    def keep(self, body: dict[str, Any]) -> dict[str, Any]:
        self.version += 1
        self.body = {**body, "metadata": {**body["metadata"], "resourceVersion": str(self.version)}}
        return self.body


class Line:
    """One candidate's way to it: slow, and sometimes cut, before the effect or after it."""

    namespace, name = SharedLease.namespace, SharedLease.name

    def __init__(self, shared: SharedLease, host: Host, random: Random) -> None:
        self._shared = shared
        self._host = host
        self._random = random
        self.is_cut = False

    async def _travel(self, what: str) -> None:
        await self._host.sleep(self._random.choice([0.0, 0.01, 0.5, 3.0]))
        if self.is_cut or self._random.random() < 0.05:
            raise Unreachable(what, "no answer", maybe_applied=True)

    async def read(self) -> dict[str, Any] | None:
        await self._travel("GET")
        found = self._shared.body
        await self._travel("GET")
        return found

    async def create(self, body: dict[str, Any]) -> dict[str, Any]:
        await self._travel("CREATE")
        if self._shared.body is not None:
            raise AlreadyExists("CREATE", "it is there")
        made = self._shared.keep(body)
        await self._travel("CREATE")
        return made

    async def replace(self, body: dict[str, Any]) -> dict[str, Any]:
        await self._travel("PUT")
        if body["metadata"]["resourceVersion"] != str(self._shared.version):
            raise Conflict("PUT", "it has moved on")
        made = self._shared.keep(body)
        await self._travel("PUT")
        return made


class Host:
    """A machine whose process can be stopped: nothing of it runs then, and its clock goes on. Its wall clock is nobody else's."""

    def __init__(self, random: Random) -> None:
        self.stopped_until = 0.0
        self._wall = timedelta(seconds=random.uniform(-1e6, 1e6))

    def boottime(self) -> float:
        return anyio.current_time()

    def now(self) -> datetime:
        return START + self._wall + timedelta(seconds=anyio.current_time())

    def monotonic(self) -> float:
        return anyio.current_time()

    async def sleep(self, seconds: float) -> None:
        await anyio.sleep(seconds)
        while anyio.current_time() < self.stopped_until:
            await anyio.sleep(self.stopped_until - anyio.current_time())


class Daemon:
    """Starts anew, as a standby, each time that it was deposed."""

    def __init__(self, number: int, shared: SharedLease, seed: int) -> None:
        self._random = Random(f"{seed} {number}")
        self._number = number
        self.host = Host(self._random)
        self.line = Line(shared, self.host, self._random)
        self.candidate: Candidate | None = None
        self.terms = 0
        self._lives = 0

    async def run(self) -> None:
        while True:
            self._lives += 1
            candidate = self.candidate = Candidate(
                self.line,
                f"{self._number}.{self._lives}",
                TIMES,
                clock=self.host,
                random=self._random,
                boottime=self.host.boottime,
            )
            await candidate.campaign()
            self.terms += 1
            try:
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(candidate.keep)
                    if self._random.random() < 0.2:
                        await self.host.sleep(self._random.uniform(1, 100))
                        tasks.cancel_scope.cancel()
            except* Deposed:
                pass
            await candidate.resign()
            await self.host.sleep(2.0)

    @property
    def may_write(self) -> bool:
        return self.candidate is not None and self.candidate.leads


async def _trouble(daemons: list[Daemon], random: Random) -> None:
    while True:
        await anyio.sleep(random.uniform(1, 40))
        victim = random.choice(daemons)
        if random.random() < 0.5:
            victim.host.stopped_until = anyio.current_time() + random.choice([1.0, 9.0, 16.0, 60.0])
        else:
            victim.line.is_cut = not victim.line.is_cut


@pytest.mark.parametrize("seed", range(40))
def test_there_are_never_two_that_may_write(seed: int) -> None:
    """Asked all the time, of all, also of those that are stopped and would be asked when they go on."""

    async def story() -> tuple[int, float]:
        shared, random = SharedLease(), Random(seed)
        daemons = [Daemon(number, shared, seed) for number in range(3)]
        led = 0.0
        async with anyio.create_task_group() as tasks:
            for daemon in daemons:
                tasks.start_soon(daemon.run)
            tasks.start_soon(_trouble, daemons, random)
            for _ in range(20_000):
                writers = [daemon for daemon in daemons if daemon.may_write]
                assert len(writers) <= 1
                led += 0.1 * len(writers)
                await anyio.sleep(0.1)
            tasks.cancel_scope.cancel()
        return sum(daemon.terms for daemon in daemons), led

    terms, led = run_in_virtual_time(story)
    assert terms >= 3
    assert led > 500  # Of 2,000 seconds, in which somebody is cut off most of the time.


def test_who_stops_in_peace_is_followed_at_once_and_who_was_killed_when_the_lease_has_run_out() -> None:
    async def follow(*, in_peace: bool) -> float:
        shared, random = SharedLease(), Random(1)
        first, second = (_calm(shared, name, random) for name in ("first", "second"))
        await first.campaign()
        assert (first.leads, first.transitions) == (True, 0)
        if in_peace:
            await first.resign()
            with pytest.raises(Deposed, match="it was given back"):
                first.require()
        began = anyio.current_time()
        await second.campaign()
        assert (second.leader, second.transitions) == ("second", 1)
        return anyio.current_time() - began

    assert run_in_virtual_time(lambda: follow(in_peace=True)) == 0.0
    assert 15.0 <= run_in_virtual_time(lambda: follow(in_peace=False)) <= 15.0 + 2 * 2.4


def test_who_is_stopped_in_the_middle_of_a_renewal_gives_back_what_has_arrived_of_it() -> None:
    async def story() -> None:
        shared, host = SharedLease(), Host(Random(1))
        line = _DeafLine(shared, host, Random(1))
        first = Candidate(line, "first", TIMES, clock=host, random=Random(1), boottime=host.boottime)
        second = _calm(shared, "second", Random(2))
        await first.campaign()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(first.keep)
            line.is_deaf = True
            await anyio.sleep(2.5)
            tasks.cancel_scope.cancel()
        line.is_deaf = False
        assert shared.version == 2
        await first.resign()
        began = anyio.current_time()
        await second.campaign()
        assert (second.leads, anyio.current_time()) == (True, began)

    run_in_virtual_time(story)


@pytest.mark.parametrize("how", ["deleted", "emptied"])
def test_who_is_cut_off_while_somebody_takes_the_holder_out_is_waited_for(how: str) -> None:
    async def story() -> None:
        shared, host = SharedLease(), Host(Random(1))
        line = _CalmLine(shared, host, Random(1))
        first = Candidate(line, "first", TIMES, clock=host, random=Random(1), boottime=host.boottime)
        second = _calm(shared, "second", Random(2))
        await first.campaign()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(second.campaign)
            await anyio.sleep(1.0)
            line.is_cut = True
            assert shared.body is not None
            emptied = {**shared.body, "spec": {**shared.body["spec"], "holderIdentity": ""}}
            shared.body = None if how == "deleted" else shared.keep(emptied)
            while first.leads:
                assert not second.leads
                await anyio.sleep(0.1)
        assert 16.0 <= anyio.current_time() <= 16.0 + 2 * 2.4
        assert second.leads

    run_in_virtual_time(story)


def test_who_takes_over_after_an_outage_knows_that_others_may_be_behind() -> None:
    async def story() -> None:
        shared, host = SharedLease(), Host(Random(1))
        line = _CalmLine(shared, host, Random(1))
        standby = Candidate(line, "b", TIMES, clock=host, random=Random(1), account="production", boottime=host.boottime)
        first = _calm(shared, "a", Random(2))
        await first.campaign()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(standby.campaign)
            await anyio.sleep(10.0)
            assert standby.behind_seconds("production") == 0.0
            line.is_cut = True
            await anyio.sleep(40.0)
            line.is_cut = False
        assert standby.leads
        assert 40.0 <= standby.behind_seconds("production") <= MOST_BEHIND_SECONDS
        assert standby.behind_seconds("elsewhere") == 0.0

    run_in_virtual_time(story)


def test_who_leads_makes_a_deleted_lease_again_and_goes_on() -> None:
    async def story() -> None:
        shared = SharedLease()
        first, second = (_calm(shared, name, Random(1)) for name in ("first", "second"))
        await first.campaign()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(first.keep)
            tasks.start_soon(second.campaign)
            await anyio.sleep(5.0)
            shared.body = None
            await anyio.sleep(60.0)
            assert (first.leads, second.leads, second.leader) == (True, False, "first")
            tasks.cancel_scope.cancel()

    run_in_virtual_time(story)


def test_why_the_lease_cannot_be_asked_for_is_said_with_advice() -> None:
    async def story() -> None:
        shared = SharedLease()
        first = _calm(shared, "first", Random(1))
        gone = NamespaceGone("CREATE", 'namespaces "tools" not found')
        with patch.object(_CalmLine, "create", side_effect=gone), listening("lease.") as logs, anyio.move_on_after(10.0):
            await first.campaign()
        assert 'namespaces "tools" not found' in first.trouble
        assert [entry["advice"] for entry in logs] == ["make it: kubectl create namespace tools"]
        await first.campaign()
        assert (first.leads, first.trouble) == (True, "")

    run_in_virtual_time(story)


def test_whose_lease_was_taken_learns_so_at_the_next_renewal_and_gives_nothing_back() -> None:
    async def story() -> None:
        shared = SharedLease()
        first = _calm(shared, "first", Random(1))
        await first.campaign()
        assert shared.body is not None
        shared.keep(held(read_record(shared.body), "thief", TIMES, START))
        with pytest.raises(Deposed, match="thief has it"):
            await first.keep()
        await first.resign()
        assert read_record(shared.body).holder == "thief"

    run_in_virtual_time(story)


def test_who_cannot_renew_ends_before_anybody_may_follow() -> None:
    async def story() -> None:
        shared, host = SharedLease(), Host(Random(1))
        line = _CalmLine(shared, host, Random(1))
        first = Candidate(line, "first", TIMES, clock=host, random=Random(1), boottime=host.boottime)
        await first.campaign()
        line.is_cut = True
        with pytest.raises(Deposed, match=r"last renewed 10\.0 s ago .*no answer"):
            await first.keep()
        assert anyio.current_time() == 10.0

    run_in_virtual_time(story)


class _CalmLine(Line):
    async def _travel(self, what: str) -> None:
        if self.is_cut:
            raise Unreachable(what, "no answer")


class _DeafLine(_CalmLine):
    """The server hears what is written, and is not heard."""

    is_deaf = False

    async def replace(self, body: dict[str, Any]) -> dict[str, Any]:
        made = await super().replace(body)
        if self.is_deaf:
            await anyio.sleep_forever()
        return made


def _calm(shared: SharedLease, name: str, random: Random) -> Candidate:
    host = Host(random)
    return Candidate(_CalmLine(shared, host, random), name, TIMES, clock=host, random=random, boottime=host.boottime)
