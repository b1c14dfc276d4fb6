"""Delete one object or a selection of them, and what the real server answers to each."""

from __future__ import annotations

from adapters.embedded import resources as known
from adapters.embedded.errors import NotFound, describe
from adapters.embedded.json_objects import JsonObject, metadata_of, name_of, namespace_of
from adapters.embedded.options import DeletionOptions, ReadOptions
from adapters.embedded.reading import Listing, list_objects
from adapters.embedded.resources import Resource
from adapters.embedded.routes import Target
from adapters.embedded.storage import Storage

_RETURNED_WHEN_GONE = frozenset({
    known.NAMESPACES.storage_key,
    known.PODS.storage_key,
    known.SERVICES.storage_key,
    known.SERVICE_ACCOUNTS.storage_key,
    known.PERSISTENT_VOLUME_CLAIMS.storage_key,
    known.RESOURCE_QUOTAS.storage_key,
})


def delete(storage: Storage, target: Target, options: DeletionOptions) -> tuple[int, JsonObject]:
    """Delete an object; returns the status code and the body: the object that is left, or that all is done."""
    resource = target.resource
    left = _delete(storage, resource, target.namespace, target.name, options)
    remains = storage.find_stored(resource, target.namespace, target.name) is not None
    if options.dry_run:
        remains = "deletionTimestamp" in metadata_of(left)
    if remains or resource.storage_key in _RETURNED_WHEN_GONE:
        return 202 if remains and options.orphan_dependents is False else 200, left
    details = {**describe(resource, target.name), "uid": metadata_of(left)["uid"]}
    body: JsonObject = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}
    return 200, body


def delete_collection(
    storage: Storage, target: Target, selection: ReadOptions, options: DeletionOptions
) -> Listing:
    """Delete what is selected; returns it."""
    listing = list_objects(storage, target, selection)
    for stored in listing.objects:
        try:
            _delete(storage, target.resource, namespace_of(stored.object), name_of(stored.object), options)
        except NotFound:
            continue  # an earlier deletion of this same request took it along
    return listing


def _delete(storage: Storage, resource: Resource, namespace: str, name: str, options: DeletionOptions) -> JsonObject:
    return storage.delete(
        resource,
        namespace or None,
        name,
        propagation=options.propagation,
        uid=options.uid,
        resource_version=options.resource_version,
        grace_period_seconds=options.grace_period_seconds,
        dry_run=options.dry_run,
    )


def evict(storage: Storage, target: Target) -> JsonObject:
    """Delete a pod because a client asks for its eviction; no disruption budget stands in the way here."""
    storage.delete(known.PODS, target.namespace, target.name)
    return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}


def bind(storage: Storage, target: Target, node: str) -> JsonObject:
    """Put a pod on a node, as a scheduler does."""
    pod = storage.get(known.PODS, target.namespace, target.name)
    pod["spec"]["nodeName"] = node
    pod["metadata"].pop("resourceVersion")
    storage.update(known.PODS, pod, manager="scheduler")
    return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}

