"""What the cases about the API are told with: single requests, their whole answers, and those parts of them that chance decides.

It speaks plain HTTP to whichever control plane it is given, and knows nothing of either.
"""

from __future__ import annotations

import copy
import json
import time
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode
from uuid import uuid4

import anyio

from adapters.embedded.json_objects import JsonObject
from adapters.embedded.known_crds import traffic_split_definition

if TYPE_CHECKING:
    from tests.conformance.conftest import Plane

SPLITS = "split.smi-spec.io/v1alpha4/trafficsplits"
OLD_SPLITS = "split.smi-spec.io/v1alpha2/trafficsplits"
STATEFUL_SETS = "apps/v1/statefulsets"
DISRUPTION_BUDGETS = "policy/v1/poddisruptionbudgets"
CONTROLLERS = ("kube-controller-manager", "embedded-controller")
"""No controller of either plane cares for them: what a test writes is what it finds."""
JOBS = "batch/v1/jobs"

AGENT = "conformance"
"""The manager of whoever names none: the client's name as its User-Agent tells it."""

CHANCE = ("uid", "resourceVersion", "creationTimestamp", "deletionTimestamp", "time", "lastUpdateTime", "lastTransitionTime")
READY_SECONDS = 20.0


class Patch(Enum):
    """The formats of patches."""

    MERGE = "application/merge-patch+json"
    STRATEGIC = "application/strategic-merge-patch+json"
    JSON = "application/json-patch+json"
    APPLY = "application/apply-patch+yaml"


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back."""

    status: int
    body: Any
    warnings: tuple[str, ...] = ()
    """The texts of the Warning headers."""
    media_type: str = ""

    @property
    def object(self) -> JsonObject:
        """The body of a request that was granted."""
        assert self.status < 400, f"{self.status}: {self.body}"
        found: JsonObject = self.body
        return found

    @property
    def message(self) -> str:
        """What a refusal says."""
        assert self.status >= 400, f"granted: {self.body}"
        return str(self.body["message"])

    @property
    def causes(self) -> list[tuple[str, str, str]]:
        """What a refusal says field by field: the field, the reason, the message; repetitions left out."""
        assert self.status >= 400, f"granted: {self.body}"
        causes = (self.body.get("details") or {}).get("causes") or []
        told = [(one.get("field", ""), one.get("reason", ""), one.get("message", "")) for one in causes]
        return list(dict.fromkeys(told))


class Api:
    """Requests to the objects in the test's own namespace."""

    def __init__(self, plane: Plane) -> None:
        self.plane = plane
        self.namespace = plane.namespace

    def path(self, resource: str, name: str = "", subresource: str = "", **query: Any) -> str:
        version, _, plural = resource.rpartition("/")
        parts = ["/api" if version == "v1" else "/apis", version, "namespaces", self.namespace, plural, name, subresource]
        return "/".join(part for part in parts if part) + (f"?{urlencode(query)}" if query else "")

    async def send(
        self, method: str, path: str, body: object = None, media_type: str = "application/json", accept: str = ""
    ) -> Answer:
        """A body of bytes or text is sent as it is; anything else as JSON."""
        headers = {"User-Agent": f"{AGENT}/1.0"}
        if body is not None:
            headers["Content-Type"] = media_type
        if accept:
            headers["Accept"] = accept
        data = body if body is None or isinstance(body, (bytes, str)) else json.dumps(body)
        async with self.plane.http.request(method, path, data=data, headers=headers) as answer:
            content = await answer.read()
            told = tuple(one[one.index('"') + 1 : -1].replace('\\"', '"') for one in answer.headers.getall("Warning", []))
        is_json = "json" in answer.content_type
        return Answer(answer.status, json.loads(content) if is_json else content.decode(), told, answer.content_type)

    async def create(self, resource: str, body: JsonObject, **query: Any) -> Answer:
        return await self.send("POST", self.path(resource, **query), body)

    async def get(self, resource: str, name: str, subresource: str = "", **query: Any) -> Answer:
        return await self.send("GET", self.path(resource, name, subresource, **query))

    async def list(self, resource: str, **query: Any) -> Answer:
        return await self.send("GET", self.path(resource, **query))

    async def replace(self, resource: str, body: JsonObject, subresource: str = "", **query: Any) -> Answer:
        return await self.send("PUT", self.path(resource, body["metadata"]["name"], subresource, **query), body)

    async def patch(
        self, how: Patch, resource: str, name: str, change: object, subresource: str = "", **query: Any
    ) -> Answer:
        return await self.send("PATCH", self.path(resource, name, subresource, **query), change, how.value)

    async def merge(self, resource: str, name: str, change: JsonObject, subresource: str = "", **query: Any) -> Answer:
        return await self.patch(Patch.MERGE, resource, name, change, subresource, **query)

    async def operate(self, resource: str, name: str, *operations: JsonObject, **query: Any) -> Answer:
        """A JSON patch."""
        return await self.patch(Patch.JSON, resource, name, list(operations), **query)

    async def apply(self, resource: str, body: JsonObject, subresource: str = "", **query: Any) -> Answer:
        """Server-side apply, by the manager `headgate` unless `fieldManager` is another one."""
        name = body["metadata"]["name"]
        return await self.patch(Patch.APPLY, resource, name, body, subresource, **{"fieldManager": "headgate", **query})

    async def delete(self, resource: str, name: str, options: JsonObject | None = None, **query: Any) -> Answer:
        return await self.send("DELETE", self.path(resource, name, **query), options)

    async def offer_splits(self) -> None:
        """Have TrafficSplits served in v1alpha2 and v1alpha4."""
        await self.offer(traffic_split_definition(), SPLITS, OLD_SPLITS)

    async def offer(self, definition: JsonObject, *resources: str) -> None:
        """Have a custom kind served, if another test has not done it."""
        answer = await self.send("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", definition)
        assert answer.status in (201, 409), answer.body
        deadline = time.monotonic() + READY_SECONDS
        for resource in resources:
            while (await self.list(resource)).status != 200:
                assert time.monotonic() < deadline, f"{resource} is not served"
                await anyio.sleep(0.03)


# --- what is compared ----------------------------------------------------------------------------------------------------


def plain(value: Any) -> Any:
    """The value without what chance decides: uids, versions and times."""
    if isinstance(value, dict):
        return {key: plain(one) for key, one in value.items() if key not in CHANCE or isinstance(one, (dict, list))}
    return [plain(one) for one in value] if isinstance(value, list) else value


def without(obj: JsonObject, *fields: str) -> JsonObject:
    """The object without some fields of its metadata."""
    kept = {key: value for key, value in obj["metadata"].items() if key not in fields}
    return {**obj, "metadata": kept}


def refusal(code: int, reason: str, message: str, **details: Any) -> JsonObject:
    """The Status that tells a failure, with `details` unless there are none."""
    head = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": code}
    return {**head, "message": message, **({"reason": reason} if reason else {}), **({"details": details} if details else {})}


def not_found(qualified: str, name: str) -> JsonObject:
    """`qualified`: the plural and, behind a dot, the group."""
    return refusal(404, "NotFound", f'{qualified} "{name}" not found', **about(qualified, name))


def conflict(qualified: str, name: str, why: str = "") -> JsonObject:
    why = why or "the object has been modified; please apply your changes to the latest version and try again"
    message = f'Operation cannot be fulfilled on {qualified} "{name}": {why}'
    return refusal(409, "Conflict", message, **about(qualified, name))


def about(qualified: str, name: str) -> JsonObject:
    """The details of a Status about one object."""
    plural, _, group = qualified.partition(".")
    return {"name": name, **({"group": group} if group else {}), "kind": plural}


def managers(obj: JsonObject) -> list[str]:
    """Who has fields of the object, as `operation manager[/subresource]`, in the order that the object tells. Controllers come
    when they come, and are left out."""
    return [
        f"{one['operation']} {one['manager']}" + (f"/{one['subresource']}" if one.get("subresource") else "")
        for one in entries_of(obj)
    ]


def entries_of(obj: JsonObject) -> list[JsonObject]:
    entries: list[JsonObject] = obj["metadata"].get("managedFields") or []
    return [one for one in entries if one["manager"] not in CONTROLLERS]


def fields_of(obj: JsonObject, manager: str) -> JsonObject:
    """The fields of one manager, told as `managers` tells it."""
    fields: JsonObject = entries_of(obj)[managers(obj).index(manager)]["fieldsV1"]
    return fields


# --- objects -------------------------------------------------------------------------------------------------------------


def config_map(name: str = "colour", data: dict[str, str] | None = None, **metadata: Any) -> JsonObject:
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, **metadata}}
    return {**body, "data": {"is": "red"} if data is None else data}


def stateful_set(name: str = "web", containers: list[JsonObject] | None = None, **spec: Any) -> JsonObject:
    container = {"name": "app", "image": "web:1", "ports": [{"name": "http", "containerPort": 8080}]}
    template = {"metadata": {"labels": {"app": name}}, "spec": {"containers": containers or [container]}}
    selector = {"matchLabels": {"app": name}}
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": name},
        "spec": {"replicas": 1, "serviceName": name, "selector": selector, "template": template, **spec},
    }


def disruption_budget(name: str = "web", **metadata: Any) -> JsonObject:
    """A kind with a status that no controller writes here."""
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": name, **metadata},
        "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": name}}},
    }


def traffic_split(name: str = "web", version: str = "v1alpha4", **weights: int) -> JsonObject:
    backends = [{"service": service, "weight": weight} for service, weight in (weights or {"old": 100, "new": 0}).items()]
    return {
        "apiVersion": f"split.smi-spec.io/{version}",
        "kind": "TrafficSplit",
        "metadata": {"name": name},
        "spec": {"service": "web", "backends": backends},
    }


def autoscaler(name: str = "web", **spec: Any) -> JsonObject:
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": name},
        "spec": {"scaleTargetRef": target, "maxReplicas": 5, **spec},
    }


def changed(body: JsonObject, value: object, *path: str | int) -> JsonObject:
    """A copy of the body with a value at a path of keys and indices; None takes what is there away."""
    result = copy.deepcopy(body)
    place: Any = result
    for key in path[:-1]:
        place = place.setdefault(key, {}) if isinstance(key, str) else place[key]
    if value is None:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return result


def any_uid() -> str:
    """A uid that nobody has."""
    return str(uuid4())
