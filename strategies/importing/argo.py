"""An Argo Rollout -> a deploy file: its workload, its strategy and its routers."""

from __future__ import annotations

from typing import Any

from strategies.importing.argo_blue_green import check_pair, read_blue_green
from strategies.importing.argo_canary import read_canary
from strategies.importing.argo_traffic import read_traffic
from strategies.importing.draft import Draft
from strategies.importing.go_durations import duration
from strategies.importing.input_file import HASH_OF_ARGO, InputFile, InputObject
from strategies.importing.manifests import JsonObject, Manifests, gather, inside, pod_labels, pods_of
from strategies.importing.subjects import Lost, Subject
from strategies.kubernetes_kinds import SERVICE
from strategies.places import Place
from strategies.suggestions import quote
from strategies.traffic_matching import DeploymentFacts
from strategies.yaml_document import to_plain

_LOST: Lost = {
    "paused": ("held the Rollout", "hold a rollout with: headgate pause APPLICATION"),
    "restartAt": ("restarted the pods", "use kubectl rollout restart on the Deployment"),
    "rollbackWindow": ("skipped the steps on the way back to a recent version", "headgate rollback has no steps at all"),
    "analysis": ("bounded the AnalysisRuns that are kept", "the journal keeps every measurement"),
}
_OF_THE_DEPLOYMENT = ("minReadySeconds", "revisionHistoryLimit")
_NOTIFICATIONS = "notifications.argoproj.io/"


def import_rollout(item: InputObject, file: InputFile, draft: Draft) -> Manifests:
    rollout = file.subject(item)
    spec = item.place.get("spec")
    if spec is None:
        rollout.error(item.place, 'has no "spec"')
        return Manifests()
    reference = spec.get("workloadRef")
    workload = item.name
    if reference is not None:
        workload = rollout.text(reference, "name") or item.name
    manifests = gather(file, item, workload, made_here=reference is None)
    if reference is not None:
        _follow_reference(rollout, spec, reference, workload, manifests)
    else:
        _make_deployment(rollout, item, spec, manifests)
    for scaler in manifests.follow_workload("Rollout", item.name, workload):
        name = item.place.at("metadata", "name") or item.place
        rollout.note(name, f"the {scaler} scaled this Rollout, and scales the Deployment {quote(workload)} here")
    _read_deadline(rollout, spec, draft)
    rollout.lose(spec, _LOST)
    _read_annotations(rollout, item)
    pods = _pods(manifests, workload)
    canary, blue_green = spec.at("strategy", "canary"), spec.at("strategy", "blueGreen")
    strategy = spec.get("strategy")
    if blue_green is not None:
        read_blue_green(rollout, blue_green, file, item, draft)
        check_pair(rollout, blue_green, manifests, pods, draft)
        _warn_of_pinned(rollout, blue_green)
    elif canary is not None:
        read_traffic(rollout, canary, item, manifests, pods, draft)
        read_canary(rollout, canary, file, item, draft)
        _warn_of_pinned(rollout, canary)
    elif strategy is not None and "canary" in strategy.names:
        rollout.note(strategy, "has no steps: the new version takes over at once; add steps to go slower")
    else:
        rollout.error(strategy or spec, 'has neither "canary" nor "blueGreen"')
    return manifests


def _pods(manifests: Manifests, workload: str) -> DeploymentFacts | None:
    deployment = manifests.deployment(workload)
    if deployment is None:
        return None
    return pods_of(workload, pod_labels(deployment))


# --- the workload --------------------------------------------------------------------------------------------------------


def _make_deployment(rollout: Subject, item: InputObject, spec: Place, manifests: Manifests) -> None:
    template, selector = rollout.take(spec, "template"), rollout.take(spec, "selector")
    if template is None or selector is None:
        missing = "template" if template is None else "selector"
        rollout.error(spec, f'has no "{missing}"; a Rollout has its own template and selector, or a "workloadRef"')
        return
    body: JsonObject = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": _metadata(item),
        "spec": {
            **_settings(rollout, spec),
            "selector": to_plain(selector.node),
            "template": to_plain(template.node),
        },
    }
    manifests.add(body)
    rollout.note(
        template,
        f"is the template of a Deployment {quote(item.name)} here",
        "remove the Rollout from the cluster once the Deployment serves; until then both have pods",
    )


def _metadata(item: InputObject) -> dict[str, Any]:
    written = item.place.get("metadata")
    plain = to_plain(written.node) if written is not None else {}
    kept: dict[str, Any] = {"name": item.name}
    for key in ("labels", "annotations"):
        found = plain.get(key)
        if isinstance(found, dict):
            kept[key] = {name: value for name, value in found.items() if not str(name).startswith(_NOTIFICATIONS)}
    return {key: value for key, value in kept.items() if value}


def _settings(rollout: Subject, spec: Place) -> dict[str, Any]:
    """The fields of the spec that mean the same in a Deployment's."""
    found = {key: rollout.integer(spec, key) for key in ("replicas", *_OF_THE_DEPLOYMENT)}
    return {key: value for key, value in found.items() if value is not None}


def _follow_reference(rollout: Subject, spec: Place, reference: Place, workload: str, manifests: Manifests) -> None:
    kind = rollout.text(reference, "kind")
    rollout.text(reference, "apiVersion")
    if (scale_down := reference.get("scaleDown")) is not None:
        rollout.lost(
            scale_down,
            "scaled the Deployment to 0, because the Rollout had the pods",
            "the Deployment's own pods serve here; scale it up before the Rollout goes",
        )
    if kind != "Deployment":
        rollout.error(reference.get("kind") or reference, f"is {quote(kind or '')}; only a Deployment can be rolled out")
        return
    settings = _settings(rollout, spec)
    deployment = manifests.deployment(workload)
    of_deployment = inside(deployment, "spec")
    if not isinstance(of_deployment, dict):
        return
    changed = {key: value for key, value in settings.items() if of_deployment.get(key) != value}
    of_deployment.update(changed)
    if changed:
        named = ", ".join(f"{key}: {value}" for key, value in changed.items())
        rollout.note(reference, f"the Deployment gets what the Rollout said: {named}")


# --- the rest of the spec --------------------------------------------------------------------------------------------------


def _read_deadline(rollout: Subject, spec: Place, draft: Draft) -> None:
    seconds = rollout.integer(spec, "progressDeadlineSeconds")
    aborts = rollout.boolean(spec, "progressDeadlineAbort")
    if seconds is None:
        return
    draft.config["timeout"] = duration(seconds, least=60)
    place = spec.get("progressDeadlineSeconds")
    if not aborts and place is not None:
        rollout.changed(place, "only marked the Rollout as degraded", "here a version that is not ready in time is undone")
    if seconds < 60 and place is not None:
        rollout.changed(place, "was shorter than a minute, which is the least here")


def _read_annotations(rollout: Subject, item: InputObject) -> None:
    annotations = item.place.at("metadata", "annotations")
    for key, place in annotations.entries() if annotations is not None else ():
        if key.startswith(_NOTIFICATIONS):
            rollout.lost(place, "subscribed to notifications", "follow the daemon's API, or call a webhook as a step")


def _warn_of_pinned(rollout: Subject, strategy: Place) -> None:
    for key in ("stableService", "canaryService", "activeService", "previewService"):
        place = strategy.get(key)
        if place is not None and place.text is not None:
            rollout.note(
                place,
                f"Argo wrote {HASH_OF_ARGO} into the selector of the {SERVICE.kind} {quote(place.text)}",
                "take it out when Argo no longer looks after it: kubectl patch service "
                f"{place.text} --type=json -p "
                f'\'[{{"op":"remove","path":"/spec/selector/{HASH_OF_ARGO}"}}]\'',
            )
