"""What a CustomResourceDefinition must be, and what of it may not change.

The rules and words are those of pkg/apis/apiextensions/validation of the apiextensions API server.
"""

from __future__ import annotations

from adapters.embedded.field_errors import FieldErrors
from adapters.embedded.json_objects import JsonObject, items_of, name_of, value_at

_SCOPES = ("Cluster", "Namespaced")


def check_definition(errors: FieldErrors, obj: JsonObject) -> None:
    """A definition on its own."""
    spec = obj.get("spec") or {}
    group, names = spec.get("group") or "", spec.get("names") or {}
    plural = names.get("plural") or ""
    if name_of(obj) != f"{plural}.{group}":
        errors.invalid("metadata.name", name_of(obj), 'must be spec.names.plural+"."+spec.group')
    if not group:
        errors.required("spec.group")
    errors.check_one_of("spec.scope", spec.get("scope"), _SCOPES)
    for field in ("plural", "kind"):
        if not names.get(field):
            errors.required(f"spec.names.{field}")
    versions = list(items_of(spec.get("versions")))
    if not versions:
        errors.required("spec.versions", "must have at least one version")
        return
    if sum(bool(version.get("storage")) for version in versions) != 1:
        shown = [version.get("name") for version in versions]
        errors.invalid("spec.versions", shown, "must have exactly one version marked as storage version")
    for index, version in enumerate(versions):
        if not isinstance(value_at(version, "schema", "openAPIV3Schema"), dict):
            errors.required(f"spec.versions[{index}].schema.openAPIV3Schema", "schemas are required")


def check_definition_change(errors: FieldErrors, obj: JsonObject, old: JsonObject) -> None:
    """Group, names and scope stay as they are."""
    for path in (("group",), ("scope",), ("names", "kind"), ("names", "plural")):
        value = value_at(obj, "spec", *path)
        if value != value_at(old, "spec", *path):
            errors.invalid("spec." + ".".join(path), value, "field is immutable")
