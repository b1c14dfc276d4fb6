"""StatefulSets, DaemonSets and Jobs: whether they have come to what they ask for, as lean pictures and in words. Pure.

The rules are those of `kubectl rollout status` and of a Job's conditions. What its owner moves by hand (`OnDelete`, a partition,
a suspended Job) is not waited for any further than its controller goes by itself.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import msgspec
from msgspec import Struct

from adapters.kubernetes import wire
from adapters.kubernetes.paths import DAEMON_SETS, JOBS, STATEFUL_SETS, ResourceRef
from adapters.kubernetes.templates import JsonObject


@dataclass(frozen=True, slots=True)
class Health:
    settled: bool
    """It is as it asks to be, or never will be."""
    trouble: str = ""
    """What is missing, or how it failed; empty when it is as it asks to be."""


class Supporting(Struct, frozen=True, gc=False):
    """One of them, as the caches hold it."""

    key: wire.Key
    uid: str
    resource_version: str
    health: Health


def resource_of(api_version: str, kind: str) -> ResourceRef | None:
    """The kind, when it is one of these."""
    return next((one for one in _READERS if (one.api_version, one.kind) == (api_version, kind)), None)


def read_health(resource: ResourceRef, body: JsonObject) -> Health:
    """`resource` is one of these kinds."""
    trouble = _READERS[resource](body)
    return Health(settled=not trouble or (resource == JOBS and _has_failed(body)), trouble=trouble)


def decoder_of(resource: ResourceRef) -> Callable[[bytes | msgspec.Raw], Supporting]:
    def decode(data: bytes | msgspec.Raw) -> Supporting:
        body = json.loads(bytes(data))
        metadata = body["metadata"]
        key = (metadata.get("namespace", ""), metadata["name"])
        return Supporting(key, metadata["uid"], metadata["resourceVersion"], read_health(resource, body))

    return decode


def _is_observed(body: JsonObject) -> bool:
    seen: int = _status(body).get("observedGeneration", 0)
    return bool(seen >= body["metadata"].get("generation", 0))


def _status(body: JsonObject) -> JsonObject:
    found: JsonObject = body.get("status") or {}
    return found


def _read_stateful_set(body: JsonObject) -> str:
    spec, status = body["spec"], _status(body)
    strategy = spec.get("updateStrategy") or {}
    if not _is_observed(body):
        return "its controller has not seen the change yet"
    wanted, ready = spec.get("replicas", 1), status.get("readyReplicas", 0)
    partition = (strategy.get("rollingUpdate") or {}).get("partition") or 0
    updated = status.get("updatedReplicas", 0)
    must_be_updated = 0 if strategy.get("type") == "OnDelete" else max(wanted - partition, 0)
    if updated < must_be_updated:
        return f"{updated} of {must_be_updated} pods are of the new version"
    return f"{ready} of {wanted} pods are ready" if ready < wanted else ""


def _read_daemon_set(body: JsonObject) -> str:
    spec, status = body["spec"], _status(body)
    if not _is_observed(body):
        return "its controller has not seen the change yet"
    wanted, available = status.get("desiredNumberScheduled", 0), status.get("numberAvailable", 0)
    updated = status.get("updatedNumberScheduled", 0)
    if (spec.get("updateStrategy") or {}).get("type") != "OnDelete" and updated < wanted:
        return f"{updated} of {wanted} pods are of the new version"
    return f"{available} of {wanted} pods are available" if available < wanted else ""


def _read_job(body: JsonObject) -> str:
    if failure := _condition(body, "Failed"):
        return f"it failed: {failure.get('message') or failure.get('reason') or 'its controller does not say why'}"
    if _condition(body, "Complete") or body["spec"].get("suspend"):
        return ""
    return f"{_status(body).get('succeeded', 0)} of {body['spec'].get('completions') or 1} runs have succeeded"


def _has_failed(body: JsonObject) -> bool:
    return bool(_condition(body, "Failed"))


def _condition(body: JsonObject, kind: str) -> JsonObject:
    conditions = _status(body).get("conditions") or []
    return next((one for one in conditions if one.get("type") == kind and one.get("status") == "True"), {})


_READERS: Mapping[ResourceRef, Callable[[JsonObject], str]] = {
    STATEFUL_SETS: _read_stateful_set,
    DAEMON_SETS: _read_daemon_set,
    JOBS: _read_job,
}
RESOURCES = tuple(_READERS)
