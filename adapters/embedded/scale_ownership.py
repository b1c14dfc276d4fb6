"""Who owns the number of replicas: an object's managers as those of its scale, and back.

An object and its scale are two views of one field, so a manager that takes it through the one loses it in the other. The rules
are those of k8s.io/apimachinery/pkg/util/managedfields (ScaleHandler).
"""

from __future__ import annotations

from dataclasses import replace

from adapters.embedded.field_sets import LEAF, FieldSet, difference, field, has_path
from adapters.embedded.managed_fields import ManagedFields, Manager, Ownership

SCALE_VERSION = "autoscaling/v1"
_IN_SCALE = ("spec", "replicas")


def _only(path: tuple[str, ...]) -> FieldSet:
    fields: FieldSet = LEAF
    for name in reversed(path):
        fields = {field(name): fields}
    return fields


def managers_of_scale(managed: ManagedFields, path: tuple[str, ...]) -> ManagedFields:
    """Those that own the replicas of an object, as the managers of its scale; `path`: where its replicas are."""
    return ManagedFields({
        replace(manager, api_version=SCALE_VERSION): Ownership(_only(_IN_SCALE), ownership.time)
        for manager, ownership in managed.owners.items()
        if has_path(ownership.fields, path)
    })


def managers_of_object(
    former: ManagedFields, of_scale: ManagedFields, path: tuple[str, ...], api_version: str
) -> ManagedFields:
    """The managers of an object after its scale has been written; `former`: those before."""
    kept, taken = ManagedFields(), dict(of_scale.owners)
    for manager, ownership in former.owners.items():
        in_scale = replace(manager, api_version=SCALE_VERSION)
        if not has_path(ownership.fields, path) or taken.pop(in_scale, None) is not None:
            kept.set(manager, ownership)
        else:
            kept.set(manager, replace(ownership, fields=difference(ownership.fields, _only(path))))
    for manager, ownership in taken.items():
        if has_path(ownership.fields, _IN_SCALE):
            # A manager that is new has no time: the real server looks for it among those that were there before.
            time = former.owners[manager].time if manager in former.owners else ""
            kept.set(_in(manager, api_version), Ownership(_only(path), time))
    return kept


def _in(manager: Manager, api_version: str) -> Manager:
    return replace(manager, api_version=api_version)
