"""Objects by name: created, read, replaced, refused."""

from __future__ import annotations

from tests.conformance.conftest import Plane


async def test_a_stale_replacement_is_a_conflict(plane: Plane) -> None:
    path = f"/api/v1/namespaces/{plane.namespace}/configmaps"
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "colour"}, "data": {"is": "red"}}
    async with plane.http.post(path, json=body) as answer:
        assert answer.status == 201
        first = await answer.json()
    async with plane.http.put(f"{path}/colour", json={**first, "data": {"is": "blue"}}) as answer:
        assert answer.status == 200
    async with plane.http.put(f"{path}/colour", json={**first, "data": {"is": "green"}}) as answer:
        refused = await answer.json()
    assert (answer.status, refused["reason"]) == (409, "Conflict")
