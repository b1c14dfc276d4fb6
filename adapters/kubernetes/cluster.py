"""One cluster account: its requests, its shared caches, and the tie between them.

Every write goes through here, so that its new version is expected by the cache of that kind (`adapters.kubernetes.informer`).
There is one watch per kind and scope, whatever the number of rollouts; a change finds its rollouts through the bus.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from enum import StrEnum
from random import Random
from typing import Any, TypeAlias

import anyio
import anyio.abc
import msgspec
import structlog

from adapters.kubernetes import health, wire
from adapters.kubernetes.errors import ApiError, Conflict, NamespaceGone, NotFound, NotServed
from adapters.kubernetes.informer import Informer
from adapters.kubernetes.outages import Outages
from adapters.kubernetes.paths import DEPLOYMENTS, PODS, REPLICA_SETS, ResourceRef
from adapters.kubernetes.templates import MANAGER, JsonObject, returned_fields
from adapters.kubernetes.transport import Transport
from engine.bus import Bus
from engine.clock import Clock

log = structlog.get_logger()

ObjectKey: TypeAlias = tuple[str, str, str, str]
"""(account, resource, namespace, name): the name of an object on the bus."""

_DECODERS: dict[ResourceRef, Callable[[msgspec.Raw], Any]] = {
    DEPLOYMENTS: wire.decode_deployment,
    REPLICA_SETS: wire.decode_replica_set,
    PODS: wire.decode_pod,
    **{resource: health.decoder_of(resource) for resource in health.RESOURCES},
}
_RELISTS_AT_ONCE = 2
_SINGLY_SECONDS = (3.0, 6.0)
"""Between two reads of one object of whose kind nothing is heard."""
_SOON_SECONDS = (0.5, 1.0)
"""After one that came to nothing because a list is under way: lists that hang leave but short times between them."""
_OF_ONE_OBJECT = frozenset({"uid", "creationTimestamp", "generation", "selfLink"})
"""What an object has from the server, and another one of its name has not."""


class WatchScope(StrEnum):
    CLUSTER = "cluster"
    """One watch per kind for all namespaces: needs rights in all of them."""
    NAMESPACE = "namespace"
    """One watch per kind and namespace that a rollout is in."""


class Cluster:
    """Made by `open_cluster`."""

    def __init__(
        self,
        account: str,
        transport: Transport,
        bus: Bus,
        *,
        clock: Clock,
        random: Random,
        scope: WatchScope,
        tasks: anyio.abc.TaskGroup,
        behind_seconds: float = 0.0,
    ) -> None:
        self.account = account
        self.transport = transport
        self._bus = bus
        self.clock = clock
        self._random = random
        self.scope = scope
        self._outages = Outages(clock, behind_seconds)
        self._tasks = tasks
        self._informers: dict[tuple[ResourceRef, str | None], Informer[Any]] = {}
        self._by_full_name: dict[tuple[str, str | None], Informer[Any]] = {}
        self._relists = anyio.Semaphore(_RELISTS_AT_ONCE)
        self._pods_by_owner: dict[wire.Key, dict[wire.Key, wire.Pod]] = {}
        self._served: dict[str, dict[str, ResourceRef]] = {}
        self._also_called: dict[ResourceRef, Callable[[str], str]] = {}
        self._by_other_name: dict[tuple[ResourceRef, str, str], set[str]] = {}
        self._read_singly: set[ObjectKey] = set()

    # --- requests ------------------------------------------------------------------------------------------------------

    async def get(self, resource: ResourceRef, namespace: str | None, name: str) -> JsonObject:
        """The object as it is. Where its kind is watched it is not current until the watch has come as far: who finds it as it is
        to be, because somebody else was faster, must not be judged by what it was before."""
        what = f"GET {resource.full_name} {_place(namespace, name)}"
        found = await self.transport.request("GET", resource.item(namespace, name), what=what)
        self._expect(resource, found)
        return found

    async def find(self, resource: ResourceRef, namespace: str | None, name: str) -> JsonObject | None:
        try:
            return await self.get(resource, namespace, name)
        except NotFound:
            return None

    async def list_objects(self, resource: ResourceRef, namespace: str | None, *, labels: str = "") -> list[JsonObject]:
        """All objects of one kind (with `labels`, a selector, those that it selects), as items of lists come: without their own
        kind and apiVersion."""
        what = f"LIST {resource.full_name} in {namespace or 'all namespaces'}"
        items: list[JsonObject] = []
        query = {"limit": "500"} | ({"labelSelector": labels} if labels else {})
        while True:
            answer = await self.transport.request("GET", resource.collection(namespace), what=what, query=query)
            items.extend(answer.get("items") or [])
            token = answer.get("metadata", {}).get("continue")
            if not token:
                return items
            query["continue"] = token

    async def read_log(self, pod: JsonObject, container: str, *, lines: int, keep: Callable[[bytes], None]) -> None:
        """The last lines that the container has printed, handed to `keep` piece by piece."""
        metadata = pod["metadata"]
        path = f"{PODS.item(metadata['namespace'], metadata['name'])}/log"
        query = {"container": container, "tailLines": str(lines)}
        what = f"LOG {_place(metadata['namespace'], metadata['name'])} {container}"
        async with self.transport.open_text(path, what=what, query=query) as chunks:
            async for chunk in chunks:
                keep(chunk)

    async def create(self, resource: ResourceRef, body: JsonObject, *, dry_run: bool = False) -> JsonObject:
        metadata = body["metadata"]
        query = {"fieldManager": MANAGER} | ({"dryRun": "All"} if dry_run else {})
        what = f"CREATE {resource.full_name} {_place(metadata.get('namespace'), metadata['name'])}"
        path = resource.collection(metadata.get("namespace"))
        made = await self.transport.request("POST", path, what=what, query=query, body=body)
        if not dry_run:
            self._expect(resource, made)
        return made

    async def apply(self, resource: ResourceRef, body: JsonObject, *, dry_run: bool = False) -> JsonObject:
        """Server-side apply: the object as declared, our field manager owning what it says. Forced: the file decides."""
        metadata = body["metadata"]
        what = f"APPLY {resource.full_name} {_place(metadata.get('namespace'), metadata['name'])}"
        made = await self.transport.request(
            "PATCH",
            resource.item(metadata.get("namespace"), metadata["name"]),
            what=what,
            query={"fieldManager": MANAGER, "force": "true"} | ({"dryRun": "All"} if dry_run else {}),
            body=body,
            content_type="application/apply-patch+yaml",
        )
        if not dry_run:
            self._expect(resource, made)
        return made

    async def patch(
        self, resource: ResourceRef, found: JsonObject, changes: list[JsonObject], *, dry_run: bool = False
    ) -> JsonObject:
        """Change the object that was found, and no other version of it: `Conflict` where it has moved on, or is gone by now."""
        metadata = found["metadata"]
        version = {"op": "replace", "path": "/metadata/resourceVersion", "value": metadata["resourceVersion"]}
        try:
            made = await self.transport.request(
                "PATCH",
                resource.item(metadata.get("namespace"), metadata["name"]),
                what=f"PATCH {resource.full_name} {_place(metadata.get('namespace'), metadata['name'])}",
                query={"fieldManager": MANAGER} | ({"dryRun": "All"} if dry_run else {}),
                body=[version, *changes],
                content_type="application/json-patch+json",
            )
        except NamespaceGone:
            raise
        except NotFound as error:
            raise Conflict(error.what, "it was removed since it was looked at") from error
        if not dry_run:
            self._expect(resource, made)
        return made

    async def restore(self, resource: ResourceRef, found: JsonObject, original: JsonObject) -> JsonObject:
        """Put the whole object back as it was when it was first seen, and give its fields back to who owned them."""
        metadata = found["metadata"]
        # What has come to the managers since is not to be written over with this: it is returned leaf by leaf, or not at all.
        kept = {key: value for key, value in original["metadata"].items() if key != "managedFields"}
        if kept.get("uid") != metadata["uid"]:  # Somebody has made it anew, and it is no longer the object that was found.
            kept = {key: value for key, value in kept.items() if key not in _OF_ONE_OBJECT}
        body = {**original, "metadata": {**kept, "resourceVersion": metadata["resourceVersion"]}}
        body.pop("status", None)
        what = f"PUT {resource.full_name} {_place(metadata.get('namespace'), metadata['name'])}"
        path = resource.item(metadata.get("namespace"), metadata["name"])
        made = await self.transport.request("PUT", path, what=what, query={"fieldManager": MANAGER}, body=body)
        self._expect(resource, made)
        return await self.return_fields(resource, made, original)

    async def return_fields(self, resource: ResourceRef, found: JsonObject, original: JsonObject) -> JsonObject:
        """Give the fields of an object that is as it was to who owned them then; none are left where there were none."""
        owners = returned_fields(found, original)
        if owners == (found["metadata"].get("managedFields") or []):
            return found
        return await self.patch(resource, found, [{"op": "add", "path": "/metadata/managedFields", "value": owners}])

    async def delete(self, resource: ResourceRef, found: JsonObject) -> None:
        """Delete exactly the object that was found; another one of its name is left alone. Its own objects follow."""
        metadata = found["metadata"]
        options = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "propagationPolicy": "Background",
            "preconditions": {"uid": metadata["uid"]},
        }
        what = f"DELETE {resource.full_name} {_place(metadata.get('namespace'), metadata['name'])}"
        path = resource.item(metadata.get("namespace"), metadata["name"])
        try:
            await self.transport.request("DELETE", path, what=what, body=options)
        except NotFound:
            return
        key, uid = (metadata.get("namespace", ""), metadata["name"]), metadata["uid"]
        informer = self._informer_of(resource, key[0])
        if informer is not None and informer.expect_gone(key, uid):
            self._tasks.start_soon(informer.dispel_doubt, key, uid, name=f"doubt {informer.what}")

    async def resource_of(self, api_version: str, kind: str) -> ResourceRef:
        """Where objects of this kind live. Raises `NotServed`."""
        for fresh in (False, True):
            if fresh or api_version not in self._served:
                self._served[api_version] = await self._discover(api_version)
            if (found := self._served[api_version].get(kind)) is not None:
                return found
        raise NotServed(
            f"discovery of {api_version}", f"the cluster serves no {kind}; apply its CustomResourceDefinition first"
        )

    async def _discover(self, api_version: str) -> dict[str, ResourceRef]:
        group, _, version = api_version.rpartition("/")
        path = f"/apis/{api_version}" if group else f"/api/{version}"
        try:
            answer = await self.transport.request("GET", path, what=f"discovery of {api_version}")
        except NotFound:
            return {}
        return {
            entry["kind"]: ResourceRef(group, version, entry["name"], entry["kind"], bool(entry["namespaced"]))
            for entry in answer["resources"]
            if "/" not in entry["name"]
        }

    async def served_versions(self, group: str) -> list[str]:
        """The versions of an API group that the cluster serves; none where it does not know the group."""
        try:
            answer = await self.transport.request("GET", f"/apis/{group}", what=f"discovery of {group}")
        except NotFound:
            return []
        return [entry["version"] for entry in answer["versions"]]

    # --- caches --------------------------------------------------------------------------------------------------------

    def watch(
        self, resource: ResourceRef, namespace: str, *, also_called: Callable[[str], str] | None = None
    ) -> Informer[Any]:
        """The shared cache of this kind for this namespace, started when it is first asked for. `also_called`: another name of
        its objects, made of their own, by which they are found and whose key is told of their changes too: for kinds whose names
        are not known to the letter. The same at each call."""
        if also_called is not None:
            self._also_called.setdefault(resource, also_called)
        scope = self._scope_of(namespace)
        informer = self._informers.get((resource, scope))
        if informer is None:

            def on_change(key: wire.Key, before: wire.Item | None, after: wire.Item | None) -> None:
                self._on_change(resource, key, before, after)

            informer = Informer(
                self.transport,
                resource,
                scope,
                _DECODERS.get(resource, wire.decode_raw),
                clock=self.clock,
                random=self._random,
                relists=self._relists,
                outages=self._outages,
                on_change=on_change,
                on_all_changed=self._bus.publish_to_all,
            )
            self._informers[resource, scope] = self._by_full_name[resource.full_name, scope] = informer
            self._tasks.start_soon(informer.run, name=f"informer {informer.what}")
        return informer

    async def look_again(self, resource: ResourceRef, namespace: str, name: str) -> None:
        """Read one object into its cache, ahead of a watch that is behind."""
        informer = self._informer_of(resource, namespace)
        if informer is not None:
            await informer.refresh((namespace, name))

    @property
    def informers(self) -> Iterable[Informer[Any]]:
        return self._informers.values()

    @property
    def behind_seconds(self) -> float:
        """For how long from now others who watch this API server may be behind, because it was away; 0 when they are not."""
        return self._outages.behind_seconds

    def key(self, resource: ResourceRef, namespace: str, name: str) -> ObjectKey:
        return (self.account, resource.full_name, namespace, name)

    def is_current(self, keys: Iterable[ObjectKey]) -> bool:
        """Whether the caches of these objects are complete and have delivered our own writes."""
        for _, resource, namespace, name in keys:
            informer = self._by_full_name.get((resource, self._scope_of(namespace)))
            if informer is None or not informer.is_current((namespace, name)):
                return False
        return True

    def unheard(self, keys: Iterable[ObjectKey]) -> str:
        """What is not heard of any more among what these objects are known by, since when, and why; empty when all is. A
        ReplicaSet is known by its pods too."""
        kinds = {(resource, namespace) for _, resource, namespace, _ in keys}
        kinds |= {(PODS.full_name, namespace) for resource, namespace in kinds if resource == REPLICA_SETS.full_name}
        for resource, namespace in sorted(kinds):
            informer = self._by_full_name.get((resource, self._scope_of(namespace)))
            if informer is not None and (lost := informer.unheard) is not None:
                return f"{informer.what} of account {self.account} since {lost.since:%Y-%m-%dT%H:%M:%SZ}: {lost.says}"
        return ""

    def read_singly(self, keys: Iterable[ObjectKey]) -> None:
        """Have those of these objects read by themselves, over and over, of whose kinds nothing is heard: until something is, or
        nobody is told of them any more. An object that is known by another name is taken for not there."""
        for key in keys:
            _, resource, namespace, _ = key
            informer = self._by_full_name.get((resource, self._scope_of(namespace)))
            if informer is not None and informer.is_lost and key not in self._read_singly:
                self._read_singly.add(key)
                self._tasks.start_soon(self._keep_reading, informer, key, name=f"reading {key[3]}")

    async def _keep_reading(self, informer: Informer[Any], key: ObjectKey) -> None:
        own = key[2:]
        try:
            while informer.is_lost and self._bus.is_awaited(key):
                between = _SINGLY_SECONDS
                try:
                    if not await informer.read_singly(own):
                        between = _SOON_SECONDS
                except ApiError as error:
                    log.warning("cluster.unreadable", what=informer.what, name=own[1], error=str(error))
                await self.clock.sleep(self._random.uniform(*between))
        finally:
            informer.forget_single(own)
            self._read_singly.discard(key)

    def cached_deployment(self, namespace: str, name: str) -> wire.Deployment | None:
        found: wire.Deployment | None = self.watch(DEPLOYMENTS, namespace).items.get((namespace, name))
        return found

    def cached_replica_set(self, namespace: str, name: str) -> wire.ReplicaSet | None:
        found: wire.ReplicaSet | None = self.watch(REPLICA_SETS, namespace).items.get((namespace, name))
        return found

    def cached_pods(self, namespace: str, replica_set: str) -> list[wire.Pod]:
        return list(self._pods_by_owner.get((namespace, replica_set), {}).values())

    def cached_health(self, resource: ResourceRef, namespace: str, name: str) -> health.Health | None:
        found: health.Supporting | None = self.watch(resource, namespace).items.get((namespace, name))
        return found.health if found is not None else None

    def cached_object(self, resource: ResourceRef, namespace: str, name: str) -> JsonObject | None:
        found: wire.RawItem | None = self.watch(resource, namespace).items.get((namespace, name))
        return found.content if found is not None else None

    def cached_by_other_name(self, resource: ResourceRef, namespace: str, name: str) -> list[JsonObject]:
        """The objects that are also called this, in the order of their own names."""
        own = sorted(self._by_other_name.get((resource, namespace, name), ()))
        found = [self.cached_object(resource, namespace, one) for one in own]
        return [one for one in found if one is not None]

    # --- the tie -------------------------------------------------------------------------------------------------------

    def _expect(self, resource: ResourceRef, made: JsonObject) -> None:
        metadata = made["metadata"]
        key, version = (metadata.get("namespace", ""), metadata["name"]), metadata["resourceVersion"]
        informer = self._informer_of(resource, key[0])
        if informer is not None and informer.expect(key, version):
            self._tasks.start_soon(informer.dispel_doubt, key, version, name=f"doubt {informer.what}")

    def _informer_of(self, resource: ResourceRef, namespace: str) -> Informer[Any] | None:
        return self._informers.get((resource, self._scope_of(namespace)))

    def _scope_of(self, namespace: str) -> str | None:
        """The namespace of the cache that an object in this one is in; None for that of all namespaces."""
        return namespace if self.scope is WatchScope.NAMESPACE else None

    def _on_change(
        self, resource: ResourceRef, key: wire.Key, before: wire.Item | None, after: wire.Item | None
    ) -> None:
        if resource != PODS:
            self._bus.publish(self.key(resource, *key))
            if (call := self._also_called.get(resource)) is not None:
                self._index_other_name(resource, key, call(key[1]), is_there=after is not None)
            return
        self._index_pod(before, after)
        for pod in (before, after):
            if isinstance(pod, wire.Pod):
                self._bus.publish(self.key(REPLICA_SETS, key[0], pod.owner_name))

    def _index_other_name(self, resource: ResourceRef, key: wire.Key, name: str, *, is_there: bool) -> None:
        place = (resource, key[0], name)
        names = self._by_other_name.setdefault(place, set())
        if is_there:
            names.add(key[1])
        else:
            names.discard(key[1])
        if not names:
            del self._by_other_name[place]
        self._bus.publish(self.key(resource, key[0], name))

    def _index_pod(self, before: wire.Item | None, after: wire.Item | None) -> None:
        if isinstance(before, wire.Pod):
            pods = self._pods_by_owner.get((before.key[0], before.owner_name), {})
            pods.pop(before.key, None)
            if not pods:
                self._pods_by_owner.pop((before.key[0], before.owner_name), None)
        if isinstance(after, wire.Pod):
            self._pods_by_owner.setdefault((after.key[0], after.owner_name), {})[after.key] = after


def _place(namespace: str | None, name: str) -> str:
    return f"{namespace}/{name}" if namespace else name


@asynccontextmanager
async def open_cluster(
    account: str,
    transport: Transport,
    bus: Bus,
    *,
    clock: Clock,
    random: Random,
    scope: WatchScope = WatchScope.CLUSTER,
    behind_seconds: float = 0.0,
) -> AsyncIterator[Cluster]:
    """A cluster whose watches run until the block ends. `behind_seconds`: for how long others may be behind its API server,
    because of what was before."""
    async with anyio.create_task_group() as tasks:
        try:
            yield Cluster(
                account,
                transport,
                bus,
                clock=clock,
                random=random,
                scope=scope,
                tasks=tasks,
                behind_seconds=behind_seconds,
            )
        finally:
            tasks.cancel_scope.cancel()
