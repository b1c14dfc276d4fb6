"""The canary strategy of an Argo Rollout -> the steps of a deploy file."""

from __future__ import annotations

from strategies.importing.argo_analysis import read_analysis
from strategies.importing.draft import Draft, Part, Step, analyses, approval, background, pause, set_weight
from strategies.importing.input_file import InputFile, InputObject
from strategies.importing.requests import (
    SINGLE_OUT,
    end_header_route,
    fit_to,
    read_matches,
    set_header_route,
    set_mirror,
    without_idle,
)
from strategies.importing.subjects import Lost, Subject, full_path
from strategies.places import Place

_BY_HAND = "there is no such step; leave it out, or do it by a webhook (runWebhook)"
_WITHOUT_ISTIO = "only a route of Istio or the Gateway API tells requests apart here; test the new version by its canary Service"
_STEPS_LOST: dict[str, tuple[str, str]] = {
    "setCanaryScale": (
        "set the number of the new version's pods apart from its share of the traffic",
        "Headgate sizes the new version itself: in full with a mesh, by the share without one",
    ),
    "setHeaderRoute": ("sent requests with a certain header to the new version", _WITHOUT_ISTIO),
    "setMirrorRoute": ("sent a copy of requests to the new version", _WITHOUT_ISTIO),
    "experiment": ("ran other ReplicaSets beside the rollout for a while", _BY_HAND),
    "plugin": ("ran a plugin of Argo", _BY_HAND),
}
_BY_THE_PLUGIN = {
    "setMirrorRoute": ("mirrored nothing, as Argo's plugin does not", "write a setMirror step to have copies of requests sent")
}
_LOST: Lost = {
    "maxSurge": (
        "bounded the pods above the wanted number",
        "Headgate keeps the number of available pods, and adds one before it takes one away",
    ),
    "maxUnavailable": (
        "bounded the missing pods",
        "Headgate keeps the number of available pods, and adds one before it takes one away",
    ),
    "dynamicStableScale": (
        "took pods from the old version as its share fell",
        "with a mesh the old version keeps its pods to the end, so that a way back is always there",
    ),
    "minPodsPerReplicaSet": ("was the least number of pods of a version", "with a mesh both versions are complete"),
    "scaleDownDelayRevisionLimit": ("bounded the old versions that wait", "there is never more than one old version"),
    "abortScaleDownDelaySeconds": (
        "kept the new version's pods for a while after an abort",
        "deploymentConfig.settle holds in both directions",
    ),
    "replicaProgressThreshold": (
        "let a step begin before all pods were available",
        "every step waits for all of the pods that it needs",
    ),
    "antiAffinity": ("kept the versions on separate nodes", "write the affinity into the Deployment's template"),
    "canaryMetadata": (
        "labelled the new version's pods for the time of the rollout",
        "the versions are told apart by pod-template-hash",
    ),
    "stableMetadata": (
        "labelled the old version's pods for the time of the rollout",
        "the versions are told apart by pod-template-hash",
    ),
    "pingPong": ("let two Services take turns as the stable one", "the root Service stays the same here"),
}


def read_canary(rollout: Subject, canary: Place, file: InputFile, item: InputObject, draft: Draft) -> None:
    rollout.lose(canary, _LOST)
    most = rollout.number(canary.get("trafficRouting"), "maxTrafficWeight") or 100
    written = canary.get("steps")
    for index, step in enumerate(canary.items("steps")):
        before = len(draft.steps)
        _read_step(rollout, step, index, most, file, item, draft)
        if draft.last_words and len(draft.steps) > before:
            first = draft.steps[before]
            first.above = (*draft.last_words, *first.above)
            draft.last_words.clear()
    draft.steps, idle = without_idle(draft.steps)
    places = list(canary.items("steps"))
    for one in idle:
        rollout.changed(places[one.origin], "singled out requests, and nothing waited meanwhile", "it is left out")
    beside = canary.get("analysis")
    if beside is not None:
        _read_background(rollout, beside, file, item, draft)
    if written is None or not any(True for _ in written.items()):
        place = written if written is not None else canary
        rollout.note(
            place,
            "has no steps: Argo replaced the pods bit by bit",
            "here the new version comes up beside the old one, and then takes over at once; add steps to go slower",
        )


def _read_step(rollout: Subject, step: Place, index: int, most: float, file: InputFile, item: InputObject, draft: Draft) -> None:
    kinds = step.names
    if (weight := rollout.number(step, "setWeight")) is not None and (place := step.get("setWeight")) is not None:
        share = round(weight * 100 / most, 2)
        if not 0 <= share <= 100:
            rollout.error(place, f"is {weight:g}; expected a weight from 0 to {most:g}")
            return
        draft.steps.append(Step(set_weight(share), index))
    elif "pause" in kinds:
        _read_pause(rollout, step, index, draft)
    elif (measuring := step.get("analysis")) is not None:
        _read_analysis_step(rollout, measuring, index, file, item, draft)
    elif (singled := _read_singling_out(rollout, step, draft)) is not None:
        draft.steps.append(Step(singled, index))
    else:
        lost = [kind for kind in kinds if kind in _STEPS_LOST]
        rollout.lose(step, _STEPS_LOST | _BY_THE_PLUGIN if "gatewayApi" in draft.traffic else _STEPS_LOST)
        line = f"not carried over: {full_path(step)} ({', '.join(lost) or 'not known'})"
        draft.last_words.append(line)


def _read_singling_out(rollout: Subject, step: Place, draft: Draft) -> Part | None:
    """A header route or a mirror; None where it is another step, or one that cannot be carried over."""
    router = next((one for one in SINGLE_OUT if one in draft.traffic), "")
    if router and (route := step.get("setHeaderRoute")) is not None:
        return _read_header_route(rollout, route, router)
    mirror = step.get("setMirrorRoute")
    if mirror is None or router != "istio":  # Argo's plugin for the Gateway API mirrors nothing.
        return None
    matches, share = list(mirror.items("match")), mirror.get("percentage")
    if not matches and "match" not in mirror.names:
        rollout.finish(mirror)
        return set_mirror(0)
    whole = [match for match in matches if match.names == ("path",) and match.at("path", "prefix") is not None]
    percent = share.number if share is not None else 100
    if len(whole) != len(matches) or any(match.at("path", "prefix").text != "/" for match in whole):  # type: ignore[union-attr]
        return None
    if percent is None or not 0 <= percent <= 100:
        return None
    rollout.finish(mirror)
    return set_mirror(percent)


def _read_header_route(rollout: Subject, route: Place, router: str) -> Part | None:
    name, entries = route.get("name"), list(route.items("match"))
    if name is None or name.text is None or not name.text.isprintable() or len(name.text) > 253:
        return None
    if not entries:
        rollout.finish(route)
        return end_header_route(name.text)
    matches = read_matches(entries)
    fitting = fit_to(router, matches) if not isinstance(matches, str) else matches
    if isinstance(fitting, str):
        return None
    rollout.finish(route)
    return set_header_route(name.text, fitting)


def _read_pause(rollout: Subject, step: Place, index: int, draft: Draft) -> None:
    place = rollout.take(step, "pause")
    if place is None or place.get("duration") is None:
        draft.steps.append(Step(approval(), index, beside="headgate approve"))
        return
    seconds = rollout.seconds(place, "duration")
    if seconds is not None:
        draft.steps.append(Step(pause(seconds), index))


def _read_analysis_step(rollout: Subject, place: Place, index: int, file: InputFile, item: InputObject, draft: Draft) -> None:
    measured = read_analysis(rollout, place, file, item, draft)
    if not measured:
        rollout.changed(
            place,
            "has nothing left to measure; an approval stands in its place, so that a person looks",
            "put the analysis back in its place by hand",
        )
        words = (f"in the place of {full_path(place)}, of which nothing could be carried over",)
        draft.steps.append(Step(approval(), index, above=words))
        return
    steps = analyses(measured)
    if len({(one.delay, one.interval, one.count, one.budget) for one in measured}) > 1:
        rollout.changed(
            place,
            "measured everything at the same time, in several rhythms",
            "one step for each rhythm here, one after the other",
        )
    for one in measured:
        if one.count is None:
            rollout.changed(place, f"measured {one.query} without an end", "once here; set numberOfJudgmentRuns in the step")
    draft.steps.extend(Step(body, index) for body in steps)


# --- background analysis -----------------------------------------------------------------------------------------------


def _read_background(rollout: Subject, place: Place, file: InputFile, item: InputObject, draft: Draft) -> None:
    measured = read_analysis(rollout, place, file, item, draft)
    start = rollout.integer(place, "startingStep")
    if start and (starting := place.get("startingStep")) is not None:
        rollout.changed(starting, f"began to measure with step {start + 1}", "a background analysis begins with the first step")
    for one in measured:
        if one.delay or (one.count or 0) > 1:
            rollout.changed(
                place, f"measured {one.query} later, or so many times only", "here it is measured from the beginning to the end"
            )
    draft.background = background(measured)
