"""The arithmetic and the comparisons of the Deployment controller, as pure functions.

Source of the rules: the behaviour of kube-controller-manager's deployment controller, as documented and as observed.
"""

from __future__ import annotations

import hashlib
import math

from adapters.embedded.json_objects import JsonObject, copy_json, encode_json, metadata_of, name_of

HASH_LABEL = "pod-template-hash"
REVISION = "deployment.kubernetes.io/revision"
REVISION_HISTORY = "deployment.kubernetes.io/revision-history"
DESIRED = "deployment.kubernetes.io/desired-replicas"
MOST = "deployment.kubernetes.io/max-replicas"
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"

_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"


def template_key(template: JsonObject) -> bytes:
    """Equal for templates that are the same version: the hash label does not count."""
    metadata = template.get("metadata") or {}
    labels = {key: value for key, value in (metadata.get("labels") or {}).items() if key != HASH_LABEL}
    rest = {key: value for key, value in metadata.items() if key not in ("labels", "creationTimestamp") and value}
    return _ordered({"labels": labels, "metadata": rest, "spec": template["spec"]})


def _ordered(value: object) -> bytes:
    return encode_json(_sorted(value))


def _sorted(value: object) -> object:
    if isinstance(value, dict):
        return {key: _sorted(value[key]) for key in sorted(value)}
    if isinstance(value, list):
        return [_sorted(one) for one in value]
    return value


def template_hash(template: JsonObject, collisions: int) -> str:
    number = int.from_bytes(hashlib.blake2b(template_key(template) + str(collisions).encode(), digest_size=8).digest(), "big")
    letters = []
    for _ in range(10):
        number, index = divmod(number, len(_ALPHABET))
        letters.append(_ALPHABET[index])
    return "".join(letters)


def wanted(obj: JsonObject) -> int:
    replicas: int = obj["spec"].get("replicas", 1)
    return replicas


def status_count(obj: JsonObject, name: str) -> int:
    count: int = obj.get("status", {}).get(name, 0)
    return count


def annotation(obj: JsonObject, name: str, otherwise: int = 0) -> int:
    text = (metadata_of(obj).get("annotations") or {}).get(name, "")
    return int(text) if text.isdigit() else otherwise


def limits(deployment: JsonObject) -> tuple[int, int]:
    """(maxSurge, maxUnavailable) in pods: surge rounded up, unavailable down, and not both 0."""
    strategy = deployment["spec"].get("strategy") or {}
    if strategy.get("type") == "Recreate":
        return 0, wanted(deployment)
    rolling = strategy.get("rollingUpdate") or {}
    surge = _share(rolling.get("maxSurge", "25%"), wanted(deployment), up=True)
    unavailable = _share(rolling.get("maxUnavailable", "25%"), wanted(deployment), up=False)
    return surge, 1 if surge == 0 and unavailable == 0 else min(unavailable, wanted(deployment))


def _share(value: int | str, total: int, *, up: bool) -> int:
    if isinstance(value, int):
        return value
    exact = int(value.removesuffix("%")) * total / 100
    return math.ceil(exact) if up else math.floor(exact)


def age_order(replica_set: JsonObject) -> tuple[str, str]:
    return metadata_of(replica_set)["creationTimestamp"], name_of(replica_set)


def new_replica_set_of(deployment: JsonObject, owned: list[JsonObject]) -> JsonObject | None:
    """The oldest of its ReplicaSets that has its template."""
    key = template_key(deployment["spec"]["template"])
    return next((one for one in sorted(owned, key=age_order) if template_key(one["spec"]["template"]) == key), None)


def only_one_to_scale(new: JsonObject | None, old: list[JsonObject]) -> JsonObject | None:
    """The one active ReplicaSet, or the newest when none is; None when several are active."""
    everyone = [*old, new] if new is not None else old
    active = [one for one in everyone if wanted(one) > 0]
    if len(active) == 1:
        return active[0]
    if active:
        return None
    return new if new is not None else max(old, key=age_order, default=None)


def is_saturated(deployment: JsonObject, new: JsonObject | None) -> bool:
    if new is None:
        return False
    count = wanted(deployment)
    return wanted(new) == count and annotation(new, DESIRED, -1) == count and status_count(new, "availableReplicas") == count


def proportional_sizes(deployment: JsonObject, active: list[JsonObject]) -> dict[str, int]:
    """New sizes by name when the Deployment is scaled in mid-roll-out: each keeps its proportion."""
    count = wanted(deployment)
    allowed = count + limits(deployment)[0] if count > 0 else 0
    to_add = allowed - sum(wanted(one) for one in active)
    newest_first = sorted(active, key=age_order, reverse=to_add > 0)
    ordered = sorted(newest_first, key=wanted, reverse=True)
    sizes, added = {name_of(one): wanted(one) for one in ordered}, 0
    for one in ordered:
        share = _proportion(deployment, one, to_add, added, allowed)
        sizes[name_of(one)] += share
        added += share
    if ordered and to_add != 0:
        sizes[name_of(ordered[0])] = max(sizes[name_of(ordered[0])] + to_add - added, 0)
    return sizes


def _proportion(deployment: JsonObject, one: JsonObject, to_add: int, added: int, allowed: int) -> int:
    if wanted(one) == 0 or to_add in (0, added):
        return 0
    if wanted(deployment) == 0:
        return max(-wanted(one), to_add - added)
    before = annotation(one, MOST, 0) or status_count(deployment, "replicas") or wanted(one)
    share = math.floor(wanted(one) * allowed / before + 0.5) - wanted(one)
    left = to_add - added
    return min(share, left) if to_add > 0 else max(share, left)


def next_size_of_new(deployment: JsonObject, new: JsonObject | None, total: int) -> int:
    """How many pods the new version may have next: up to the surge."""
    count, there = wanted(deployment), wanted(new) if new is not None else 0
    if (deployment["spec"].get("strategy") or {}).get("type") == "Recreate":
        return count
    room = count + limits(deployment)[0] - total
    return there if room <= 0 else there + min(room, count - there)


def replica_set_of(deployment: JsonObject, hash_value: str, replicas: int) -> JsonObject:
    template = copy_json(deployment["spec"]["template"])
    labels = {**(template.get("metadata", {}).get("labels") or {}), HASH_LABEL: hash_value}
    template.setdefault("metadata", {})["labels"] = labels
    selector = copy_json(deployment["spec"]["selector"])
    selector.setdefault("matchLabels", {})[HASH_LABEL] = hash_value
    spec: JsonObject = {"replicas": replicas, "selector": selector, "template": template}
    if deployment["spec"].get("minReadySeconds"):
        spec["minReadySeconds"] = deployment["spec"]["minReadySeconds"]
    return {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {
            "name": f"{name_of(deployment)}-{hash_value}",
            "namespace": metadata_of(deployment)["namespace"],
            "labels": labels,
        },
        "spec": spec,
    }
