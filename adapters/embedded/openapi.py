"""The OpenAPI documents, as far as kubectl reads them: to validate, to explain and to merge what it applies.

Version 3 has one document for each group and version, made from the schemas that the server itself works with. Version 2
is answered empty: clients then fall back on what they know themselves.
"""

from __future__ import annotations

from collections.abc import Mapping

from adapters.embedded.builtin_schema import schema_of_kind
from adapters.embedded.custom_kinds import CustomKinds
from adapters.embedded.json_objects import JsonObject
from adapters.embedded.resources import Registry, Resource
from adapters.embedded.schema import Presence, Schema, Shape

V2_PROTOBUF = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"

EMPTY_V2: JsonObject = {
    "swagger": "2.0",
    "info": {"title": "Kubernetes", "version": "embedded"},
    "paths": {},
    "definitions": {},
}
EMPTY_V2_PROTOBUF = b"\x0a\x032.0"
"""The field `swagger: "2.0"` of the protobuf message openapi.v2.Document, and nothing else."""

_FORMATS: Mapping[str, JsonObject] = {
    "string": {"type": "string"},
    "int32": {"type": "integer", "format": "int32"},
    "int64": {"type": "integer", "format": "int64"},
    "float": {"type": "number", "format": "double"},
    "bool": {"type": "boolean"},
    "time": {"type": "string", "format": "date-time"},
    "microtime": {"type": "string", "format": "date-time"},
    "quantity": {"type": "string"},
    "intstr": {"type": "string", "format": "int-or-string"},
    "bytes": {"type": "string", "format": "byte"},
}
_PATCHES = ("application/json-patch+json", "application/merge-patch+json", "application/apply-patch+yaml")
_STRATEGIC = "application/strategic-merge-patch+json"
_WRITE_PARAMETERS = ("dryRun", "fieldManager", "fieldValidation")


def paths(registry: Registry) -> JsonObject:
    """The answer of /openapi/v3: where the documents are."""
    roots = {_root(resource): resource for resource in registry}
    return {"paths": {root: {"serverRelativeURL": f"/openapi/v3/{root}"} for root in roots}}


def document(registry: Registry, custom_kinds: CustomKinds, root: str) -> JsonObject:
    """One document of version 3.

    Args:
        root: `api/v1` or `apis/<group>/<version>`.

    Raises:
        KeyError: nothing is served there.
    """
    served = [resource for resource in registry if _root(resource) == root]
    if not served:
        raise KeyError(root)
    components = _Components()
    operations: JsonObject = {}
    for resource in served:
        if resource.custom:
            components.add_custom(resource, custom_kinds.version_of(resource).json_schema)
        else:
            components.add_kind(resource)
        operations.update(_operations(root, resource))
    return {
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": "embedded"},
        "paths": operations,
        "components": {"schemas": components.schemas},
    }


def _root(resource: Resource) -> str:
    return f"apis/{resource.api_version}" if resource.group else f"api/{resource.version}"


def _type_name(resource: Resource) -> str:
    group = resource.group or "core"
    return f"{group}.{resource.version}.{resource.kind}"


class _Components:
    """The schemas of one document. Every type of a document stands in it once, under its name."""

    def __init__(self) -> None:
        self.schemas: dict[str, JsonObject] = {}

    def add_kind(self, resource: Resource) -> None:
        """Add a built-in kind."""
        schema = self._describe(schema_of_kind(resource.kind))
        self.schemas[_type_name(resource)] = {**schema, "x-kubernetes-group-version-kind": [_gvk(resource)]}

    def add_custom(self, resource: Resource, json_schema: JsonObject) -> None:
        """Add a custom kind with the schema of its definition."""
        properties = dict(json_schema.get("properties") or {})
        properties["apiVersion"] = properties["kind"] = {"type": "string"}
        properties["metadata"] = self._describe(schema_of_kind("ObjectMeta"))
        schema = {**json_schema, "type": "object", "properties": properties}
        self.schemas[_type_name(resource)] = {**schema, "x-kubernetes-group-version-kind": [_gvk(resource)]}

    def _describe(self, schema: Schema) -> JsonObject:
        if schema.shape is Shape.SCALAR:
            return dict(_FORMATS[schema.scalar])
        if schema.shape is Shape.ANY:
            return {"x-kubernetes-preserve-unknown-fields": True}
        if schema.shape is Shape.LIST:
            return self._describe_list(schema)
        described: JsonObject = {"type": "object"}
        if schema.atomic:
            described["x-kubernetes-map-type"] = "atomic"
        if schema.retain_keys:
            described["x-kubernetes-patch-strategy"] = "retainKeys"
        if schema.shape is Shape.MAP and schema.element is not None:
            return {**described, "additionalProperties": self._describe(schema.element)}
        described["properties"] = {name: self._describe(known.schema) for name, known in schema.fields.items()}
        required = [name for name, known in schema.fields.items() if known.presence is Presence.ALWAYS]
        return {**described, "required": required} if required else described

    def _describe_list(self, schema: Schema) -> JsonObject:
        assert schema.element is not None  # lists always describe their items
        described: JsonObject = {"type": "array", "items": self._describe(schema.element)}
        described["x-kubernetes-list-type"] = "map" if schema.keys else "set" if schema.is_set else "atomic"
        if schema.keys:
            described["x-kubernetes-list-map-keys"] = list(schema.keys)
        if schema.patch_merges:
            described["x-kubernetes-patch-strategy"] = "merge,retainKeys" if schema.retain_keys else "merge"
        if schema.patch_merge_key:
            described["x-kubernetes-patch-merge-key"] = schema.patch_merge_key
        return described


def _gvk(resource: Resource) -> JsonObject:
    return {"group": resource.group, "version": resource.version, "kind": resource.kind}


def _operations(root: str, resource: Resource) -> JsonObject:
    collection = f"/{root}/namespaces/{{namespace}}/{resource.plural}" if resource.namespaced else f"/{root}/{resource.plural}"
    media_types = _PATCHES if resource.custom else (*_PATCHES, _STRATEGIC)
    schema = {"$ref": f"#/components/schemas/{_type_name(resource)}"}
    answer = {"200": {"description": "OK", "content": {"application/json": {"schema": schema}}}}
    writing = [{"name": name, "in": "query", "schema": {"type": "string"}} for name in _WRITE_PARAMETERS]

    def operation(action: str, *media: str) -> JsonObject:
        told: JsonObject = {
            "x-kubernetes-action": action,
            "x-kubernetes-group-version-kind": _gvk(resource),
            "responses": answer,
        }
        if media:
            told["parameters"] = writing
            told["requestBody"] = {"content": {each: {"schema": schema} for each in media}}
        return told

    return {
        collection: {"get": operation("list"), "post": operation("post", "application/json")},
        f"{collection}/{{name}}": {
            "get": operation("get"),
            "put": operation("put", "application/json"),
            "patch": operation("patch", *media_types),
            "delete": operation("delete"),
        },
    }
