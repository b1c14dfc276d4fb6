"""Where the stories are told: a namespace of a control plane with an application behind one router in it, and a daemon that may
do there what it says itself that it needs, and nothing else.

Both planes are spoken to over HTTP by two kinds of people: the daemon, whose rights are small, and everybody else.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import aiohttp
import anyio
from msgspec.structs import replace

from adapters.kubernetes.access import required_permissions
from adapters.kubernetes.cluster import Cluster
from adapters.kubernetes.permissions import roles_of
from engine.events import Command, CommandKind
from engine.model import FINAL_STATUSES, ConcurrencyPolicy, ReleasePlan, ReleaseStatus, Snapshot, State
from tests.conformance.routers.cases import RouterCase, fresh
from tests.conformance.routers.daemon import Daemon
from tests.conformance.routers.deploy_files import REPLICAS, compiled, read_file
from tests.conformance.routers.readings import Headers
from tests.conformance.routers.recording import Recording
from tests.conformance.routers.view import JsonObject, View, letters
from tests.rollouts.stage import ROUTERS

PATIENCE_SECONDS = 40.0
OURS = "headgate"
COLLECTIONS = {
    "Service": "/api/v1/{}/services",
    "Pod": "/api/v1/{}/pods",
    "Deployment": "/apis/apps/v1/{}/deployments",
    "ReplicaSet": "/apis/apps/v1/{}/replicasets",
    "Ingress": "/apis/networking.k8s.io/v1/{}/ingresses",
    "VirtualService": "/apis/networking.istio.io/v1/{}/virtualservices",
    "DestinationRule": "/apis/networking.istio.io/v1/{}/destinationrules",
    "ServiceProfile": "/apis/linkerd.io/v1alpha2/{}/serviceprofiles",
    "Gateway": "/apis/gateway.networking.k8s.io/v1/{}/gateways",
    "HTTPRoute": "/apis/gateway.networking.k8s.io/v1/{}/httproutes",
    "GRPCRoute": "/apis/gateway.networking.k8s.io/v1/{}/grpcroutes",
    "WeightedRoute": "/apis/sea.example.com/v1/{}/weightedroutes",
}


@dataclass
class Ground:
    case: RouterCase
    namespace: str
    http: aiohttp.ClientSession
    """Everybody else's way to the API server."""
    people: Cluster
    """The same, as Headgate's own code sees a cluster: only to ask which rights a plan needs."""
    restrict: Callable[[Sequence[JsonObject]], Awaitable[None]]
    """Give the daemon these Roles."""
    daemon: Daemon
    recording: Recording
    found: dict[str, JsonObject]
    """The user's objects, to the letter, before the story."""

    async def tend(self) -> None:
        """The daemon runs; one that was killed is started again."""
        if self.daemon.is_gone:
            await self.daemon.end()
            await self.daemon.start()

    # --- the cluster ---------------------------------------------------------------------------------------------------

    def path(self, kind: str, name: str = "") -> str:
        collection = collections_of(self.case, self.namespace)[kind]
        return f"{collection}/{name}" if name else collection

    async def items(self, kind: str) -> list[JsonObject]:
        async with self.http.get(self.path(kind)) as answer:
            assert answer.status == 200, f"{kind}: {await answer.text()}"
            return [{**one, "kind": kind} for one in (await answer.json())["items"]]

    async def get(self, kind: str, name: str = "web") -> JsonObject:
        async with self.http.get(self.path(kind, name)) as answer:
            assert answer.status == 200, f"{kind} {name}: {await answer.text()}"
            found: JsonObject = await answer.json()
            return found

    async def create(self, body: JsonObject) -> None:
        params = {"fieldManager": "kubectl"}
        async with self.http.post(self.path(body["kind"]), json=fresh(body), params=params) as answer:
            assert answer.status == 201, await answer.text()

    async def edit(self, kind: str, name: str, change: Callable[[JsonObject], None]) -> None:
        """As somebody else edits an object, whole; again where a controller was quicker."""
        for _ in range(10):
            body = await self.get(kind, name)
            change(body)
            async with self.http.put(self.path(kind, name), json=body, params={"fieldManager": "somebody"}) as answer:
                if answer.status != 409:
                    assert answer.status == 200, await answer.text()
                    return
        raise AssertionError(f"{kind} {name} is written all the time")

    async def set_ready(self, image: str, count: int, ready: bool) -> None:
        """So many pods of a version are ready from now on, or not any more."""
        pods = [one for one in await self.items("Pod") if one["spec"]["containers"][0]["image"] == image]
        for pod in sorted(pods, key=lambda one: str(one["metadata"]["name"]))[:count]:
            conditions = [
                {**one, "status": str(ready)} if one["type"] in ("Ready", "ContainersReady") else one
                for one in pod["status"]["conditions"]
            ]
            path = f"{self.path('Pod', pod['metadata']['name'])}/status"
            headers = {"Content-Type": "application/merge-patch+json"}
            async with self.http.patch(path, json={"status": {"conditions": conditions}}, headers=headers) as answer:
                assert answer.status == 200, await answer.text()

    async def view(self) -> View:
        bodies = [one for kind in collections_of(self.case, self.namespace) for one in await self.items(kind)]
        return View({(one["kind"], one["metadata"]["name"]): one for one in bodies})

    async def shares(self, headers: Headers | None = None) -> list[Fraction]:
        """What the new version gets of such requests, at each place that divides them."""
        view = await self.view()
        return [view.share(ways) for ways in self.case.read(view, headers or {})]

    # --- what is asked -------------------------------------------------------------------------------------------------

    def plan(self, steps: Sequence[JsonObject], *, image: str = "web:2", **config: Any) -> ReleasePlan:
        return compiled(read_file(self.case, steps, namespace=self.namespace, image=image, config=config))

    async def submit(
        self, plan: ReleasePlan, concurrency: ConcurrencyPolicy = ConcurrencyPolicy.REJECT
    ) -> str:
        needed = [one for target in plan.targets for one in await required_permissions(self.people, target, ROUTERS)]
        await self.restrict(roles_of(needed, OURS))
        engine = self.daemon.engine
        release = await engine.submit(replace(plan, concurrency=concurrency), by="a test", source="test")
        return release.id

    async def order(self, kind: CommandKind, release: str = "r1") -> None:
        await self.daemon.engine.command(release, Command(kind, by="ada"))

    # --- what comes of it ----------------------------------------------------------------------------------------------

    def at(self, release: str = "r1") -> Snapshot:
        return self.daemon.journal.snapshots[f"{release}.production"]

    def story(self, release: str = "r1") -> str:
        entries = self.daemon.journal.entries.get(f"{release}.production", [])
        return "\n".join(f"{one.seq} {one.event}: {one.destination}: {one.text}" for one in entries)

    async def until(self, holds: Callable[[], Awaitable[bool] | bool], what: str, within: float = PATIENCE_SECONDS) -> None:
        """Woken by every commit and, as nothing tells of the cluster here, every few milliseconds."""
        with anyio.move_on_after(within):
            while True:
                await self.tend()
                found = holds()
                if found if isinstance(found, bool) else await found:
                    return
                with anyio.move_on_after(0.03):
                    await self.daemon.journal.changed.wait()
        raise AssertionError(f"not within {within:g} s: {what}\n{self.story()}\n{self.story('r2')}")

    async def until_gate(self, number: int) -> Snapshot:
        """The rollout waits for its approval with this number, from 1 on."""

        def is_there() -> bool:
            if "r1.production" not in self.daemon.journal.snapshots:
                return False
            at = self.at()
            assert at.state not in (State.ABORTING, State.FAILED, State.REJECTED, State.PARKED), at.reason
            waited = sum(one.destination is State.APPROVING and one.source is not State.APPROVING for one in self.entries())
            return at.state is State.APPROVING and waited == number

        await self.until(is_there, f"approval {number}")
        return self.at()

    def entries(self) -> Sequence[Any]:
        return self.daemon.journal.entries["r1.production"]

    async def until_ended(self, release: str = "r1") -> ReleaseStatus:
        async def is_over() -> bool:
            found = await self.daemon.store.release(release)
            return found is not None and found.status in FINAL_STATUSES

        await self.until(is_over, f"the end of {release}")
        found = await self.daemon.store.release(release)
        assert found is not None
        return found.status

    async def belongings(self) -> dict[str, JsonObject]:
        """The user's Services and traffic objects, to the letter, and whatever else of these kinds is there."""
        kinds = ("Service", *self.case.kinds)
        bodies = [one for kind in kinds for one in await self.items(kind)]
        return {f"{one['kind']}/{one['metadata']['name']}": letters(one) for one in bodies}

    async def judge(self) -> None:
        """Look at every change that was made, once all of them are known."""
        for kind in collections_of(self.case, self.namespace):
            last = max((int(one["metadata"]["resourceVersion"]) for one in await self.items(kind)), default=0)
            with anyio.fail_after(20):
                while self.recording.last(kind) < last:
                    await anyio.sleep(0.02)
        self.recording.check()

    async def expect_as_found(self) -> None:
        """Every object is as it was before, and nothing of Headgate is left in any."""
        assert await self.belongings() == self.found, self.story()
        for kind in ("Service", "Deployment", *self.case.kinds):
            for one in await self.items(kind):
                assert OURS not in str(one["metadata"].get("labels")), one["metadata"]
                assert OURS not in str(one["metadata"].get("annotations")), one["metadata"]
                managers = {entry["manager"] for entry in one["metadata"]["managedFields"]}
                assert kind == "Deployment" or OURS not in managers, one["metadata"]

    async def expect_version(self, image: str) -> None:
        """All pods are of this version, and there are as many as there were."""

        async def is_alone() -> bool:
            pods = [one for one in await self.items("Pod") if not one["metadata"].get("deletionTimestamp")]
            return [one["spec"]["containers"][0]["image"] for one in pods] == [image] * REPLICAS

        await self.until(is_alone, f"{REPLICAS} pods of {image}")
        body = await self.get("Deployment")
        assert body["spec"]["template"]["spec"]["containers"][0]["image"] == image
        assert not body["spec"].get("paused")


def collections_of(case: RouterCase, namespace: str) -> dict[str, str]:
    """Where the kinds are that the case is about, by kind."""
    split = f"/apis/split.smi-spec.io/{case.split_versions[-1]}/{{}}/trafficsplits"
    traefik = f"/apis/{case.traefik_group}/v1alpha1/{{}}/traefikservices"
    known = {**COLLECTIONS, "TrafficSplit": split, "TraefikService": traefik}
    kinds = ("Service", "Pod", "Deployment", "ReplicaSet", *case.kinds)
    return {kind: known[kind].format(f"namespaces/{namespace}") for kind in kinds}


async def go_live(ground: Ground, objects: Sequence[JsonObject]) -> None:
    """The application as it runs before the story begins, and its objects."""
    for body in objects:
        await ground.create(body)

    async def is_live() -> bool:
        found = await ground.get("Deployment")
        status = found.get("status", {})
        counts = [status.get(count) for count in ("replicas", "updatedReplicas", "availableReplicas")]
        return bool(status.get("observedGeneration") == found["metadata"]["generation"] and counts == [REPLICAS] * 3)

    async def is_ready() -> bool:
        return all(share == 0 for share in await ground.shares())

    await ground.until(is_live, "the application is live")
    await ground.until(is_ready, "requests meet the application")
    view = await ground.view()
    ground.recording.begins = max(int(one["metadata"]["resourceVersion"]) for one in view.objects.values())
    ground.found = await ground.belongings()
