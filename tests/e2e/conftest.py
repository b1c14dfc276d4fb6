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
from tests.e2e.controlplane.definitions import SOURCES, load_definitions
from tests.e2e.controlplane.running import ADMIN_TOKEN, RealControlPlane
from tests.e2e.site import Site, open_site


@pytest.fixture(scope="session")
def mesh_plane(real_control_plane: RealControlPlane) -> RealControlPlane:
    define_meshes(real_control_plane)
    return real_control_plane


def define_meshes(plane: RealControlPlane) -> None:
    """Install the kinds of SMI, Istio and the Gateway API."""
    definitions = [one for source in SOURCES for one in load_definitions(source)]
    for definition in definitions:
        define(plane, definition)


def define(plane: RealControlPlane, definition: JsonObject) -> None:
    """Install a kind, or replace its definition, and wait until its versions are served."""
    path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    try:
        ask_api(plane, path, definition)
    except urllib.error.HTTPError as error:
        if error.code != 409:
            raise
        # Another suite has brought its own definition of this kind to the same control plane, with fewer versions.
        own = f"{path}/{definition['metadata']['name']}"
        known = {"resourceVersion": ask_api(plane, own)["metadata"]["resourceVersion"]}
        ask_api(plane, own, {**definition, "metadata": {**definition["metadata"], **known}}, method="PUT")
    spec = definition["spec"]
    for version in spec["versions"]:
        if version["served"]:
            _wait_until_served(plane, f"/apis/{spec['group']}/{version['name']}/{spec['names']['plural']}")


def ask_api(plane: RealControlPlane, path: str, body: JsonObject | None = None, method: str | None = None) -> JsonObject:
    """As an administrator: what a GET answers, or what a body makes. Raises `HTTPError`."""
    context = ssl.create_default_context(cafile=plane.certificates.authority)
    headers = {"Authorization": f"Bearer {ADMIN_TOKEN}", "Content-Type": "application/json"}
    content = json.dumps(body).encode() if body is not None else None
    request = urllib.request.Request(plane.server + path, content, headers, method=method)
    with urllib.request.urlopen(request, context=context, timeout=30) as answer:
        found: JsonObject = json.load(answer)
    return found


def _wait_until_served(plane: RealControlPlane, path: str) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            ask_api(plane, path)
        except urllib.error.HTTPError as error:
            assert error.code in (404, 429, 503), error
            assert time.monotonic() < deadline, f"{path} is not served"
            time.sleep(0.02)
        else:
            return


@pytest.fixture
async def site(mesh_plane: RealControlPlane, tmp_path: Path) -> AsyncIterator[Site]:
    """A namespace with nothing in it, and a daemon that runs."""
    async with open_site(mesh_plane, tmp_path) as site:
        await site.start_daemon()
        yield site
