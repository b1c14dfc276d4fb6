"""An informer of ReplicaSets in front of a scripted API server, and what is asked of it in stories."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from random import Random

import anyio

from adapters.kubernetes.informer import Informer
from adapters.kubernetes.outages import Outages
from adapters.kubernetes.own_writes import REQUEST_SECONDS
from adapters.kubernetes.paths import REPLICA_SETS
from adapters.kubernetes.transport import Transport, open_transport
from adapters.kubernetes.wire import Key, ReplicaSet, decode_replica_set
from tests.kubernetes.scripted_api import (
    Answer,
    ImpatientClock,
    LiveWatch,
    ScriptedApi,
    ScriptedCredentials,
    listing,
    replica_set,
    scripted_api,
)

WEB: Key = ("shop", "web")
LONG_AFTER_THE_LIST = 2 * REQUEST_SECONDS


class Stand:
    def __init__(
        self,
        api: ScriptedApi,
        informer: Informer[ReplicaSet],
        clock: ImpatientClock,
        told: list[tuple[str, int | None]],
        outages: Outages,
        told_unheard: list[bool],
    ) -> None:
        self.api = api
        self.informer = informer
        self.clock = clock
        self.told = told
        self.outages = outages
        self.told_unheard = told_unheard
        """Whether it was unheard of, each time when it said that everything has changed."""

    async def until(self, condition: Callable[[], bool]) -> None:
        with anyio.fail_after(5):
            while not condition():
                await anyio.sleep(0.002)

    async def until_replicas(self, expected: int | None) -> None:
        await self.until(lambda: self.replicas() == expected)

    def replicas(self, name: str = "web") -> int | None:
        found = self.informer.items.get(("shop", name))
        return found.replicas if found is not None else None


def make_informer(
    transport: Transport,
    clock: ImpatientClock,
    relists: anyio.Semaphore,
    on_change: Callable[[Key, ReplicaSet | None, ReplicaSet | None], None] = lambda key, before, after: None,
    outages: Outages | None = None,
    on_all_changed: Callable[[], None] = lambda: None,
) -> Informer[ReplicaSet]:
    return Informer(
        transport,
        REPLICA_SETS,
        None,
        decode_replica_set,
        clock=clock,
        random=Random(7),
        relists=relists,
        outages=outages or Outages(clock),
        on_change=on_change,
        on_all_changed=on_all_changed,
    )


@asynccontextmanager
async def informing(script: Callable[[ScriptedApi], None]) -> AsyncIterator[Stand]:
    clock = ImpatientClock()
    async with scripted_api() as api:
        script(api)
        async with open_transport(ScriptedCredentials(api.server)) as transport, anyio.create_task_group() as tasks:
            told: list[tuple[str, int | None]] = []

            def on_change(key: Key, before: ReplicaSet | None, after: ReplicaSet | None) -> None:
                told.append((key[1], after.replicas if after is not None else None))

            told_unheard: list[bool] = []

            def on_all_changed() -> None:
                told_unheard.append(informer.unheard is not None)

            outages = Outages(clock)
            informer = make_informer(transport, clock, anyio.Semaphore(2), on_change, outages, on_all_changed)
            tasks.start_soon(informer.run)
            yield Stand(api, informer, clock, told, outages, told_unheard)
            tasks.cancel_scope.cancel()


@asynccontextmanager
async def live(*others: Answer) -> AsyncIterator[tuple[Stand, LiveWatch]]:
    """A synced cache with one object in version 1, and a watch that sends what the story says."""
    watch = LiveWatch()

    def script(api: ScriptedApi) -> None:
        api.lists.append(listing("5", replica_set("web", "1")))
        api.watches.append(watch.respond)
        api.others.extend(others)

    async with informing(script) as stand:
        await stand.until(stand.informer.synced.is_set)
        yield stand, watch
