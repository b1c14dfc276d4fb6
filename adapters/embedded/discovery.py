"""What a client asks before it asks for objects: the version of the server, its groups and their resources."""

from __future__ import annotations

from collections.abc import Iterable

from adapters.embedded.json_objects import JsonObject
from adapters.embedded.resources import Registry, Resource

AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"

_MINOR = 34
VERSION_INFO: JsonObject = {
    "major": "1",
    "minor": str(_MINOR),
    "emulationMajor": "1",
    "emulationMinor": str(_MINOR),
    "minCompatibilityMajor": "1",
    "minCompatibilityMinor": str(_MINOR - 1),
    "gitVersion": f"v1.{_MINOR}.0+embedded",
    "gitCommit": "",
    "gitTreeState": "clean",
    "buildDate": "1970-01-01T00:00:00Z",
    "goVersion": "",
    "compiler": "",
    "platform": "linux/amd64",
}

_VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")
_SUBRESOURCE_VERBS = {
    "binding": ("create",),
    "eviction": ("create",),
    "token": ("create",),
    "log": ("get",),
    "proxy": ("create", "delete", "get", "patch", "update"),
    "finalize": ("update",),
}
_SUBRESOURCE_KINDS = {
    "scale": ("autoscaling", "v1", "Scale"),
    "binding": ("", "v1", "Binding"),
    "eviction": ("policy", "v1", "Eviction"),
    "token": ("authentication.k8s.io", "v1", "TokenRequest"),
}
_REVIEWS = {
    "authorization.k8s.io/v1": (
        ("localsubjectaccessreviews", "LocalSubjectAccessReview", True),
        ("selfsubjectaccessreviews", "SelfSubjectAccessReview", False),
        ("selfsubjectrulesreviews", "SelfSubjectRulesReview", False),
        ("subjectaccessreviews", "SubjectAccessReview", False),
    ),
    "authentication.k8s.io/v1": (
        ("selfsubjectreviews", "SelfSubjectReview", False),
        ("tokenreviews", "TokenReview", False),
    ),
}


def core_versions(server_address: str) -> JsonObject:
    """The answer of /api."""
    addresses = [{"clientCIDR": "0.0.0.0/0", "serverAddress": server_address}]
    return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": addresses}


def group_list(registry: Registry) -> JsonObject:
    """The answer of /apis."""
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": [group(registry, name) for name in _groups(registry)]}


def group(registry: Registry, name: str) -> JsonObject:
    """One group with its versions.

    Raises:
        KeyError: there is no such group.
    """
    versions = _groups(registry)[name]
    told = [{"groupVersion": f"{name}/{version}", "version": version} for version in versions]
    return {"kind": "APIGroup", "apiVersion": "v1", "name": name, "versions": told, "preferredVersion": told[0]}


def resource_list(registry: Registry, group_name: str, version: str) -> JsonObject:
    """The resources of one version of a group, subresources included.

    Raises:
        KeyError: there is no such version.
    """
    api_version = f"{group_name}/{version}" if group_name else version
    if group_name and version not in _groups(registry)[group_name]:
        raise KeyError(version)
    if not group_name and version != "v1":
        raise KeyError(version)
    entries = []
    for resource in _of_version(registry, group_name, version):
        entries.append(_legacy_entry(resource))
        entries.extend(_legacy_subresource(resource, name) for name in sorted(resource.subresources))
    entries.extend(
        {"name": plural, "singularName": "", "namespaced": namespaced, "kind": kind, "verbs": ["create"]}
        for plural, kind, namespaced in _REVIEWS.get(api_version, ())
    )
    entries.sort(key=lambda entry: str(entry["name"]))
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": api_version, "resources": entries}


def aggregated(registry: Registry, *, core: bool) -> JsonObject:
    """Everything at once: the answer of /api or /apis to clients that know aggregated discovery."""
    groups = {"": ("v1",)} if core else _groups(registry)
    items = [
        {
            "metadata": {"name": name} if name else {},
            "versions": [_aggregated_version(registry, name, version) for version in versions],
        }
        for name, versions in groups.items()
    ]
    return {"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items": items}


def _groups(registry: Registry) -> dict[str, tuple[str, ...]]:
    """The named groups with their versions, the preferred one first."""
    found: dict[str, list[str]] = {}
    for resource in registry:
        versions = found.setdefault(resource.group, [])
        if resource.version not in versions:
            versions.append(resource.version)
    for api_version in _REVIEWS:
        name, version = api_version.split("/")
        found.setdefault(name, [version])
    return {name: tuple(sorted(versions, key=version_rank)) for name, versions in found.items() if name}


def version_rank(version: str) -> tuple[int, int, int]:
    """The order of preference among versions: v2, v1, v1beta2, v1beta1, v1alpha4 ... (as CRDs are documented)."""
    major, stage, minor = version.lstrip("v"), 0, "0"
    for rank, word in ((1, "beta"), (2, "alpha")):
        if word in version:
            major, _, minor = version.lstrip("v").partition(word)
            stage = rank
    return (stage, -int(major) if major.isdigit() else 0, -int(minor) if minor.isdigit() else 0)


def _of_version(registry: Registry, group_name: str, version: str) -> Iterable[Resource]:
    return (resource for resource in registry if (resource.group, resource.version) == (group_name, version))


def _legacy_entry(resource: Resource) -> JsonObject:
    entry: JsonObject = {
        "name": resource.plural,
        "singularName": resource.singular,
        "namespaced": resource.namespaced,
        "kind": resource.kind,
        "verbs": list(_VERBS),
    }
    if resource.short_names:
        entry["shortNames"] = list(resource.short_names)
    if resource.categories:
        entry["categories"] = list(resource.categories)
    return entry


def _legacy_subresource(resource: Resource, name: str) -> JsonObject:
    group_name, version, kind = _SUBRESOURCE_KINDS.get(name, (resource.group, resource.version, resource.kind))
    entry: JsonObject = {
        "name": f"{resource.plural}/{name}",
        "singularName": "",
        "namespaced": resource.namespaced,
        "kind": kind,
        "verbs": list(_SUBRESOURCE_VERBS.get(name, ("get", "patch", "update"))),
    }
    if (group_name, version) != (resource.group, resource.version):
        entry["group"], entry["version"] = group_name, version
    return entry


def _aggregated_version(registry: Registry, group_name: str, version: str) -> JsonObject:
    api_version = f"{group_name}/{version}" if group_name else version
    entries = [_aggregated_entry(resource) for resource in _of_version(registry, group_name, version)]
    for plural, kind, namespaced in _REVIEWS.get(api_version, ()):
        entries.append({
            "resource": plural,
            "responseKind": {"group": group_name, "version": version, "kind": kind},
            "scope": "Namespaced" if namespaced else "Cluster",
            "singularResource": "",
            "verbs": ["create"],
        })
    return {"version": version, "resources": entries, "freshness": "Current"}


def _aggregated_entry(resource: Resource) -> JsonObject:
    entry: JsonObject = {
        "resource": resource.plural,
        "responseKind": {"group": resource.group, "version": resource.version, "kind": resource.kind},
        "scope": "Namespaced" if resource.namespaced else "Cluster",
        "singularResource": resource.singular,
        "verbs": list(_VERBS),
    }
    if resource.short_names:
        entry["shortNames"] = list(resource.short_names)
    if resource.categories:
        entry["categories"] = list(resource.categories)
    if resource.subresources:
        entry["subresources"] = [_aggregated_subresource(resource, name) for name in sorted(resource.subresources)]
    return entry


def _aggregated_subresource(resource: Resource, name: str) -> JsonObject:
    group_name, version, kind = _SUBRESOURCE_KINDS.get(name, (resource.group, resource.version, resource.kind))
    return {
        "subresource": name,
        "responseKind": {"group": group_name, "version": version, "kind": kind},
        "verbs": list(_SUBRESOURCE_VERBS.get(name, ("get", "patch", "update"))),
    }
