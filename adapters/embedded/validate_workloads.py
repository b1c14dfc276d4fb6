"""What Deployments, ReplicaSets, StatefulSets and DaemonSets must be, and what of them may not change.

The rules and words are those of pkg/apis/apps/validation of Kubernetes.
"""

from __future__ import annotations

from adapters.embedded.field_errors import FieldErrors
from adapters.embedded.json_objects import JsonObject, value_at
from adapters.embedded.resources import DAEMON_SETS, DEPLOYMENTS, REPLICA_SETS, STATEFUL_SETS, Resource
from adapters.embedded.selectors import label_selector_of
from adapters.embedded.validate_pods import check_pod_spec

WORKLOADS = frozenset({kind.storage_key for kind in (DEPLOYMENTS, REPLICA_SETS, STATEFUL_SETS, DAEMON_SETS)})

_MISMATCH = "`selector` does not match template `labels`"
_STRATEGIES = ("Recreate", "RollingUpdate")
_MANAGEMENT_POLICIES = ("OrderedReady", "Parallel")
_UPDATE_STRATEGIES = ("RollingUpdate", "OnDelete")
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
    if _check_selector(errors, resource, spec):
        _check_template(errors, spec.get("template") or {})
    if resource == DEPLOYMENTS:
        _check_strategy(errors, spec)
    if resource == STATEFUL_SETS:
        _check_stateful_policies(errors, spec)


def _check_stateful_policies(errors: FieldErrors, spec: JsonObject) -> None:
    management, strategy = spec.get("podManagementPolicy"), spec.get("updateStrategy") or {}
    if management not in _MANAGEMENT_POLICIES:
        errors.invalid("spec.podManagementPolicy", management, "must be 'OrderedReady' or 'Parallel'")
    if strategy.get("type") not in _UPDATE_STRATEGIES:
        shown = {"Type": strategy.get("type"), "RollingUpdate": strategy.get("rollingUpdate")}
        errors.invalid("spec.updateStrategy", shown, "must be 'RollingUpdate' or 'OnDelete'")


def _check_template(errors: FieldErrors, template: JsonObject) -> None:
    errors.check_labels("spec.template.labels", value_at(template, "metadata", "labels") or {})
    for key in value_at(template, "metadata", "annotations") or {}:
        errors.check_qualified_name("spec.template.annotations", key.lower(), key)
    pod = template.get("spec") or {}
    check_pod_spec(errors, "spec.template.spec", pod, in_template=True)
    if pod.get("restartPolicy") not in {"Always", None} and pod.get("containers"):
        errors.unsupported("spec.template.spec.restartPolicy", pod["restartPolicy"], ["Always"])
    if pod.get("activeDeadlineSeconds") is not None:
        told = "activeDeadlineSeconds in ReplicaSet is not Supported"
        errors.forbidden("spec.template.spec.activeDeadlineSeconds", told)


def _check_selector(errors: FieldErrors, resource: Resource, spec: JsonObject) -> bool:
    """Whether the template is worth looking at: it is not when the selector cannot be understood."""
    selector = spec.get("selector")
    given = value_at(spec, "template", "metadata", "labels")
    if selector is None:
        errors.required("spec.selector")
        errors.invalid("spec.template.metadata.labels", given, _MISMATCH)
        return True
    before = len(errors.causes)
    errors.check_label_selector("spec.selector", selector)
    if len(errors.causes) > before:
        errors.invalid("spec.selector", selector, "invalid label selector")
        return False
    if not selector.get("matchLabels") and not selector.get("matchExpressions"):
        kind = {STATEFUL_SETS: "statefulset", DAEMON_SETS: "daemonset"}.get(resource, "deployment")
        errors.invalid("spec.selector", selector, f"empty selector is invalid for {kind}")
    elif not label_selector_of(selector)(given or {}):
        errors.invalid("spec.template.metadata.labels", given, _MISMATCH)
    return True


def _check_strategy(errors: FieldErrors, spec: JsonObject) -> None:
    strategy = spec.get("strategy") or {}
    rolling = strategy.get("rollingUpdate")
    if strategy.get("type") not in _STRATEGIES:
        shown = {"Type": strategy.get("type"), "RollingUpdate": rolling}  # so its own form of the value is called
        errors.unsupported("spec.strategy", shown, _STRATEGIES)
    if strategy.get("type") == "Recreate" and rolling is not None:
        detail = "may not be specified when strategy `type` is 'Recreate'"
        errors.forbidden("spec.strategy.rollingUpdate", detail)
    elif strategy.get("type") == "RollingUpdate":
        rolling = rolling or {}
        for field in ("maxUnavailable", "maxSurge"):
            _check_share(errors, f"spec.strategy.rollingUpdate.{field}", rolling.get(field))
        unavailable = rolling.get("maxUnavailable")
        if isinstance(unavailable, str) and unavailable[:-1].isdigit() and int(unavailable[:-1]) > 100:
            errors.invalid("spec.strategy.rollingUpdate.maxUnavailable", unavailable, "must not be greater than 100%")
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
