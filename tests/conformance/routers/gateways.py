"""Somebody who takes up routes of the Gateway API, for a real API server: there is no gateway there, and a weight counts only
when one has said so."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from tests.conformance.routers.ground import Ground
from tests.conformance.routers.view import JsonObject

CONTROLLER = "gateways.example.com/all"
LOOK_SECONDS = 0.05


@asynccontextmanager
async def take_up_routes(ground: Ground) -> AsyncIterator[None]:
    """Until the block ends, every route of the namespace is accepted by all its parents, and resolved once its backends exist."""
    task = asyncio.create_task(_take_up(ground))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _take_up(ground: Ground) -> None:
    kinds = [kind for kind in ground.case.kinds if kind.endswith("Route")]
    while True:
        services = {one["metadata"]["name"] for one in await ground.items("Service")}
        for kind in kinds:
            for route in await ground.items(kind):
                said = {"parents": [_parent(route, one, services) for one in route["spec"]["parentRefs"]]}
                if _verdicts(route.get("status") or {}) != _verdicts(said):
                    await _say(ground, kind, route, said)
        await asyncio.sleep(LOOK_SECONDS)


def _parent(route: JsonObject, reference: JsonObject, services: set[str]) -> JsonObject:
    named = {one["name"] for rule in route["spec"]["rules"] for one in rule["backendRefs"]} - {"legacy"}
    is_resolved = named <= services
    conditions = [
        _condition(route, "Accepted", "True", "Accepted"),
        _condition(route, "ResolvedRefs", str(is_resolved), "ResolvedRefs" if is_resolved else "BackendNotFound"),
    ]
    return {"parentRef": reference, "controllerName": CONTROLLER, "conditions": conditions}


def _condition(route: JsonObject, kind: str, status: str, reason: str) -> JsonObject:
    return {
        "type": kind,
        "status": status,
        "reason": reason,
        "message": "",
        "observedGeneration": route["metadata"]["generation"],
        "lastTransitionTime": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    }


def _verdicts(status: JsonObject) -> list[tuple[str, str, int]]:
    conditions = [one for parent in status.get("parents") or () for one in parent["conditions"]]
    return [(one["type"], one["status"], one["observedGeneration"]) for one in conditions]


async def _say(ground: Ground, kind: str, route: JsonObject, status: JsonObject) -> None:
    """Of one that is gone, or has changed since, nothing: the next look is another one."""
    body = {"metadata": {"resourceVersion": route["metadata"]["resourceVersion"]}, "status": status}
    path = f"{ground.path(kind, route['metadata']['name'])}/status"
    headers = {"Content-Type": "application/merge-patch+json"}
    async with ground.http.patch(path, json=body, headers=headers, params={"fieldManager": "gateway-controller"}) as answer:
        assert answer.status in (200, 404, 409), await answer.text()
