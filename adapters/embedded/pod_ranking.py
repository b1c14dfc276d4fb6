"""Pods as controllers see them: which count, which are ready, and which are deleted first when there are too many. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime
from functools import cmp_to_key

from adapters.embedded.json_objects import JsonObject, metadata_of, parse_time

DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"

_PHASES = {"Pending": 0, "Unknown": 1}


def is_active(pod: JsonObject) -> bool:
    return not metadata_of(pod).get("deletionTimestamp") and pod.get("status", {}).get("phase") not in ("Failed", "Succeeded")


def condition_of(pod: JsonObject, kind: str) -> JsonObject:
    conditions = pod.get("status", {}).get("conditions") or []
    return next((one for one in conditions if one.get("type") == kind), {})


def is_ready(pod: JsonObject) -> bool:
    return bool(condition_of(pod, "Ready").get("status") == "True")


def deletion_order(pods: Sequence[JsonObject], now: datetime) -> list[JsonObject]:
    """First those that nobody will miss: unassigned, pending, not ready, cheap to delete, ready for less long, restarted, young.

    Times count by their order of magnitude (powers of two); among equals the uid decides, which is as good as chance.
    """

    def compare(one: JsonObject, other: JsonObject) -> int:
        if (first := _rank(one)) != (second := _rank(other)):
            return -1 if first < second else 1
        if is_ready(one) and (order := _compare_times(_ready_since(one), _ready_since(other), one, other, now)):
            return order
        if (restarts := _restarts(other) - _restarts(one)) != 0:
            return restarts
        born = parse_time(metadata_of(one)["creationTimestamp"]), parse_time(metadata_of(other)["creationTimestamp"])
        return _compare_times(*born, one, other, now)

    return sorted(pods, key=cmp_to_key(compare))


def _rank(pod: JsonObject) -> tuple[bool, int, bool, int]:
    phase = pod.get("status", {}).get("phase", "Pending")
    return bool(pod["spec"].get("nodeName")), _PHASES.get(phase, 2), is_ready(pod), _cost(pod)


def _cost(pod: JsonObject) -> int:
    text = (metadata_of(pod).get("annotations") or {}).get(DELETION_COST, "")
    try:
        return int(text)
    except ValueError:
        return 0


def _ready_since(pod: JsonObject) -> datetime:
    return parse_time(condition_of(pod, "Ready")["lastTransitionTime"])


def _restarts(pod: JsonObject) -> int:
    return max((one.get("restartCount", 0) for one in pod.get("status", {}).get("containerStatuses") or []), default=0)


def _compare_times(first: datetime, second: datetime, one: JsonObject, other: JsonObject, now: datetime) -> int:
    if first == second:
        return 0
    difference = _magnitude(first, now) - _magnitude(second, now)
    if difference:
        return difference
    return -1 if metadata_of(one)["uid"] < metadata_of(other)["uid"] else 1


def _magnitude(moment: datetime, now: datetime) -> int:
    nanoseconds = (now - moment).total_seconds() * 1e9
    return int(math.log2(nanoseconds)) if nanoseconds >= 1 else -1
