"""What Jobs must be, and what of them may not change.

The rules and words are those of pkg/apis/batch/validation of Kubernetes, as far as a rollout can break them.
"""

from __future__ import annotations

from adapters.embedded.field_errors import FieldErrors
from adapters.embedded.json_objects import JsonObject, value_at
from adapters.embedded.selectors import label_selector_of
from adapters.embedded.validate_pods import check_pod_spec

_COUNTS = ("parallelism", "completions", "activeDeadlineSeconds", "backoffLimit", "ttlSecondsAfterFinished")
_MODES = ("NonIndexed", "Indexed")
_RESTART_POLICIES = ("OnFailure", "Never")


def check_job(errors: FieldErrors, obj: JsonObject) -> None:
    """A Job on its own."""
    spec = obj.get("spec") or {}
    for field in _COUNTS:
        errors.check_not_negative(f"spec.{field}", spec.get(field))
    if spec.get("completionMode") not in {None, *_MODES}:
        errors.unsupported("spec.completionMode", spec["completionMode"], _MODES)
    selector, labels = spec.get("selector") or {}, value_at(spec, "template", "metadata", "labels") or {}
    if not spec.get("manualSelector") and set(selector.get("matchLabels") or ()) - {"batch.kubernetes.io/controller-uid"}:
        errors.invalid("spec.selector", selector, "`selector` not auto-generated")
    pod = value_at(spec, "template", "spec") or {}
    if not label_selector_of(selector)(labels):
        errors.invalid("spec.template.metadata.labels", labels, "`selector` does not match template `labels`")
    policy = pod.get("restartPolicy")
    check_pod_spec(errors, "spec.template.spec", pod, in_template=True)
    if policy == "Always" or not policy:
        errors.required("spec.template.spec.restartPolicy", 'valid values: "OnFailure", "Never"')
    elif policy not in _RESTART_POLICIES:
        errors.unsupported("spec.template.spec.restartPolicy", policy, _RESTART_POLICIES)


def check_job_change(errors: FieldErrors, obj: JsonObject, old: JsonObject) -> None:
    """What a Job does is settled when it is made."""
    spec, former = obj.get("spec") or {}, old.get("spec") or {}
    for field in ("completions", "selector", "template", "completionMode"):
        if spec.get(field) != former.get(field):
            path = "spec.template.spec" if field == "template" else f"spec.{field}"
            errors.invalid(path, spec.get(field), "field is immutable")
