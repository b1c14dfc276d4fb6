"""The blue/green strategy of an Argo Rollout -> the conditions of a deploy file."""

from __future__ import annotations

from strategies.importing.argo_analysis import read_analysis
from strategies.importing.draft import Draft, Part, Step, analyses, approval, pause
from strategies.importing.input_file import InputFile, InputObject
from strategies.importing.manifests import Manifests
from strategies.importing.subjects import Lost, Subject, full_path
from strategies.places import Place
from strategies.traffic_matching import DeploymentFacts

_DEFAULT_DELAY = 30
_LOST: Lost = {
    "previewReplicaCount": (
        "kept the new version small until it was promoted",
        "the new version comes up at its full size here",
    ),
    "scaleDownDelayRevisionLimit": ("bounded the old versions that wait", "there is never more than one old version"),
    "abortScaleDownDelaySeconds": ("kept the new version's pods for a while after an abort", "they go at once here"),
    "antiAffinity": ("kept the versions on separate nodes", "write the affinity into the Deployment's template"),
    "previewMetadata": (
        "labelled the new version's pods until it was promoted",
        "the versions are told apart by pod-template-hash",
    ),
    "activeMetadata": ("labelled the active version's pods", "the versions are told apart by pod-template-hash"),
    "maxUnavailable": ("bounded the missing pods of a restart", "nothing is restarted here"),
}


def read_blue_green(rollout: Subject, place: Place, file: InputFile, item: InputObject, draft: Draft) -> None:
    draft.is_blue_green, draft.strategy = True, "blue-green"
    rollout.lose(place, _LOST)
    active, preview = rollout.text(place, "activeService"), rollout.text(place, "previewService")
    if active is None:
        rollout.error(place, 'has no "activeService"')
        return
    services: Part = {"activeService": active}
    if preview is not None and preview != active:
        services["previewService"] = preview
    draft.traffic = {"kubernetes": [services]}
    draft.redirect_after.extend(_measure(rollout, place, "prePromotionAnalysis", file, item, draft))
    automatic = rollout.boolean(place, "autoPromotionEnabled")
    seconds = rollout.integer(place, "autoPromotionSeconds")
    if seconds:
        draft.redirect_after.append(Step(pause(seconds)))
    elif automatic is False and not any(step.is_approval for step in draft.redirect_after):
        draft.redirect_after.append(Step(approval(), beside="headgate approve"))
    draft.shut_down_after.extend(_measure(rollout, place, "postPromotionAnalysis", file, item, draft))
    delay = rollout.integer(place, "scaleDownDelaySeconds")
    if delay is None:
        draft.shut_down_after.append(Step(pause(_DEFAULT_DELAY), beside="Argo's default"))
    elif delay:
        draft.shut_down_after.append(Step(pause(delay)))
    for conditions, key in (
        (draft.redirect_after, "prePromotionAnalysis"),
        (draft.shut_down_after, "postPromotionAnalysis"),
    ):
        if len(conditions) > 1 and (analysed := place.get(key)) is not None:
            rollout.note(analysed, "came before the wait", "the conditions of one list run at the same time here")


def check_pair(rollout: Subject, place: Place, manifests: Manifests, pods: DeploymentFacts | None, draft: Draft) -> None:
    """Whether the Services of the input can be redirected; a preview that cannot is left out."""
    active, preview = place.get("activeService"), place.get("previewService")
    if active is not None and active.text is not None and (why := manifests.why_not_root(active.text, pods)):
        rollout.error(active, f"cannot be redirected: {why}")
    if preview is not None and preview.text is not None and (why := manifests.why_not_root(preview.text, pods)):
        rollout.lost(preview, f"cannot show the new version: {why}", "correct the Service and import again")
        draft.traffic = {"kubernetes": [{"activeService": active.text if active is not None else None}]}


def _measure(rollout: Subject, place: Place, key: str, file: InputFile, item: InputObject, draft: Draft) -> list[Step]:
    analysed = place.get(key)
    if analysed is None:
        return []
    measured = read_analysis(rollout, analysed, file, item, draft)
    if not measured:
        rollout.changed(
            analysed,
            "has nothing left to measure; an approval stands in its place, so that a person looks",
            "put the analysis back in its place by hand",
        )
        return [Step(approval(), above=(f"in the place of {full_path(analysed)}",))]
    if any(one.delay for one in measured):
        rollout.changed(analysed, "waited for a while before it measured", "it begins at once here")
        for one in measured:
            one.delay = 0.0
    return [Step(body) for body in analyses(measured)]
