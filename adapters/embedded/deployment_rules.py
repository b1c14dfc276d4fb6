"""The arithmetic and the comparisons of the Deployment controller, as pure functions.

Source of the rules: the behaviour of kube-controller-manager's deployment controller, as documented and as observed on a real one
(tests/conformance/test_controllers_*.py).
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from functools import lru_cache

from adapters.embedded.deployment_revisions import DESIRED, MOST, count_in
from adapters.embedded.json_objects import JsonObject, copy_json, decode_json, encode_json, metadata_of, name_of

HASH_LABEL = "pod-template-hash"
LONGEST_NAME = 253

_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
_MAPS = frozenset({"labels", "annotations", "nodeSelector", "matchLabels", "limits", "requests", "resources"})
"""Where an empty object means the same as none. Elsewhere (`securityContext: {}`, `emptyDir: {}`) it does not."""


def template_key(template: JsonObject) -> bytes:
    """Equal for templates that are the same version: the hash label does not count, and nothing is the same as empty."""
    return _key_of_encoded(encode_json(template))


@lru_cache(maxsize=1_024)
def _key_of_encoded(encoded: bytes) -> bytes:
    template = decode_json(encoded)
    metadata = template.get("metadata") or {}
    labels = {key: value for key, value in (metadata.get("labels") or {}).items() if key != HASH_LABEL}
    rest = {key: value for key, value in metadata.items() if key not in ("labels", "creationTimestamp")}
    return encode_json(_canonical({"labels": labels, "metadata": rest, "spec": template["spec"]}))


def _canonical(value: object) -> object:
    """Keys in order, and without empty lists and maps: the real comparison calls them equal to absent ones."""
    if isinstance(value, dict):
        return {key: _canonical(value[key]) for key in sorted(value) if not _is_nothing(key, value[key])}
    if isinstance(value, list):
        return [_canonical(one) for one in value]
    return value


def _is_nothing(key: str, value: object) -> bool:
    return value is None or value == [] or (value == {} and key in _MAPS)


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


def is_recreated(deployment: JsonObject) -> bool:
    return bool((deployment["spec"].get("strategy") or {}).get("type") == "Recreate")


def limits(deployment: JsonObject) -> tuple[int, int]:
    """(maxSurge, maxUnavailable) in pods: surge rounded up, unavailable down, and not both 0."""
    count = wanted(deployment)
    if is_recreated(deployment):
        return 0, 0
    rolling = (deployment["spec"].get("strategy") or {}).get("rollingUpdate") or {}
    surge = _share(rolling.get("maxSurge", "25%"), count, up=True)
    unavailable = _share(rolling.get("maxUnavailable", "25%"), count, up=False)
    return surge, min(1 if surge == 0 and unavailable == 0 else unavailable, count)


def _share(value: int | str, total: int, *, up: bool) -> int:
    if isinstance(value, int):
        return value
    exact = int(value.removesuffix("%")) * total / 100
    return math.ceil(exact) if up else math.floor(exact)


def age_order(replica_set: JsonObject) -> tuple[str, str]:
    return metadata_of(replica_set)["creationTimestamp"], name_of(replica_set)


def active(replica_sets: Sequence[JsonObject]) -> list[JsonObject]:
    return [one for one in replica_sets if wanted(one) > 0]


def new_replica_set_of(deployment: JsonObject, owned: Sequence[JsonObject]) -> JsonObject | None:
    """The oldest of its ReplicaSets that has its template."""
    key = template_key(deployment["spec"]["template"])
    return next((one for one in sorted(owned, key=age_order) if template_key(one["spec"]["template"]) == key), None)


def only_one_to_scale(new: JsonObject | None, old: Sequence[JsonObject]) -> JsonObject | None:
    """The one active ReplicaSet, or the newest when none is; None when several are active."""
    serving = active([*old, new] if new is not None else old)
    if len(serving) == 1:
        return serving[0]
    if serving:
        return None
    return new if new is not None else max(old, key=age_order, default=None)


def is_saturated(deployment: JsonObject, new: JsonObject | None) -> bool:
    """Whether the new version is all that is asked for, and was meant to be: then old ones go at once, even in a pause."""
    if new is None:
        return False
    count = wanted(deployment)
    return wanted(new) == count and count_in(new, DESIRED) == count and status_count(new, "availableReplicas") == count


def was_scaled(deployment: JsonObject, owned: Sequence[JsonObject]) -> bool:
    """Whether some version was last sized for another number of replicas. One without a note says nothing."""
    return any(count_in(one, DESIRED) not in (None, wanted(deployment)) for one in active(owned))


def proportional_sizes(deployment: JsonObject, serving: Sequence[JsonObject]) -> dict[str, int]:
    """New sizes by name when the Deployment is scaled in mid-roll-out: each keeps its proportion."""
    count = wanted(deployment)
    allowed = count + limits(deployment)[0] if count > 0 else 0
    to_add = allowed - sum(wanted(one) for one in serving)
    by_age = sorted(serving, key=age_order, reverse=to_add > 0)
    largest_first = sorted(by_age, key=wanted, reverse=True)
    sizes, added = {name_of(one): wanted(one) for one in largest_first}, 0
    for one in largest_first:
        share = _proportion(deployment, one, to_add, added)
        sizes[name_of(one)] += share
        added += share
    if largest_first and to_add != 0:
        first = name_of(largest_first[0])
        sizes[first] = max(sizes[first] + to_add - added, 0)
    return sizes


def _proportion(deployment: JsonObject, one: JsonObject, to_add: int, added: int) -> int:
    if to_add in (0, added):
        return 0
    share, left = _fraction(deployment, one), to_add - added
    return min(share, left) if to_add > 0 else max(share, left)


def _fraction(deployment: JsonObject, one: JsonObject) -> int:
    if wanted(deployment) == 0:
        return -wanted(one)
    before = count_in(one, MOST) or status_count(deployment, "replicas")
    if not before:
        return 0
    size = wanted(one) * (wanted(deployment) + limits(deployment)[0]) / before
    return math.floor(size + 0.5) - wanted(one)


def next_size_of_new(deployment: JsonObject, new: JsonObject | None, total: int) -> int:
    """How many pods the new version may have next, with `total` pods asked for in all: up to the surge."""
    count, there = wanted(deployment), wanted(new) if new is not None else 0
    if is_recreated(deployment):
        return count
    room = count + limits(deployment)[0] - total
    return there if room <= 0 else there + min(room, count - there)


def shrunk_sizes(deployment: JsonObject, new: JsonObject, old: Sequence[JsonObject]) -> dict[str, int]:
    """Sizes by name of old versions after the next step down: pods that do not serve first, nobody will miss them."""
    everyone = [*old, new]
    least = wanted(deployment) - limits(deployment)[1]
    unavailable = wanted(new) - status_count(new, "availableReplicas")
    spare = sum(wanted(one) for one in everyone) - least - unavailable
    sizes = {name_of(one): wanted(one) for one in old}
    if spare <= 0:
        return sizes
    for one in sorted(old, key=age_order):
        unhealthy = max(wanted(one) - status_count(one, "availableReplicas"), 0)
        gone = min(spare, unhealthy)
        sizes[name_of(one)] -= gone
        spare -= gone
    # Counts of what is available may be older than the sizes; `spare` does not rest on them.
    surplus = min(spare, sum(status_count(one, "availableReplicas") for one in everyone) - least)
    for one in sorted(old, key=age_order):
        gone = min(max(surplus, 0), sizes[name_of(one)])
        sizes[name_of(one)] -= gone
        surplus -= gone
    return sizes


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
            "name": f"{name_of(deployment)[: LONGEST_NAME - 1 - len(hash_value)]}-{hash_value}",
            "namespace": metadata_of(deployment)["namespace"],
            "labels": labels,
        },
        "spec": spec,
    }
