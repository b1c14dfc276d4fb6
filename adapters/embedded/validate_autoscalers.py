"""What HorizontalPodAutoscalers must be.

The rules and words are those of pkg/apis/autoscaling/validation of Kubernetes, for the metrics that need no other API.
"""

from __future__ import annotations

from adapters.embedded.field_errors import FieldErrors
from adapters.embedded.json_objects import JsonObject, items_of

_SOURCES = {
    "ContainerResource": "containerResource",
    "External": "external",
    "Object": "object",
    "Pods": "pods",
    "Resource": "resource",
}
_TARGETS = ("Utilization", "Value", "AverageValue")
_CHOICES = ("Disabled", "Max", "Min")
_POLICIES = ("Percent", "Pods")
_LONGEST_WINDOW_SECONDS = 3600
_LONGEST_PERIOD_SECONDS = 1800


def check_autoscaler(errors: FieldErrors, obj: JsonObject) -> None:
    """A HorizontalPodAutoscaler on its own."""
    spec = obj.get("spec") or {}
    least, most = spec.get("minReplicas"), spec.get("maxReplicas") or 0
    if isinstance(least, int) and least < 1:
        errors.invalid("spec.minReplicas", least, "must be greater than or equal to 1")
    if most == 0:
        errors.required("spec.maxReplicas", "must be set and greater than 0")
    elif most < 0:
        errors.invalid("spec.maxReplicas", most, "must be greater than or equal to 1")
    if isinstance(least, int) and most < least:
        errors.invalid("spec.maxReplicas", most, "must be greater than or equal to `minReplicas`")
    _check_target(errors, "spec.scaleTargetRef", spec.get("scaleTargetRef") or {})
    for index, metric in enumerate(items_of(spec.get("metrics"))):
        _check_metric(errors, f"spec.metrics[{index}]", metric)
    if least == 0 and not any(one.get("type") in {"Object", "External"} for one in items_of(spec.get("metrics"))):
        told = "must specify at least one Object or External metric to support scaling to zero replicas"
        errors.forbidden("spec.metrics", told)
    for direction in ("scaleUp", "scaleDown"):
        rules = (spec.get("behavior") or {}).get(direction)
        if isinstance(rules, dict):
            _check_rules(errors, f"spec.behavior.{direction}", rules)


def _check_target(errors: FieldErrors, path: str, target: JsonObject) -> None:
    for field in ("kind", "name"):
        value = target.get(field) or ""
        if not value:
            errors.required(f"{path}.{field}")
        elif "/" in value:
            errors.invalid(f"{path}.{field}", value, "may not contain '/'")
    version = target.get("apiVersion") or ""
    if version.count("/") > 1:
        errors.invalid(f"{path}.apiVersion", version, f"unexpected GroupVersion string: {version}")
    elif "/" not in version:
        errors.invalid(f"{path}.apiVersion", version, "apiVersion must specify API group")


def _check_metric(errors: FieldErrors, path: str, metric: JsonObject) -> None:
    kind = metric.get("type") or ""
    if not kind:
        errors.required(f"{path}.type", "must specify a metric source type")
    if kind not in _SOURCES:
        errors.unsupported(f"{path}.type", kind, _SOURCES)
        return
    source = metric.get(_SOURCES[kind])
    if not isinstance(source, dict):
        errors.required(f"{path}.{_SOURCES[kind]}", "must populate information for the given metric source")
    elif kind == "Resource":
        if not source.get("name"):
            errors.required(f"{path}.resource.name", "must specify a resource name")
        _check_value(errors, f"{path}.resource.target", source.get("target") or {})


def _check_value(errors: FieldErrors, path: str, target: JsonObject) -> None:
    kind = target.get("type") or ""
    if not kind:
        errors.required(f"{path}.type", "must specify a metric target type")
    if kind not in _TARGETS:
        errors.invalid(f"{path}.type", kind, "must be either Utilization, Value, or AverageValue")
    share = target.get("averageUtilization")
    if isinstance(share, int) and share < 1:
        errors.invalid(f"{path}.averageUtilization", share, "must be greater than 0")
    if share is None and target.get("averageValue") is None:
        errors.required(f"{path}.averageUtilization", "must set either a target raw value or a target utilization")


def _check_rules(errors: FieldErrors, path: str, rules: JsonObject) -> None:
    window = rules.get("stabilizationWindowSeconds")
    if isinstance(window, int) and window < 0:
        errors.invalid(f"{path}.stabilizationWindowSeconds", window, "must be greater than or equal to zero")
    if isinstance(window, int) and window > _LONGEST_WINDOW_SECONDS:
        told = f"must be less than or equal to {_LONGEST_WINDOW_SECONDS}"
        errors.invalid(f"{path}.stabilizationWindowSeconds", window, told)
    if rules.get("selectPolicy") not in {None, *_CHOICES}:
        errors.unsupported(f"{path}.selectPolicy", rules["selectPolicy"], _CHOICES)
    for index, policy in enumerate(items_of(rules.get("policies"))):
        place = f"{path}.policies[{index}]"
        if policy.get("type") not in _POLICIES:
            errors.unsupported(f"{place}.type", policy.get("type") or "", _POLICIES)
        for field in ("value", "periodSeconds"):
            if (policy.get(field) or 0) < 1:
                errors.invalid(f"{place}.{field}", policy.get(field) or 0, "must be greater than zero")
        if (policy.get("periodSeconds") or 0) > _LONGEST_PERIOD_SECONDS:
            told = f"must be less than or equal to {_LONGEST_PERIOD_SECONDS}"
            errors.invalid(f"{place}.periodSeconds", policy["periodSeconds"], told)
