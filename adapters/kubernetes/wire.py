"""Lean pictures of Kubernetes objects: only what a rollout looks at, decoded straight from the bytes of a list or a
watch.

The caches hold these instead of whole objects: for 5,000 pods that is 18 MB and milliseconds against 290 MB and seconds
of typed client models (measured). Whole objects are read raw, and only where we edit them.
"""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any, Protocol, TypeAlias

import msgspec
from msgspec import Struct, field

from adapters.kubernetes.templates import REVISION_ANNOTATION, ROLLOUT_ANNOTATION, digest

Key: TypeAlias = tuple[str, str]
"""(namespace, name)."""


class Item(Protocol):
    """What a cache needs to know of anything that it holds."""

    @property
    def key(self) -> Key: ...

    @property
    def uid(self) -> str: ...

    @property
    def resource_version(self) -> str: ...


class _Owner(Struct, frozen=True, gc=False):
    kind: str
    name: str
    uid: str
    controller: bool = False


class _Metadata(Struct, frozen=True, rename="camel", gc=False):
    name: str
    uid: str = ""
    resource_version: str = ""
    namespace: str = ""
    generation: int = 0
    deletion_timestamp: str | None = None
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None
    owner_references: list[_Owner] | None = None

    @property
    def controller(self) -> _Owner | None:
        return next((owner for owner in self.owner_references or () if owner.controller), None)


class _WorkloadSpec(Struct, frozen=True, gc=False):
    template: msgspec.Raw
    replicas: int = 1
    paused: bool = False


class _WorkloadStatus(Struct, frozen=True, rename="camel", gc=False):
    observed_generation: int = 0
    replicas: int = 0
    updated_replicas: int = 0
    available_replicas: int = 0


class _Workload(Struct, frozen=True, gc=False):
    metadata: _Metadata
    spec: _WorkloadSpec
    status: _WorkloadStatus = field(default_factory=_WorkloadStatus)


class Deployment(Struct, frozen=True, gc=False):
    key: Key
    uid: str
    resource_version: str
    is_observed: bool
    """Its controller has seen the latest change of the specification."""
    replicas: int
    paused: bool
    template_digest: str
    revision: str
    current: int
    updated: int
    available: int


class ReplicaSet(Struct, frozen=True, gc=False):
    key: Key
    uid: str
    resource_version: str
    replicas: int
    current: int
    available: int
    owner_uid: str
    owner_name: str
    revision: str
    rollout: str
    """The rollout that made it, if one did."""


class Pod(Struct, frozen=True, gc=False):
    key: Key
    uid: str
    resource_version: str
    owner_name: str
    trouble: str
    """Why it is not ready, where its status says so."""
    is_leaving: bool
    """It is being deleted, and not ready any more: nobody is sent to it. It may stay so for days, where its node is gone."""

    @property
    def name(self) -> str:
        return self.key[1]


class RawItem(Struct, frozen=True):
    """Any other object, whole."""

    key: Key
    uid: str
    resource_version: str
    content: dict[str, Any]


def decode_deployment(data: bytes | msgspec.Raw) -> Deployment:
    found = _WORKLOAD.decode(data)
    metadata, status = found.metadata, found.status
    return Deployment(
        key=(metadata.namespace, metadata.name),
        uid=metadata.uid,
        resource_version=metadata.resource_version,
        is_observed=status.observed_generation >= metadata.generation,
        replicas=found.spec.replicas,
        paused=found.spec.paused,
        template_digest=_digest_of(bytes(found.spec.template)),
        revision=(metadata.annotations or {}).get(REVISION_ANNOTATION, ""),
        current=status.replicas,
        updated=status.updated_replicas,
        available=status.available_replicas,
    )


def decode_replica_set(data: bytes | msgspec.Raw) -> ReplicaSet:
    found = _WORKLOAD.decode(data)
    metadata, owner = found.metadata, found.metadata.controller
    return ReplicaSet(
        key=(metadata.namespace, metadata.name),
        uid=metadata.uid,
        resource_version=metadata.resource_version,
        replicas=found.spec.replicas,
        current=found.status.replicas,
        available=found.status.available_replicas,
        owner_uid=owner.uid if owner is not None else "",
        owner_name=owner.name if owner is not None else "",
        revision=(metadata.annotations or {}).get(REVISION_ANNOTATION, ""),
        rollout=(metadata.annotations or {}).get(ROLLOUT_ANNOTATION, ""),
    )


class _Reason(Struct, frozen=True, gc=False):
    reason: str = ""
    message: str = ""


class _ContainerState(Struct, frozen=True, gc=False):
    waiting: _Reason | None = None
    terminated: _Reason | None = None


class _Container(Struct, frozen=True, rename="camel", gc=False):
    name: str
    ready: bool = False
    restart_count: int = 0
    state: _ContainerState | None = None
    last_state: _ContainerState | None = None


class _Condition(Struct, frozen=True, gc=False):
    type: str
    status: str
    reason: str = ""
    message: str = ""


class _PodStatus(Struct, frozen=True, rename="camel", gc=False):
    phase: str = ""
    reason: str = ""
    message: str = ""
    conditions: list[_Condition] = field(default_factory=list)
    init_container_statuses: list[_Container] = field(default_factory=list)
    container_statuses: list[_Container] = field(default_factory=list)


class _Pod(Struct, frozen=True, gc=False):
    metadata: _Metadata
    status: _PodStatus = field(default_factory=_PodStatus)


def decode_pod(data: bytes | msgspec.Raw) -> Pod:
    found = _POD.decode(data)
    metadata, owner = found.metadata, found.metadata.controller
    return Pod(
        key=(metadata.namespace, metadata.name),
        uid=metadata.uid,
        resource_version=metadata.resource_version,
        owner_name=owner.name if owner is not None else "",
        trouble=_trouble(found.status),
        is_leaving=metadata.deletion_timestamp is not None and not _is_ready(found.status),
    )


def _is_ready(status: _PodStatus) -> bool:
    return any(condition.type == "Ready" and condition.status == "True" for condition in status.conditions)


def _trouble(status: _PodStatus) -> str:
    if status.phase == "Failed" and status.reason:
        return f"failed: {status.reason}{_said(status.message)}"
    for container in (*status.init_container_statuses, *status.container_statuses):
        if trouble := _trouble_of_container(container):
            return trouble
    for condition in status.conditions:
        if condition.type == "PodScheduled" and condition.status == "False":
            return f"not scheduled: {condition.message or condition.reason}"
    return ""


def _trouble_of_container(container: _Container) -> str:
    state = container.state or _ContainerState()
    stuck = state.waiting or state.terminated
    if container.ready or stuck is None or stuck.reason in _ORDINARY:
        return ""
    restarts = f", restarted {container.restart_count} times" if container.restart_count else ""
    last = container.last_state.terminated if container.last_state is not None else None
    ended = f", ended with {last.reason} before" if last is not None and last.reason else ""
    return f"container {container.name} is in {stuck.reason}{_said(stuck.message)}{restarts}{ended}"


def _said(message: str) -> str:
    """On one line: a container may leave pages as its last words."""
    text = " ".join(message.split())
    return f" ({text[:_LONGEST_WORDS]})" if text else ""


def decode_raw(data: bytes | msgspec.Raw) -> RawItem:
    content = json.loads(bytes(data))
    metadata = content["metadata"]
    return RawItem(
        (metadata.get("namespace", ""), metadata["name"]), metadata["uid"], metadata["resourceVersion"], content
    )


class ListMetadata(Struct, frozen=True, rename="camel"):
    resource_version: str = ""
    continue_: str = field(default="", name="continue")


class Page(Struct, frozen=True):
    metadata: ListMetadata
    items: list[msgspec.Raw] | None = None


class WatchEvent(Struct, frozen=True):
    type: str
    object: msgspec.Raw


class Bookmark(Struct, frozen=True):
    metadata: ListMetadata


class WatchError(Struct, frozen=True):
    """The `Status` that an ERROR event carries."""

    code: int = 0
    reason: str = ""
    message: str = ""


@lru_cache(maxsize=4096)
def _digest_of(template: bytes) -> str:
    return digest(json.loads(template))


_LONGEST_WORDS = 300
"""Characters of a message in a pod's status."""
_ORDINARY = ("", "ContainerCreating", "PodInitializing", "Completed")
"""What every container waits for on its way, or init containers end with."""
_WORKLOAD = msgspec.json.Decoder(_Workload)
_POD = msgspec.json.Decoder(_Pod)
