"""What the server itself writes into new objects of some kinds: fields that no manager owns.

The source is the PrepareForCreate of each kind's strategy and the admission plugins that are on by default. Everything here
changes an object in place.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from adapters.embedded import resources as known
from adapters.embedded.json_objects import JsonObject, items_of, set_at, value_at
from adapters.embedded.resources import Resource

_PATIENCE_WITH_NODES_SECONDS = 300


def complete_new(resource: Resource, obj: JsonObject) -> None:
    """Write what a new object of this kind gets; it has its uid and its defaults."""
    complete = _COMPLETIONS.get(resource.storage_key)
    if complete is not None:
        complete(obj)


def _complete_namespace(obj: JsonObject) -> None:
    obj["spec"] = {"finalizers": ["kubernetes"]}
    obj["status"] = {"phase": "Active"}


def _complete_pod(obj: JsonObject) -> None:
    obj["status"] = {"phase": "Pending", "qosClass": _quality_of_service(obj)}
    spec = obj["spec"]
    tolerations = spec.setdefault("tolerations", [])
    for key in ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"):
        if not any(_tolerates(one, key) for one in items_of(tolerations)):
            seconds = _PATIENCE_WITH_NODES_SECONDS
            tolerations.append({"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": seconds})
    spec.setdefault("priority", 0)
    spec.setdefault("preemptionPolicy", "PreemptLowerPriority")


def _tolerates(toleration: JsonObject, key: str) -> bool:
    return toleration.get("key") in {key, None, ""} and toleration.get("effect") in {"NoExecute", None, ""}


def _quality_of_service(pod: JsonObject) -> str:
    containers = pod["spec"].get("containers") or []
    amounts = [container.get("resources") or {} for container in containers]
    if not any(amount.get("limits") or amount.get("requests") for amount in amounts):
        return "BestEffort"
    guaranteed = all(
        {"cpu", "memory"} <= set(amount.get("limits") or ()) and amount.get("limits") == amount.get("requests")
        for amount in amounts
    )
    return "Guaranteed" if guaranteed else "Burstable"


def _complete_job(obj: JsonObject) -> None:
    """A Job selects its pods by its own uid, unless it says that it selects them otherwise."""
    spec, uid = obj["spec"], obj["metadata"]["uid"]
    if spec.get("manualSelector"):
        return
    chosen = {"batch.kubernetes.io/controller-uid": uid}
    names = {"batch.kubernetes.io/job-name": obj["metadata"].get("name", "")}
    former = {"controller-uid": uid, "job-name": obj["metadata"].get("name", "")}
    labels = {**(value_at(spec, "template", "metadata", "labels") or {}), **chosen, **names, **former}
    set_at(obj, labels, "spec", "template", "metadata", "labels")
    obj["metadata"].setdefault("labels", dict(labels))
    given = spec.get("selector") or {}
    spec["selector"] = {**given, "matchLabels": {**(given.get("matchLabels") or {}), **chosen}}


def _complete_claim(obj: JsonObject) -> None:
    obj["status"] = {"phase": "Pending"}


_COMPLETIONS: Mapping[tuple[str, str], Callable[[JsonObject], None]] = {
    known.NAMESPACES.storage_key: _complete_namespace,
    known.PODS.storage_key: _complete_pod,
    known.JOBS.storage_key: _complete_job,
    known.PERSISTENT_VOLUME_CLAIMS.storage_key: _complete_claim,
}
