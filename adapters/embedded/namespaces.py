"""Namespaces: which exist from the start, who may create in them, and how one that is deleted takes its content along.

It works on the storage through its public interface and knows no kind but Namespace.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from adapters.embedded.errors import Cause, Forbidden, NotFound
from adapters.embedded.history import EventType, StorageEvent
from adapters.embedded.json_objects import JsonObject, metadata_of, name_of, namespace_of
from adapters.embedded.resources import NAMESPACES, Resource

if TYPE_CHECKING:
    from adapters.embedded.storage import Storage

INITIAL = ("default", "kube-node-lease", "kube-public", "kube-system")


def new_namespace(name: str) -> JsonObject:
    """The object to create for a namespace."""
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}


def require_open(storage: Storage, resource: Resource, name: str, namespace: str) -> None:
    """Refuse to create in a namespace that is missing or on its way out.

    Raises:
        NotFound: there is no such namespace.
        Forbidden: it is being deleted.
    """
    found = storage.peek(NAMESPACES, None, namespace)
    if found is None:
        raise NotFound.of(NAMESPACES, namespace)
    if "deletionTimestamp" in metadata_of(found):
        ending = Cause("NamespaceTerminating", "metadata.namespace", f"namespace {namespace} is being terminated")
        why = f"unable to create new content in namespace {namespace} because it is being terminated"
        raise Forbidden.of(resource, name, why, [ending])


class NamespaceSweeper:
    """Deletes what a terminating namespace holds, and the namespace itself once it is empty."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._ending: set[str] = set()

    def notice(self, event: StorageEvent) -> None:
        """A listener of the storage."""
        if event.resource == NAMESPACES:
            self._notice_namespace(event)
        elif event.type is EventType.DELETED and namespace_of(event.object) in self._ending:
            self._finish_if_empty(namespace_of(event.object))

    def _notice_namespace(self, event: StorageEvent) -> None:
        name = name_of(event.object)
        if event.type is EventType.DELETED:
            self._ending.discard(name)
        elif "deletionTimestamp" in metadata_of(event.object) and name not in self._ending:
            self._ending.add(name)
            self._sweep(name)
            self._finish_if_empty(name)

    def _sweep(self, namespace: str) -> None:
        for resource in list(self._storage.registry.kinds()):
            if resource.namespaced:
                for obj in self._storage.iterate(resource, namespace):
                    self._storage.discard(resource, namespace, name_of(obj))

    def _finish_if_empty(self, namespace: str) -> None:
        namespaced = [resource for resource in self._storage.registry.kinds() if resource.namespaced]
        if any(self._storage.holds_any(resource, namespace) for resource in namespaced):
            return
        found = self._storage.find(NAMESPACES, None, namespace)
        if found is not None:
            found["spec"] = {}
            self._storage.update(NAMESPACES, found, subresource="finalize")
