"""The stage of the end-to-end stories: a control plane with the kinds of the meshes, and a site in it."""

from __future__ import annotations

import json
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from adapters.embedded.json_objects import JsonObject
from tests.e2e.controlplane.definitions import SOURCES, load_definitions, service_profile_definition
from tests.e2e.controlplane.running import ADMIN_TOKEN, RealControlPlane
from tests.e2e.site import Site, open_site


@pytest.fixture(scope="session")
def mesh_plane(real_control_plane: RealControlPlane) -> RealControlPlane:
    define_meshes(real_control_plane)
    return real_control_plane


def define_meshes(plane: RealControlPlane) -> None:
    """Install the kinds of SMI, Istio, the Gateway API and Linkerd."""
    definitions = [one for source in SOURCES for one in load_definitions(source)]
    for definition in (*definitions, service_profile_definition()):
        _define(plane, definition)


def _define(plane: RealControlPlane, definition: JsonObject) -> None:
    context = ssl.create_default_context(cafile=plane.certificates.authority)
    path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    headers = {"Authorization": f"Bearer {ADMIN_TOKEN}", "Content-Type": "application/json"}
    request = urllib.request.Request(plane.server + path, json.dumps(definition).encode(), headers)
    try:
        urllib.request.urlopen(request, context=context, timeout=30).close()
    except urllib.error.HTTPError as error:
        if error.code != 409:
            raise
    _wait_until_established(plane, f"{path}/{definition['metadata']['name']}", context)


def _wait_until_established(plane: RealControlPlane, path: str, context: ssl.SSLContext) -> None:
    request = urllib.request.Request(plane.server + path, headers={"Authorization": f"Bearer {ADMIN_TOKEN}"})
    deadline = time.monotonic() + 30
    while True:
        with urllib.request.urlopen(request, context=context, timeout=30) as answer:
            conditions = json.load(answer).get("status", {}).get("conditions") or []
        if any(one["type"] == "Established" and one["status"] == "True" for one in conditions):
            return
        assert time.monotonic() < deadline, f"{path} is not established: {conditions}"
        time.sleep(0.02)


@pytest.fixture
async def site(mesh_plane: RealControlPlane, tmp_path: Path) -> AsyncIterator[Site]:
    """A namespace with nothing in it, and a daemon that runs."""
    async with open_site(mesh_plane, tmp_path) as site:
        await site.start_daemon()
        yield site
