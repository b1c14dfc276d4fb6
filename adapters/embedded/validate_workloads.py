"""What Deployments, ReplicaSets, StatefulSets, DaemonSets and autoscalers must be, and what of them may not change.

The rules and words are those of pkg/apis/apps/validation and pkg/apis/autoscaling/validation of Kubernetes.
"""

from __future__ import annotations

from adapters.embedded.errors import BadRequest
from adapters.embedded.field_errors import FieldErrors
from adapters.embedded.json_objects import JsonObject, value_at
from adapters.embedded.resources import DAEMON_SETS, DEPLOYMENTS, REPLICA_SETS, STATEFUL_SETS, Resource
from adapters.embedded.selectors import label_selector_of
from adapters.embedded.validate_pods import check_pod_spec

WORKLOADS = frozenset({kind.storage_key for kind in (DEPLOYMENTS, REPLICA_SETS, STATEFUL_SETS, DAEMON_SETS)})

_MISMATCH = "`selector` does not match template `labels`"
_STRATEGIES = ("Recreate", "RollingUpdate")
_STATEFUL_SET_CHANGEABLE = (
    "replicas",
    "ordinals",
    "template",
    "updateStrategy",
    "revisionHistoryLimit",
    "persistentVolumeClaimRetentionPolicy",
    "minReadySeconds",
)


def check_workload(errors: FieldErrors, resource: Resource, obj: JsonObject) -> None:
    """A workload on its own."""
    spec = obj.get("spec") or {}
    for field in ("replicas", "minReadySeconds", "revisionHistoryLimit", "progressDeadlineSeconds"):
        errors.check_not_negative(f"spec.{field}", spec.get(field))
    _check_selector(errors, resource, spec)
    template = spec.get("template") or {}
    labels = value_at(template, "metadata", "labels") or {}
    errors.check_labels("spec.template.metadata.labels", labels)
    pod = template.get("spec") or {}
    check_pod_spec(errors, "spec.template.spec", pod)
    if pod.get("restartPolicy") not in {"Always", None} and pod.get("containers"):
        errors.unsupported("spec.template.spec.restartPolicy", pod["restartPolicy"], ["Always"])
    if resource == DEPLOYMENTS:
        _check_strategy(errors, spec)


def _check_selector(errors: FieldErrors, resource: Resource, spec: JsonObject) -> None:
    selector = spec.get("selector")
    labels = value_at(spec, "template", "metadata", "labels") or {}
    if selector is None:
        errors.required("spec.selector")
        errors.invalid("spec.template.metadata.labels", labels, _MISMATCH)
        return
    errors.check_labels("spec.selector.matchLabels", selector.get("matchLabels") or {})
    if not selector.get("matchLabels") and not selector.get("matchExpressions"):
        kind = {STATEFUL_SETS: "statefulset", DAEMON_SETS: "daemonset"}.get(resource, "deployment")
        errors.invalid("spec.selector", selector, f"empty selector is invalid for {kind}")
        return
    try:
        matches = label_selector_of(selector)(labels)
    except BadRequest as error:
        errors.invalid("spec.selector.matchExpressions", selector, error.message)
        return
    if not matches:
        errors.invalid("spec.template.metadata.labels", labels, _MISMATCH)


def _check_strategy(errors: FieldErrors, spec: JsonObject) -> None:
    strategy = spec.get("strategy") or {}
    errors.check_one_of("spec.strategy.type", strategy.get("type"), _STRATEGIES)
    rolling = strategy.get("rollingUpdate")
    if strategy.get("type") == "Recreate" and rolling is not None:
        detail = "may not be specified when strategy `type` is 'Recreate'"
        errors.forbidden("spec.strategy.rollingUpdate", detail)
    elif strategy.get("type") == "RollingUpdate":
        rolling = rolling or {}
        for field in ("maxUnavailable", "maxSurge"):
            _check_share(errors, f"spec.strategy.rollingUpdate.{field}", rolling.get(field))
        if _is_nothing(rolling.get("maxUnavailable")) and _is_nothing(rolling.get("maxSurge")):
            detail = "may not be 0 when `maxSurge` is 0"
            errors.invalid("spec.strategy.rollingUpdate.maxUnavailable", rolling.get("maxUnavailable"), detail)
    deadline, ready = spec.get("progressDeadlineSeconds"), spec.get("minReadySeconds") or 0
    if isinstance(deadline, int) and deadline <= ready:
        errors.invalid("spec.progressDeadlineSeconds", deadline, "must be greater than minReadySeconds")


def _check_share(errors: FieldErrors, field: str, value: object) -> None:
    if isinstance(value, str) and not (value.endswith("%") and value[:-1].isdigit()):
        detail = (
            "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex "
            "used for validation is '[0-9]+%')"
        )
        errors.invalid(field, value, detail)
    errors.check_not_negative(field, value)


def _is_nothing(value: object) -> bool:
    return value in {0, "0%"}


def check_workload_change(errors: FieldErrors, resource: Resource, new: JsonObject, old: JsonObject) -> None:
    """A workload's selector stays as it is; of a StatefulSet most things do."""
    spec, former = new.get("spec") or {}, old.get("spec") or {}
    if resource == STATEFUL_SETS:
        fixed = {key: value for key, value in spec.items() if key not in _STATEFUL_SET_CHANGEABLE}
        if fixed != {key: value for key, value in former.items() if key not in _STATEFUL_SET_CHANGEABLE}:
            names = ", ".join(f"'{name}'" for name in _STATEFUL_SET_CHANGEABLE[:-1])
            errors.forbidden(
                "spec",
                "updates to statefulset spec for fields other than "
                f"{names} and '{_STATEFUL_SET_CHANGEABLE[-1]}' are forbidden",
            )
    elif spec.get("selector") != former.get("selector"):
        errors.invalid("spec.selector", spec.get("selector"), "field is immutable")


def check_autoscaler(errors: FieldErrors, obj: JsonObject) -> None:
    """A HorizontalPodAutoscaler on its own."""
    spec = obj.get("spec") or {}
    target = spec.get("scaleTargetRef") or {}
    for field in ("kind", "name"):
        if not target.get(field):
            errors.required(f"spec.scaleTargetRef.{field}")
    least, most = spec.get("minReplicas"), spec.get("maxReplicas") or 0
    if isinstance(least, int) and least < 1:
        errors.invalid("spec.minReplicas", least, "must be greater than or equal to 1")
    if most < 1:
        errors.invalid("spec.maxReplicas", most, "must be greater than 0")
    elif isinstance(least, int) and most < least:
        errors.invalid("spec.maxReplicas", most, "must be greater than or equal to `minReplicas`")
