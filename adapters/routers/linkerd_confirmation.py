"""Whether Linkerd has taken up what a TrafficSplit says: the split has no status, so the root Service's ServiceProfile is read.

Pure, on objects from the caches. A weight counts when the profile says it. On the way back the rule is the other way round: what
the profile sends to the new version counts. Where it overrides nothing, nothing is sent there by weight; but the split is not
taken up, and the root Service reaches the pods of both versions.
"""

from __future__ import annotations

from dataclasses import dataclass

from adapters.kubernetes.templates import JsonObject
from adapters.routers.linkerd_profiles import (
    SKIP,
    backends_of,
    beginning,
    canary_share,
    effective,
    is_ours,
    is_skipped,
    overrides_of,
)
from engine.model import STEP_STATES, UNDOING_STATES, Snapshot, State
from engine.traffic import RoutePlan

_RUNNING = "is the linkerd-smi extension running?"
_RESYNC = "linkerd-smi writes it again within ten minutes, or when the split is touched"


@dataclass(frozen=True, slots=True)
class Confirmation:
    exists: bool
    """Whether there is anything that divides traffic."""
    weight: int | None
    waits_for: str = ""
    drift: str = ""


def confirm(
    route: RoutePlan, namespace: str, snapshot: Snapshot, profiles: list[JsonObject], asked: int | None, *, is_split: bool
) -> Confirmation:
    """`asked`: what the split says, in basis points; `is_split`: whether it is there at all."""
    profile = effective(profiles)
    shown = canary_share(route, profile, namespace) if profile is not None else None
    exact = shown if profile is not None and is_ours(route, profile, namespace) else None
    if snapshot.state in UNDOING_STATES:
        weight = asked if shown is None else shown
        waits_for = _why_it_waits(route, namespace, profile, exact, asked) if shown != 0 and is_split else ""
        return Confirmation(is_split or bool(shown), weight, waits_for or _why_it_stays(route, namespace, profile, is_split))
    if not is_split:
        return Confirmation(False, None, _why_it_stays(route, namespace, profile, is_split))
    if exact is not None and exact == asked:
        return Confirmation(True, asked)
    waits_for = _why_it_waits(route, namespace, profile, exact, asked)
    return Confirmation(True, None, waits_for, _drift(route, namespace, snapshot, profile, exact))


def _why_it_waits(
    route: RoutePlan, namespace: str, profile: JsonObject | None, exact: int | None, asked: int | None
) -> str:
    if profile is None:
        return f"no ServiceProfile {beginning(route.root_service, namespace)}<cluster domain>: {_RUNNING}"
    name = profile["metadata"]["name"]
    if is_skipped(profile):
        return f"ServiceProfile {name} has the annotation {SKIP}, so the split has no effect: take it off"
    if not overrides_of(profile):
        return f"ServiceProfile {name} has no dstOverrides: {_RUNNING}"
    if exact is None:
        return f"ServiceProfile {name} sends to {_listed(backends_of(profile, namespace))}, not as the split says: {_RUNNING}"
    wanted = f"{asked / 100:g} % was asked for" if asked is not None else "the split says nothing usable"
    return f"ServiceProfile {name} says {exact / 100:g} %, {wanted}"


def _why_it_stays(route: RoutePlan, namespace: str, profile: JsonObject | None, is_split: bool) -> str:
    if is_split or profile is None or not is_ours(route, profile, namespace):
        return ""
    name, backends = profile["metadata"]["name"], _listed(backends_of(profile, namespace))
    return f"ServiceProfile {name} still sends to {backends}, though the split is gone: {_RUNNING}"


def _drift(route: RoutePlan, namespace: str, snapshot: Snapshot, profile: JsonObject | None, exact: int | None) -> str:
    """What somebody else made of a profile that has been read back as it was ordered. An older weight may only be late while one
    is on its way that pods can carry, which nobody waits for. What is put back is written into the profile itself, so nothing is
    late after that."""
    if snapshot.state not in STEP_STATES - {State.SHIFTING} or snapshot.action is not None:
        return ""
    root, advice = route.root_service, "put it back and resume, or abort"
    if profile is None:
        text = f"the ServiceProfile of {root} was removed by somebody else, so its split has no effect"
        return f"{text}; {_RESYNC}; resume then, or abort"
    name = profile["metadata"]["name"]
    if not overrides_of(profile):
        return f"the dstOverrides of ServiceProfile {name} were taken out by somebody else; {_RESYNC}; resume then, or abort"
    if exact is None:
        return f"the dstOverrides of ServiceProfile {name} were edited by somebody else; {advice}"
    if snapshot.carrying is not None:
        return ""
    if exact != snapshot.expected:
        instead = f"{exact / 100:g} % instead of {snapshot.expected / 100:g} %"
        return f"somebody else set ServiceProfile {name} to {instead}; {advice}"
    return ""


def _listed(names: list[str]) -> str:
    return " and ".join(dict.fromkeys(names)) or "nothing"
