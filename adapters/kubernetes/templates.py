"""Pod templates: when two are the same version, and what the bare ReplicaSet of a canary looks like. Pure.

A Deployment's controller recognises a ReplicaSet as its own current version when the templates are equal but for the
`pod-template-hash` label. Everything about the native hand-over rests on saying "equal" exactly as it does, so templates are only
compared after the API server has filled in its defaults.
"""

from __future__ import annotations

import copy
import hashlib
import json
import math
from typing import Any, TypeAlias

JsonObject: TypeAlias = dict[str, Any]

HASH_LABEL = "pod-template-hash"
MANAGED_BY_LABEL = "app.kubernetes.io/managed-by"
MANAGER = "headgate"
ROLLOUT_ANNOTATION = "headgate.dev/rollout"
REVISION_ANNOTATION = "deployment.kubernetes.io/revision"
DESIRED_ANNOTATION = "deployment.kubernetes.io/desired-replicas"
MOST_ANNOTATION = "deployment.kubernetes.io/max-replicas"

_SAFE_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
"""The letters that Kubernetes itself uses in such names: no vowels, so no words, and nothing that looks alike."""


def normalise(template: JsonObject) -> JsonObject:
    """The template without what does not make a version: the hash label, and the empty creation time that encoders add."""
    normal = copy.deepcopy(template)
    metadata = normal.setdefault("metadata", {})
    metadata.pop("creationTimestamp", None)
    labels = metadata.get("labels") or {}
    labels.pop(HASH_LABEL, None)
    if not metadata.get("annotations"):
        metadata.pop("annotations", None)
    return normal


def digest(template: JsonObject) -> str:
    """The same text for the same version, whatever order its keys came in."""
    return hashlib.sha256(_canonical(normalise(template))).hexdigest()[:24]


def canary_hash(template: JsonObject, rollout: str) -> str:
    """The label value that tells the canary's pods from all others.

    It is made of the rollout too: a version that was live before has a ReplicaSet with the hash that Kubernetes gave it, and the
    canary's must be another one.
    """
    number = int.from_bytes(hashlib.sha256(_canonical(normalise(template)) + rollout.encode()).digest()[:8], "big")
    letters = []
    for _ in range(10):
        number, index = divmod(number, len(_SAFE_ALPHABET))
        letters.append(_SAFE_ALPHABET[index])
    return "".join(letters)


def canary_name(deployment: str, hash_value: str) -> str:
    """A ReplicaSet's name, cut so that the names of its pods still fit into a label."""
    return f"{deployment[: 63 - len(hash_value) - 7].rstrip('-.')}-{hash_value}"


def own_labels() -> dict[str, str]:
    """The labels of a ReplicaSet that its Deployment must not take: nothing that a selector could match."""
    return {MANAGED_BY_LABEL: MANAGER}


def adopted_labels(template: JsonObject, hash_value: str) -> dict[str, str]:
    """The labels that Kubernetes itself gives to a Deployment's ReplicaSet; with them, the controller takes it."""
    return {**(template.get("metadata", {}).get("labels") or {}), HASH_LABEL: hash_value}


def adopted_annotations(deployment: JsonObject) -> dict[str, str]:
    """The sizes that a Deployment's controller notes on its ReplicaSets.

    It scales the old versions down at once when the new one is "saturated": as large as the Deployment, available, and noted as
    meant for this size. Without the note it takes the adoption for a scaling in the middle of a roll-out and divides the pods
    between both versions, tested pods among them (seen on a real kube-controller-manager).
    """
    replicas = int(deployment["spec"].get("replicas", 1))
    return {DESIRED_ANNOTATION: str(replicas), MOST_ANNOTATION: str(replicas + _surge(deployment["spec"], replicas))}


def _surge(spec: JsonObject, replicas: int) -> int:
    strategy = spec.get("strategy") or {}
    if strategy.get("type") == "Recreate":
        return 0
    surge = (strategy.get("rollingUpdate") or {}).get("maxSurge", "25%")
    return surge if isinstance(surge, int) else math.ceil(int(str(surge).removesuffix("%")) * replicas / 100)


def canary_replica_set(
    deployment: JsonObject, template: JsonObject, hash_value: str, *, rollout: str, replicas: int
) -> JsonObject:
    """A bare ReplicaSet that runs exactly the new template beside the Deployment, which does not see it as its own."""
    metadata, spec = deployment["metadata"], deployment["spec"]
    body = copy.deepcopy(template)
    body.setdefault("metadata", {}).setdefault("labels", {})[HASH_LABEL] = hash_value
    selector = copy.deepcopy(spec["selector"])
    selector.setdefault("matchLabels", {})[HASH_LABEL] = hash_value
    replica_set: JsonObject = {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {
            "name": canary_name(metadata["name"], hash_value),
            "namespace": metadata["namespace"],
            "labels": own_labels(),
            "annotations": {ROLLOUT_ANNOTATION: rollout},
        },
        "spec": {"replicas": replicas, "selector": selector, "template": body},
    }
    if spec.get("minReadySeconds"):
        replica_set["spec"]["minReadySeconds"] = spec["minReadySeconds"]
    return replica_set


def returned_fields(live: JsonObject, original: JsonObject) -> list[JsonObject]:
    """The live object's managedFields with everybody's fields as they were before this rollout.

    Writing a field takes it from its manager, so leaving our own entry out would leave the field to nobody. Where a release
    before has applied the object, we were such a manager: what nobody owns, no later release can leave out. What others have come
    to own since stays theirs, as a number of pods that was ours alone falls to 1 when a release says none. What controllers
    manage (subresources) has gone on, and stays as it is.
    """
    before = {manager_key(entry): entry for entry in original["metadata"].get("managedFields") or []}
    entries = live["metadata"].get("managedFields") or []
    stay = {key: one for one in entries if (key := manager_key(one)) in before or one.get("manager") != MANAGER}
    returned = [before[key] if _is_undone(one) else with_returned(one, before.get(key)) for key, one in stay.items()]
    missing = [entry for key, entry in before.items() if key not in stay and not entry.get("subresource")]
    return [*returned, *missing]


def manager_key(entry: JsonObject) -> tuple[object, ...]:
    """By what the API server tells the entries of managedFields apart."""
    return tuple(entry.get(name) for name in ("manager", "operation", "subresource", "apiVersion"))


def _is_undone(entry: JsonObject) -> bool:
    """What this rollout has come to own is not kept, as what others have come to own is."""
    return entry.get("manager") == MANAGER and not entry.get("subresource")


def with_returned(now: JsonObject, then: JsonObject | None) -> JsonObject:
    """A manager's entry with what it has come to own since, and what was taken from it."""
    if then is None or now.get("subresource"):
        return now
    fields = _united(now.get("fieldsV1") or {}, then.get("fieldsV1") or {})
    return then if fields == then.get("fieldsV1") else {**now, "fieldsV1": fields}


def _united(one: JsonObject, other: JsonObject) -> JsonObject:
    """Two sets of fields as the API server writes them: trees whose branches are names."""
    united = dict(one)
    for name, inner in other.items():
        united[name] = _united(united[name], inner) if isinstance(united.get(name), dict) else inner
    return united


def selects(selector: JsonObject, labels: dict[str, str]) -> bool:
    """Whether a label selector (matchLabels and matchExpressions) matches; an empty one matches everything."""
    if any(labels.get(key) != value for key, value in (selector.get("matchLabels") or {}).items()):
        return False
    return all(_expression_holds(one, labels) for one in selector.get("matchExpressions") or [])


def _expression_holds(expression: JsonObject, labels: dict[str, str]) -> bool:
    key, values = expression["key"], expression.get("values") or []
    match expression["operator"]:
        case "In":
            return labels.get(key) in values
        case "NotIn":
            return labels.get(key) not in values
        case "Exists":
            return key in labels
        case _:
            return key not in labels


def _canonical(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
