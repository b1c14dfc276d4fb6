"""Stored plans and snapshots of former versions, as today's would have been. Pure: JSON to JSON.

What has only been added since has a default in `engine.model` and is not here. Here is what has changed its meaning. A format is
told by a key that it alone has: within a text its quotes would be escaped, so looking for the bytes is enough, and costs nothing
for what today's code has written. `tests/store/golden` has a store of each.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import msgspec

JsonObject: TypeAlias = dict[str, Any]

_PROGRESS = b'"progress":{'
"""Of a snapshot with one condition at the most, before there were gates."""
_BACKGROUND = b'"background":['
"""Of every plan since there are gates."""
_CONDITIONS = ("pausing", "approving", "analysing", "calling")
_KEPT = (
    *("started_at", "samples", "empty_runs", "verdict", "verdict_reason"),
    *("called", "callback_token", "answer", "answer_reason"),
)


def snapshot_as_today(data: bytes) -> bytes:
    return _changed(data, _with_gates) if _PROGRESS in data else data


def spec_as_today(data: bytes) -> bytes:
    return data if _BACKGROUND in data else _changed(data, _with_policies_as_named_now)


def _changed(data: bytes, change: Callable[[JsonObject], JsonObject]) -> bytes:
    """What is none of ours stays as it is: whoever reads it next says what is wrong with it."""
    try:
        return msgspec.json.encode(change(msgspec.json.decode(data)))
    except (msgspec.DecodeError, KeyError, TypeError):
        return data


def _with_policies_as_named_now(spec: JsonObject) -> JsonObject:
    for step in spec["plan"]["steps"]:
        for query in step.get("queries", ()):
            # What was called so is what "extend" is now: measured again until the patience ends, and failed then.
            query["no_data"] = "extend" if query.get("no_data", "hold") == "hold" else query["no_data"]
    return spec


def _with_gates(snapshot: JsonObject) -> JsonObject:
    """The condition of its step becomes a gate. An action of it is ordered anew: it measures, or calls, once more."""
    progress = snapshot.pop("progress")
    timers = {name: at for name, at in snapshot.get("timers", {}).items() if name != "step"}
    due_at = snapshot.get("timers", {}).get("step")
    parked = snapshot.get("parked") or {}
    if snapshot["state"] not in _CONDITIONS and parked.get("origin") not in _CONDITIONS:
        return {**snapshot, "timers": timers}
    gate = {name: progress[name] for name in _KEPT if name in progress}
    gate["id"] = f"step:{snapshot['step']}"
    gate["started_at"] = gate.get("started_at") or snapshot["entered_at"]
    is_measured = snapshot["state"] == "analysing" and gate.get("verdict") is None
    gate["due_at"] = due_at or (gate["started_at"] if is_measured else None)  # A run had been ordered: that is due again.
    samples = gate.get("samples", [])
    gate |= {"counted": len(samples), "ticks": len(samples) + gate.get("empty_runs", 0), "tallies": _tallies(samples)}
    timers.pop("retry", None)
    idle: JsonObject = {"action": None, "failures": 0, "failure": "", "procedure": [], "cursor": 0}
    return {**snapshot, **idle, "timers": timers, "gates": [gate]}


def _tallies(samples: list[JsonObject]) -> JsonObject:
    tallies: dict[str, JsonObject] = {}
    for sample in samples:
        for name, value in sample["values"].items():
            if value is not None:
                former = tallies.get(name, {"total": 0.0, "count": 0})
                tallies[name] = {"total": former["total"] + value, "count": former["count"] + 1}
    return tallies
