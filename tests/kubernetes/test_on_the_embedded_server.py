"""Transport, caches and cluster against a whole API server that is made to misbehave."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import count
from random import Random

import anyio
import pytest

from adapters.embedded.errors import Forbidden, ServiceUnavailable
from adapters.embedded.faults import Match
from adapters.embedded.resources import DEPLOYMENTS as STORED_DEPLOYMENTS
from adapters.embedded.resources import NAMESPACES
from adapters.embedded.server import BOOKMARK_SECONDS, ApiServer
from adapters.embedded.storage import Storage
from adapters.kubernetes import errors
from adapters.kubernetes.cluster import Cluster, open_cluster
from adapters.kubernetes.credentials import load_kubeconfig_content
from adapters.kubernetes.informer import MOST_SILENT_SECONDS, WATCH_SECONDS, Informer
from adapters.kubernetes.paths import DEPLOYMENTS
from adapters.kubernetes.transport import open_transport
from adapters.kubernetes.wire import Deployment, Key
from engine.bus import Bus
from tests.builders import deployment
from tests.clocks import SkippingClock
from tests.kubernetes.scripted_api import ImpatientClock

WEB: Key = ("shop", "web")


@dataclass
class Stand:
    server: ApiServer
    cluster: Cluster
    informer: Informer[Deployment]

    async def until(self, condition: Callable[[], bool]) -> None:
        with anyio.fail_after(10):
            while not condition():
                await anyio.sleep(0.005)

    async def until_heard(self) -> None:
        """The watch has said something."""
        silent = self.informer.health.silent_seconds
        await self.until(lambda: self.informer.health.silent_seconds < silent)

    @property
    def replicas(self) -> int | None:
        found = self.informer.items.get(WEB)
        return found.replicas if found is not None else None

    def scale_by_somebody_else(self, replicas: int) -> None:
        body = self.server.storage.get(STORED_DEPLOYMENTS, *WEB)
        body["spec"]["replicas"] = replicas
        self.server.storage.update(STORED_DEPLOYMENTS, body)

    async def scale(self, replicas: int) -> None:
        found = await self.cluster.get(DEPLOYMENTS, *WEB)
        await self.cluster.patch(DEPLOYMENTS, found, [{"op": "replace", "path": "/spec/replicas", "value": replicas}])

    def count(self, verb: str) -> int:
        return self.server.audit.counts[verb, "deployments.apps"]


@asynccontextmanager
async def stand(
    *others: str, clock: ImpatientClock | SkippingClock | None = None, bookmark_seconds: float = BOOKMARK_SECONDS
) -> AsyncIterator[Stand]:
    numbers, clock = count(1), clock or ImpatientClock()
    storage = Storage(clock.now, lambda: f"uid-{next(numbers)}")
    storage.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}})
    for name in ("web", *others):
        storage.create(STORED_DEPLOYMENTS, deployment(name))
    async with (
        ApiServer(storage, token="secret", bookmark_seconds=bookmark_seconds) as server,
        open_transport(await load_kubeconfig_content(server.kubeconfig())) as transport,
        open_cluster("embedded", transport, Bus(), clock=clock, random=Random(1)) as cluster,
    ):
        informer: Informer[Deployment] = cluster.watch(DEPLOYMENTS, "shop")
        told = Stand(server, cluster, informer)
        with anyio.fail_after(10):
            await informer.synced.wait()
        await told.until(lambda: server.audit.open_watches.total() > 0)
        yield told


async def test_what_others_and_we_do_arrives_and_our_own_writes_are_waited_for() -> None:
    async with stand() as told:
        told.scale_by_somebody_else(5)
        await told.until(lambda: told.replicas == 5)
        for replicas in (6, 7, 8):
            await told.scale(replicas)
            await told.until(lambda: told.informer.is_current(WEB))
            assert told.replicas == replicas


async def test_what_was_read_is_waited_for_as_what_was_written_is() -> None:
    """Whoever finds that somebody was faster has written nothing, and knows more than the watch."""
    async with stand() as told:
        told.server.faults.answer(Match(verb="watch"), ServiceUnavailable("busy"), times=10_000)
        told.server.faults.cut_watches()
        await told.until(lambda: told.server.audit.open_watches.total() == 0)
        before = told.replicas
        told.scale_by_somebody_else(5)
        assert (told.informer.is_current(WEB), told.replicas) == (True, before)
        await told.cluster.get(DEPLOYMENTS, *WEB)
        assert not told.informer.is_current(WEB)
        told.server.faults.clear()
        await told.until(lambda: told.informer.is_current(WEB))
        assert told.replicas == 5


async def test_long_lists_come_in_pages() -> None:
    async with stand(*(f"app-{number}" for number in range(1_100))) as told:
        assert len(told.informer.items) == 1_101
        assert told.count("list") == 3


@pytest.mark.parametrize("inside_line", [True, False])
async def test_a_cut_watch_goes_on_where_it_was(inside_line: bool) -> None:
    async with stand() as told:
        told.server.faults.cut_watches(Match(), inside_line=inside_line)
        told.scale_by_somebody_else(5)
        await told.until(lambda: told.replicas == 5)
        assert told.count("list") == 1


async def test_a_watch_that_has_shown_bookmarks_and_falls_silent_is_left_after_some_minutes() -> None:
    """Its connection is whole: what ends TCP on the way answers for a far side that is gone."""
    clock = SkippingClock()
    async with stand(clock=clock, bookmark_seconds=0.05) as told:
        await told.until_heard()
        assert told.server.faults.silence_watches() == 1
        told.scale_by_somebody_else(5)
        clock.skip(MOST_SILENT_SECONDS - 20)
        await told.cluster.list_objects(DEPLOYMENTS, "shop")
        assert (told.informer.watches, told.replicas) == (1, 3)
        clock.skip(20)
        await told.until(lambda: told.replicas == 5)
        assert told.informer.watches == 2
        assert told.informer.unheard is None


async def test_a_watch_without_bookmarks_may_be_silent_for_as_long_as_it_lasts() -> None:
    clock = SkippingClock()
    async with stand(clock=clock) as told:
        clock.skip(WATCH_SECONDS[0])
        told.scale_by_somebody_else(5)
        await told.until(lambda: told.replicas == 5)
        assert told.informer.watches == 1


async def test_a_quiet_kind_is_heard_of_by_its_bookmarks() -> None:
    clock = SkippingClock()
    async with stand(clock=clock, bookmark_seconds=0.01) as told:
        for _ in range(8):
            await told.until_heard()
            clock.skip(60)
        await told.until_heard()
        assert (told.informer.watches, told.informer.trouble) == (1, "")


async def test_forgotten_history_is_made_up_for_by_a_list() -> None:
    async with stand("gone") as told:
        told.server.faults.expire_watches(Match(resource="deployments"))
        told.server.faults.cut_watches()
        told.server.storage.delete(STORED_DEPLOYMENTS, "shop", "gone")
        told.scale_by_somebody_else(5)
        await told.until(lambda: told.replicas == 5 and ("shop", "gone") not in told.informer.items)


async def test_a_write_whose_answer_is_lost_may_have_been_done_and_shows_in_the_cache() -> None:
    async with stand() as told:
        told.server.faults.cut(Match(verb="patch"), after_effect=True)
        with pytest.raises(errors.Unreachable) as caught:
            await told.scale(9)
        assert caught.value.maybe_applied
        await told.until(lambda: told.replicas == 9)


async def test_what_somebody_else_has_written_since_it_was_read_is_not_written_over() -> None:
    async with stand() as told:
        found = await told.cluster.get(DEPLOYMENTS, *WEB)
        told.scale_by_somebody_else(5)
        with pytest.raises(errors.Conflict):
            await told.cluster.patch(DEPLOYMENTS, found, [{"op": "add", "path": "/spec/paused", "value": True}])
        with pytest.raises(errors.Conflict):
            await told.cluster.restore(DEPLOYMENTS, found, found)
        spec = (await told.cluster.get(DEPLOYMENTS, *WEB))["spec"]
        assert (spec["replicas"], spec.get("paused")) == (5, None)


async def test_another_object_of_the_name_is_neither_changed_nor_deleted() -> None:
    async with stand() as told:
        found = await told.cluster.get(DEPLOYMENTS, *WEB)
        told.server.storage.delete(STORED_DEPLOYMENTS, *WEB)
        with pytest.raises(errors.Conflict, match="removed since it was looked at"):
            await told.cluster.patch(DEPLOYMENTS, found, [{"op": "add", "path": "/spec/paused", "value": True}])
        anew = told.server.storage.create(STORED_DEPLOYMENTS, deployment("web"))
        with pytest.raises(errors.Conflict):
            await told.cluster.delete(DEPLOYMENTS, found)
        assert (await told.cluster.get(DEPLOYMENTS, *WEB))["metadata"]["uid"] == anew["metadata"]["uid"]


async def test_what_the_account_may_not_do_is_said_with_verb_resource_and_namespace() -> None:
    async with stand() as told:
        said = (
            'deployments.apps "web" is forbidden: User "u" cannot patch resource "deployments" in the namespace "shop"'
        )
        told.server.faults.answer(Match(verb="patch"), Forbidden(said))
        with pytest.raises(errors.Forbidden, match='cannot patch resource "deployments" in the namespace "shop"'):
            await told.scale(9)


async def test_a_wrong_token_is_refused() -> None:
    async with stand() as told:
        content = told.server.kubeconfig()
        content["users"][0]["user"]["token"] = "wrong"
        async with open_transport(await load_kubeconfig_content(content)) as transport:
            with pytest.raises(errors.Unauthorized):
                await transport.request("GET", DEPLOYMENTS.item(*WEB), what="GET deployments.apps shop/web")


async def test_what_is_not_served_is_known_to_be_not_served() -> None:
    async with stand() as told:
        assert await told.cluster.served_versions("apps") == ["v1"]
        assert await told.cluster.served_versions("split.smi-spec.io") == []
        with pytest.raises(errors.NotServed, match="TrafficSplit"):
            await told.cluster.resource_of("split.smi-spec.io/v1alpha4", "TrafficSplit")
