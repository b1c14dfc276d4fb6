"""Waits for the lease, keeps it, gives it back; and says at any moment whether it is still ours.

That is told by a clock that also runs while the process, or the whole machine, sleeps (CLOCK_BOOTTIME). A process that was
stopped for longer than the lease finds so at its next write, before it has heard from anybody.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from random import Random
from typing import Protocol

import anyio
import structlog

from adapters.kubernetes.errors import AlreadyExists, ApiError, Conflict, NamespaceGone, NotFound
from adapters.kubernetes.lease import (
    JsonObject,
    LeaseTimes,
    Move,
    Record,
    Sight,
    decide,
    held,
    new_lease,
    read_record,
    released,
)
from adapters.kubernetes.outages import AWAY, Outages
from adapters.kubernetes.paths import LEASES
from adapters.kubernetes.transport import Transport
from engine.clock import Clock
from engine.errors import Deposed

log = structlog.get_logger()

JITTER = 1.2
"""Candidates that fail together do not come again together: each waits up to this many times longer."""


def boottime() -> float:
    """Seconds that also pass while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class LeaseObject(Protocol):
    """One Lease of a cluster. Every method raises `ApiError`."""

    namespace: str
    name: str

    async def read(self) -> JsonObject | None: ...

    async def create(self, body: JsonObject) -> JsonObject: ...

    async def replace(self, body: JsonObject) -> JsonObject:
        """Only the version that the body has: raises `Conflict` for any other."""


class KubernetesLease:
    def __init__(self, transport: Transport, namespace: str, name: str) -> None:
        self._transport = transport
        self.namespace = namespace
        self.name = name

    async def read(self) -> JsonObject | None:
        try:
            return await self._transport.request("GET", LEASES.item(self.namespace, self.name), what=self._what("GET"))
        except NotFound:
            return None

    async def create(self, body: JsonObject) -> JsonObject:
        return await self._transport.request("POST", LEASES.collection(self.namespace), what=self._what("CREATE"), body=body)

    async def replace(self, body: JsonObject) -> JsonObject:
        path = LEASES.item(self.namespace, self.name)
        return await self._transport.request("PUT", path, what=self._what("PUT"), body=body)

    def _what(self, verb: str) -> str:
        return f"{verb} {LEASES.full_name} {self.namespace}/{self.name}"


class Candidate:
    """One daemon that leads or wants to. `campaign`, then `keep` until the end, then `resign`.

    Implements `adapters.leadership.Leadership`.
    """

    def __init__(
        self,
        lease: LeaseObject,
        me: str,
        times: LeaseTimes,
        *,
        clock: Clock,
        random: Random,
        account: str = "",
        boottime: Callable[[], float] = boottime,
    ) -> None:
        """`account`: on whose cluster the lease is."""
        self._account = account
        self._outages = Outages(clock)
        self._lease = lease
        self.me = me
        self._times = times
        self._clock = clock
        self._random = random
        self._boottime = boottime
        self._sight = Sight()
        self._renewed_at = -math.inf
        self._lost = ""
        self.trouble = ""
        """Why the lease could not be asked for at the last try; empty when it could."""

    # --- what others ask -----------------------------------------------------------------------------------------------

    @property
    def leader(self) -> str:
        """Who leads, as far as is known; empty when nobody does."""
        return self._sight.record.holder if self._sight.record is not None else ""

    @property
    def transitions(self) -> int:
        """How often the lease has changed hands."""
        return self._sight.record.transitions if self._sight.record is not None else 0

    @property
    def leads(self) -> bool:
        return not self._lost and self._boottime() < self._renewed_at + self._times.renew_deadline

    def require(self) -> None:
        if not self.leads:
            raise self._deposed()

    def behind_seconds(self, account: str) -> float:
        """A standby asks for the lease all the time, and so sees its API server go away and come back."""
        return self._outages.behind_seconds if account == self._account else 0.0

    # --- what the daemon does ------------------------------------------------------------------------------------------

    async def campaign(self) -> None:
        """Returns when this daemon leads."""
        while not await self._try():
            await self._clock.sleep(self._times.retry_period * self._random.uniform(1.0, JITTER))

    async def keep(self) -> None:
        """Renew it for ever. Raises `Deposed` when that has failed for too long, or when somebody else has it."""
        while True:
            await self._clock.sleep(max(0.0, min(self._times.retry_period, self._seconds_left())))
            self.require()
            with anyio.move_on_after(self._seconds_left()):
                await self._try()
            self.require()

    async def resign(self) -> None:
        """Give it back, so that somebody else may lead at once; nothing where it is not ours any more."""
        if not self.leads or self._sight.record is None:
            return
        self._lost = "it was given back"  # Before anybody else can have it.
        try:
            await self._give_back(self._sight.record)
        except ApiError as error:
            log.warning("lease.not_released", error=str(error), advice="others take over when it has run out")

    async def _give_back(self, record: Record) -> None:
        try:
            await self._lease.replace(released(record, self._clock.now()))
        except Conflict:
            # A renewal that was cut short by the daemon's end may have arrived all the same.
            body = await self._lease.read()
            found = read_record(body) if body is not None else None
            if found is not None and found.holder == self.me:
                await self._lease.replace(released(found, self._clock.now()))

    # --- one try -------------------------------------------------------------------------------------------------------

    async def _try(self) -> bool:
        try:
            body = await self._lease.read()
            self._outages.recover("lease")
            self._sight = self._sight.look(read_record(body) if body is not None else None, self._boottime())
            move = decide(self._sight, self.me, self._boottime())
            if self._renewed_at > -math.inf and move in (Move.WAIT, Move.TAKE):
                self._lost = f"{self.leader or 'nobody'} has it"
            if self._lost or move is Move.WAIT:
                self.trouble = ""
                return False
            sent_at = self._boottime()
            self._sight = Sight(await self._write(move), self._boottime())
        except (Conflict, AlreadyExists):
            return False  # Somebody was faster; the next look says who.
        except ApiError as error:
            if isinstance(error, AWAY):
                self._outages.fail("lease")
            if str(error) != self.trouble:
                lease = f"{self._lease.namespace}/{self._lease.name}"
                log.warning("lease.unreachable", lease=lease, error=str(error), advice=self._advice(error))
            self.trouble = str(error)
            return False
        self._renewed_at, self.trouble = sent_at, ""
        return True

    async def _write(self, move: Move) -> Record:
        lease, record, now = self._lease, self._sight.record, self._clock.now()
        if move is Move.CREATE or record is None:
            return read_record(await lease.create(new_lease(lease.namespace, lease.name, self.me, self._times, now)))
        return read_record(await lease.replace(held(record, self.me, self._times, now)))

    def _advice(self, error: ApiError) -> str:
        if isinstance(error, NamespaceGone):
            return f"make it: kubectl create namespace {self._lease.namespace}"
        return "headgate doctor says what is missing; the lease is asked for again until it answers"

    def _seconds_left(self) -> float:
        return self._renewed_at + self._times.renew_deadline - self._boottime()

    def _deposed(self) -> Deposed:
        why = self._lost
        if not why and self._renewed_at == -math.inf:
            why = "it was never ours"
        if not why:
            why = f"it was last renewed {self._boottime() - self._renewed_at:.1f} s ago"
            why += f" ({self.trouble})" if self.trouble else ""
        return Deposed(
            f"this daemon does not lead any more: it has lost the lease {self._lease.namespace}/{self._lease.name}, {why}. "
            "It writes nothing more and ends; started again, it is a standby"
        )
