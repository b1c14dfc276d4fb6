"""What a client is warned of although its object is taken: what will surprise it later.

The words are those of pkg/api/pod/warnings.go of Kubernetes; only some of its warnings are here. The rest of the server knows
nothing of them.
"""

from __future__ import annotations

from collections.abc import Iterator

from adapters.embedded import resources as known
from adapters.embedded.json_objects import JsonObject, items_of, name_of, value_at
from adapters.embedded.resources import Resource

_NAMED_AFTER = frozenset({
    known.DEPLOYMENTS.storage_key,
    known.REPLICA_SETS.storage_key,
    known.STATEFUL_SETS.storage_key,
    known.DAEMON_SETS.storage_key,
    known.JOBS.storage_key,
    known.PODS.storage_key,
})


def warnings_of(resource: Resource, obj: JsonObject, *, created: bool) -> list[str]:
    """The warnings about an object that has been created, or whose desired state has changed."""
    warnings: list[str] = []
    if resource.storage_key not in _NAMED_AFTER:
        return warnings
    if created and "." in name_of(obj):
        use = "the Pod's hostname" if resource == known.PODS else "Pod names and hostnames"
        warnings.append(
            f"metadata.name: this is used in {use}, which can result in surprising behavior; "
            "a DNS label is recommended: [must not contain dots]"
        )
    path = "spec" if resource == known.PODS else "spec.template.spec"
    spec = value_at(obj, *path.split(".")) or {}
    warnings += _warnings_of_pod(path, spec)
    return warnings


def _warnings_of_pod(path: str, spec: JsonObject) -> Iterator[str]:
    if (spec.get("terminationGracePeriodSeconds") or 0) < 0:
        told = "must be >= 0; negative values are invalid and will be treated as 1"
        yield f"{path}.terminationGracePeriodSeconds: {told}"
    for field in ("initContainers", "containers"):
        for index, container in enumerate(items_of(spec.get(field))):
            place = f"{path}.{field}[{index}]"
            yield from _hidden_variables(place, container)
            yield from _repeated_ports(place, container)


def _hidden_variables(path: str, container: JsonObject) -> Iterator[str]:
    seen: set[str] = set()
    for index, variable in enumerate(items_of(container.get("env"))):
        name = variable.get("name") or ""
        if name in seen:
            yield f'{path}.env[{index}]: hides previous definition of "{name}", which may be dropped when using apply'
        seen.add(name)


def _repeated_ports(path: str, container: JsonObject) -> Iterator[str]:
    seen: dict[tuple[object, object], int] = {}
    for index, port in enumerate(items_of(container.get("ports"))):
        identity = (port.get("protocol"), port.get("containerPort"))
        if identity in seen:
            yield f"{path}.ports[{index}]: duplicate port definition with {path}.ports[{seen[identity]}]"
        seen.setdefault(identity, index)
