"""A Flagger Canary -> a deploy file: its target, its analysis as steps, and its Service."""

from __future__ import annotations

from strategies.importing.draft import Draft, Measured, Step, analysis, approval, pause, run_webhook, set_weight
from strategies.importing.flagger_clients import read_affinity, read_mirror
from strategies.importing.flagger_metrics import read_metrics
from strategies.importing.flagger_traffic import Mesh, read_provider, read_service
from strategies.importing.flagger_webhooks import Hooks, read_webhooks
from strategies.importing.go_durations import duration
from strategies.importing.input_file import InputFile, InputObject
from strategies.importing.manifests import Manifests, gather
from strategies.importing.requests import SINGLE_OUT, fit_to, read_matches, set_header_route, set_mirror, without_idle
from strategies.importing.subjects import Lost, Subject
from strategies.places import Place
from strategies.suggestions import quote

_LEAST_INTERVAL = 10.0
_DEADLINE_SECONDS = 600
_PLACEHOLDER_WEIGHT = 10.0
_ROUTE_SOURCES: Lost = dict.fromkeys(
    ("ingressRef", "routeRef", "upstreamRef"),
    ("names the object that Flagger copied its routes from", "keep that object as it is; Headgate does not copy it"),
)
_LOST: Lost = {
    "suspend": ("held the Canary", "hold a rollout with: headgate pause APPLICATION"),
    **_ROUTE_SOURCES,
}
_WITHOUT_ISTIO = "a canary by Istio or the Gateway API can do that here; use the mesh's own means, or leave it out"
_ANALYSIS_LOST: Lost = {
    "stepWeightPromotion": (
        "gave the traffic back to the primary pods in steps",
        "there is no way back: the tested pods are the ones that serve",
    ),
    "mirror": ("sent a copy of requests to the new version", _WITHOUT_ISTIO),
    "mirrorWeight": ("was the share of copied requests", _WITHOUT_ISTIO),
    "sessionAffinity": ("kept a client with the version that it met first", _WITHOUT_ISTIO),
    "primaryReadyThreshold": ("let some of the pods be not ready", "all pods have to be ready here"),
    "canaryReadyThreshold": ("let some of the pods be not ready", "all pods have to be ready here"),
    "alerts": ("sent messages to a chat", "follow the daemon's API, or call a webhook as a step"),
}


def import_canary(item: InputObject, file: InputFile, draft: Draft) -> Manifests:
    canary = file.subject(item)
    spec = item.place.get("spec")
    if spec is None:
        canary.error(item.place, 'has no "spec"')
        return Manifests()
    target = _read_target(canary, spec)
    manifests = gather(file, item, target, made_here=False)
    analysed = spec.get("analysis") or spec.get("canaryAnalysis")
    iterations = canary.integer(analysed, "iterations") or 0
    matched = analysed.get("match") if analysed is not None else None
    mesh = read_provider(canary, spec)
    draft.is_blue_green = mesh is Mesh.NONE or (iterations > 0 and matched is None)
    draft.strategy = "blue-green" if draft.is_blue_green else "canary"
    apex = read_service(canary, item, spec, target, mesh, manifests, draft)
    _read_the_rest(canary, spec, draft)
    if analysed is None:
        canary.error(spec, 'has no "analysis"')
        return manifests
    copied = read_mirror(canary, analysed, draft) if not canary.boolean(spec, "skipAnalysis") else None
    read_affinity(canary, analysed, draft)
    inner = _Analysis(canary, analysed, iterations, matched)
    metrics = read_metrics(canary, analysed, file, item, target, apex, mesh, spec, draft)
    hooks = read_webhooks(canary, analysed, item, draft)
    if canary.boolean(spec, "skipAnalysis"):
        canary.note(
            spec.get("skipAnalysis") or spec,
            "promoted as soon as the new version was ready",
            "so does this file: its strategy has no steps; the queries and webhooks are kept for later",
        )
        inner.mark()
    elif draft.is_blue_green:
        _write_blue_green(inner, metrics, hooks, draft)
    else:
        if copied is not None and matched is None:
            draft.steps += [Step(set_mirror(copied)), _check(inner, metrics, 1), Step(set_mirror(0))]
        _write_canary(inner, metrics, hooks, draft)
    draft.steps, _ = without_idle(draft.steps)
    return manifests


def _read_target(canary: Subject, spec: Place) -> str:
    reference = spec.get("targetRef")
    kind, name = canary.text(reference, "kind"), canary.text(reference, "name")
    canary.text(reference, "apiVersion")
    if reference is None or name is None:
        canary.error(reference or spec, 'has no "targetRef" with the name of a Deployment')
        return ""
    if kind != "Deployment":
        canary.error(
            reference.get("kind") or reference,
            f"is {quote(kind or '')}; Headgate rolls out Deployments only, so leave this one to Flagger",
        )
    return name


def _read_the_rest(canary: Subject, spec: Place, draft: Draft) -> None:
    canary.lose(spec, {key: lost for key, lost in _LOST.items() if not (key == "ingressRef" and "ingressNginx" in draft.traffic)})
    seconds = canary.integer(spec, "progressDeadlineSeconds")
    draft.config["timeout"] = duration(seconds if seconds is not None else _DEADLINE_SECONDS, least=60)
    if seconds is not None and seconds < 60 and (place := spec.get("progressDeadlineSeconds")) is not None:
        canary.changed(place, "was shorter than a minute, which is the least here")
    if (scaler := canary.take(spec, "autoscalerRef")) is not None:
        canary.note(
            scaler,
            "needs nothing here: the autoscaler stays on the Deployment, and the new version follows its size",
            "delete the copy that Flagger made, whose name ends in -primary",
        )
    if (reverts := spec.get("revertOnDeletion")) is not None:
        canary.note(
            reverts,
            "matters once more when the Canary is deleted",
            "with true, Flagger scales the Deployment up and gives the Service back its selector by itself",
        )
    else:
        canary.note(
            spec,
            "Flagger has scaled the Deployment to 0 and pointed the Service to its own copy, NAME-primary",
            "set revertOnDeletion: true before the Canary is deleted, and wait until the Deployment serves again",
        )


# --- the analysis as steps -------------------------------------------------------------------------------------------------


class _Analysis:
    """The rhythm of the ticks and the weights of a Canary's analysis."""

    def __init__(self, canary: Subject, place: Place, iterations: int, matched: Place | None) -> None:
        self.canary, self.place, self.iterations, self.matched = canary, place, iterations, matched
        written = canary.seconds(place, "interval")
        self.interval = max(written if written is not None else 60.0, _LEAST_INTERVAL)
        if written is not None and written < _LEAST_INTERVAL and (interval := place.get("interval")) is not None:
            canary.note(interval, "was read as 10 seconds by Flagger, which is its least; so it is here")
        self.threshold = canary.integer(place, "threshold") or 1
        canary.lose(place, {key: lost for key, lost in _ANALYSIS_LOST.items() if not canary.is_finished(place, key)})

    def mark(self) -> None:
        """What is not needed, because nothing is analysed."""
        for key in ("maxWeight", "stepWeight", "stepWeights", "match", "iterations"):
            self.canary.take(self.place, key)

    @property
    def budget(self) -> int:
        return self.threshold - 1

    def explain_threshold(self) -> None:
        if self.budget and (place := self.place.get("threshold")) is not None:
            self.canary.changed(
                place,
                f"forgave {self.budget} failed checks in the whole run, and held the weight until one passed",
                "here the first failed one undoes the rollout; a query without data is measured again for as long as "
                f"noDataBudget lasts. A backgroundAnalysis with failureBudget: {self.budget} forgives as many, and lets "
                "the weight rise meanwhile",
            )

    def weights(self) -> list[float]:
        step = self.canary.number(self.place, "stepWeight") or 0.0
        most = self.canary.number(self.place, "maxWeight")
        most = 100.0 if most is None else most
        written = self.place.get("stepWeights")
        listed = [weight.number for weight in self.place.items("stepWeights") if weight.number is not None]
        self.canary.take(self.place, "stepWeights")
        if step > 0:
            return _rising(step, most)
        if written is not None and listed:
            outside = [weight for weight in listed if not 0 <= weight <= 100]
            if outside:
                self.canary.error(written, f"holds {outside[0]:g}; expected weights from 0 to 100")
            return [float(weight) for weight in listed]
        return []


def _rising(step: float, most: float) -> list[float]:
    weights: list[float] = []
    weight = 0.0
    while weight < most and weight < 100 and len(weights) < 1_000:
        weight = min(weight + max(step, 0.01), 100.0)
        weights.append(round(weight, 2))
    return weights


def _write_canary(inner: _Analysis, metrics: list[Measured], hooks: Hooks, draft: Draft) -> None:
    draft.steps.extend(Step(run_webhook(name)) for name in hooks.before_traffic)
    if inner.matched is not None:
        _write_matched(inner, metrics, hooks, draft)
        return
    inner.explain_threshold()
    weights = inner.weights()
    if not weights:
        inner.canary.note(
            inner.place, "has neither stepWeight nor stepWeights, so Flagger never went on", "add steps to the strategy"
        )
    for weight in weights:
        if hooks.confirms_increase:
            draft.steps.append(Step(approval(), beside="confirm-traffic-increase"))
        draft.steps.append(Step(set_weight(weight)))
        draft.steps.append(_check(inner, metrics, 1))
        draft.steps.extend(Step(run_webhook(name)) for name in hooks.during)
    if hooks.confirms_promotion:
        draft.steps.append(Step(approval(), beside="confirm-promotion"))


def _check(inner: _Analysis, metrics: list[Measured], runs: int) -> Step:
    """One tick or several: the metrics, or the time alone where there are none."""
    if not metrics:
        return Step(pause(inner.interval * runs))
    return Step(analysis(metrics, inner.interval, runs, inner.budget))


def _write_matched(inner: _Analysis, metrics: list[Measured], hooks: Hooks, draft: Draft) -> None:
    assert inner.matched is not None
    router = next((one for one in SINGLE_OUT if one in draft.traffic), "")
    matches = read_matches(list(inner.matched.items())) if router else ""
    matches = fit_to(router, matches) if not isinstance(matches, str) else matches
    if not isinstance(matches, str):
        inner.canary.finish(inner.matched)
        draft.steps.append(Step(set_header_route("flagger", matches)))
    else:
        _ask_for_a_share(inner, inner.matched, draft)
    inner.mark()
    draft.steps.append(_check(inner, metrics, max(inner.iterations, 1)))
    draft.steps.extend(Step(run_webhook(name)) for name in hooks.during)
    if hooks.confirms_promotion:
        draft.steps.append(Step(approval(), beside="confirm-promotion"))


def _ask_for_a_share(inner: _Analysis, matched: Place, draft: Draft) -> None:
    inner.canary.fill_in(
        matched,
        "sent requests with certain headers or cookies to the new version, and no others",
        f"they cannot be told apart here: choose a share in the place of {_PLACEHOLDER_WEIGHT:g} %, or keep Flagger here",
    )
    draft.steps.append(Step(set_weight(_PLACEHOLDER_WEIGHT), beside="FILL IN: headers chose the requests before"))


def _write_blue_green(inner: _Analysis, metrics: list[Measured], hooks: Hooks, draft: Draft) -> None:
    if inner.matched is not None:
        inner.canary.lost(inner.matched, "chose requests by header", "blue/green moves all traffic at once")
    runs = inner.iterations or 10
    inner.mark()
    checks = [Step(run_webhook(name)) for name in (*hooks.before_traffic, *hooks.during)]
    checks.append(_check(inner, metrics, runs))
    if hooks.confirms_increase or hooks.confirms_promotion:
        checks.append(Step(approval(), beside="confirm-promotion"))
    draft.redirect_after.extend(checks)
    if len(checks) > 1:
        inner.canary.note(inner.place, "checked one thing after the other", "the conditions run at the same time here")
