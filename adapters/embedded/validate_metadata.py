"""What the metadata of an object must be, and what of it may not change.

The rules and words are those of k8s.io/apimachinery/pkg/api/validation.
"""

from __future__ import annotations

from adapters.embedded import resources as known
from adapters.embedded.field_errors import FieldErrors
from adapters.embedded.json_objects import JsonObject, items_of, metadata_of
from adapters.embedded.lifecycle import FOREGROUND, ORPHAN
from adapters.embedded.resources import Resource

_STANDARD_FINALIZERS = ("kubernetes", ORPHAN, FOREGROUND)
_LARGEST_ANNOTATIONS = 256 * 1024
"""Bytes of all keys and values together."""

_IMMUTABLE = ("name", "namespace", "uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds")
_FREELY_NAMED = frozenset({
    known.ROLES.storage_key,
    known.ROLE_BINDINGS.storage_key,
    known.CLUSTER_ROLES.storage_key,
    known.CLUSTER_ROLE_BINDINGS.storage_key,
})


def check_metadata(errors: FieldErrors, resource: Resource, obj: JsonObject) -> None:
    """The metadata on its own."""
    metadata = metadata_of(obj)
    if metadata.get("generateName"):
        _check_name(errors, resource, "metadata.generateName", _completed(metadata["generateName"]), metadata["generateName"])
    if metadata.get("name"):
        _check_name(errors, resource, "metadata.name", metadata["name"], metadata["name"])
    else:
        errors.required("metadata.name", "name or generateName is required")
    _check_notes(errors, metadata)
    _check_finalizers(errors, metadata.get("finalizers") or [])


def _check_finalizers(errors: FieldErrors, finalizers: list[str]) -> None:
    for finalizer in finalizers:
        errors.check_qualified_name("metadata.finalizers", finalizer)
    if {ORPHAN, FOREGROUND} <= set(finalizers):
        errors.invalid("metadata.finalizers", finalizers, f"finalizer {ORPHAN} and {FOREGROUND} cannot be both set")


def check_finalizer_names(errors: FieldErrors, obj: JsonObject) -> None:
    """The finalizers of a built-in kind are the standard ones, or have a prefix."""
    for index, finalizer in enumerate(metadata_of(obj).get("finalizers") or ()):
        if "/" not in finalizer and finalizer not in _STANDARD_FINALIZERS:
            told = "name is neither a standard finalizer name nor is it fully qualified"
            errors.invalid(f"metadata.finalizers[{index}]", finalizer, told)


def _completed(prefix: str) -> str:
    """A name prefix as it is checked: a dash at its end may be there, as something follows it."""
    return prefix[:-1] + "a" if prefix.endswith("-") else prefix


def _check_name(errors: FieldErrors, resource: Resource, field: str, name: str, shown: str) -> None:
    if resource in {known.NAMESPACES, known.SERVICES}:
        errors.check_label_name(field, name, shown)
    elif resource.storage_key in _FREELY_NAMED:
        if name in {".", ".."}:
            errors.invalid(field, shown, f"may not be '{name}'")
        for unwanted in "/%":
            if unwanted in name:
                errors.invalid(field, shown, f"may not contain '{unwanted}'")
    else:
        errors.check_subdomain(field, name, shown)


def _check_notes(errors: FieldErrors, metadata: JsonObject) -> None:
    errors.check_labels("metadata.labels", metadata.get("labels") or {})
    annotations = metadata.get("annotations") or {}
    for key in annotations:
        errors.check_qualified_name("metadata.annotations", key.lower(), key)
    if sum(len(key.encode()) + len(value.encode()) for key, value in annotations.items()) > _LARGEST_ANNOTATIONS:
        errors.too_long("metadata.annotations", _LARGEST_ANNOTATIONS)
    _check_owners(errors, metadata)


def _check_owners(errors: FieldErrors, metadata: JsonObject) -> None:
    controller = ""
    for owner in items_of(metadata.get("ownerReferences")):
        for field in ("apiVersion", "kind", "name", "uid"):
            if not owner.get(field):
                version = "version " if field == "apiVersion" else ""
                errors.invalid(f"metadata.ownerReferences.{field}", owner.get(field) or "", f"{version}must not be empty")
        if owner.get("controller"):
            name = f"{owner.get('kind')}/{owner.get('name')}"
            if controller:
                told = "Only one reference can have Controller set to true. "
                told += f'Found "true" in references for {controller} and {name}'
                errors.invalid("metadata.ownerReferences", metadata["ownerReferences"], told)
            else:
                controller = name


def check_metadata_change(errors: FieldErrors, obj: JsonObject, old: JsonObject) -> None:
    """What may not change, and once more what may."""
    metadata, former = metadata_of(obj), metadata_of(old)
    if "deletionTimestamp" in former:
        present = set(former.get("finalizers") or ())
        fresh = sorted(name for name in metadata.get("finalizers") or () if name not in present)
        if fresh:
            told = ", ".join(f'"{name}"' for name in fresh)
            detail = f"no new finalizers can be added if the object is being deleted, found new finalizers []string{{{told}}}"
            errors.forbidden("metadata.finalizers", detail)
    for field in _IMMUTABLE:
        if metadata.get(field) != former.get(field):
            errors.invalid(f"metadata.{field}", metadata.get(field), "field is immutable")
    _check_notes(errors, metadata)
