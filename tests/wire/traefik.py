"""Traefik as its users run it, with a cluster's own objects: its TraefikServices, and as a controller of the Gateway API."""

from __future__ import annotations

import shutil
from pathlib import Path

from adapters.embedded.json_objects import JsonObject
from tests.e2e.controlplane.binaries import BinariesMissing
from tests.e2e.controlplane.processes import Program, answers_at, free_port
from tests.e2e.controlplane.running import ADMIN_TOKEN, RealControlPlane

CONTROLLER = "traefik.io/gateway-controller"
GATEWAY_CLASS: JsonObject = {
    "apiVersion": "gateway.networking.k8s.io/v1",
    "kind": "GatewayClass",
    "metadata": {"name": "traefik"},
    "spec": {"controllerName": CONTROLLER},
}
THROTTLE_SECONDS = 2.0
"""Traefik's own default: it takes up what has changed this often, and no more often."""


class Traefik:
    """`port` is where it takes requests, by their Host header; `admin` says what it works by."""

    def __init__(self, plane: RealControlPlane, folder: Path, throttle: float = THROTTLE_SECONDS) -> None:
        self.port, self.admin_port = free_port(), free_port()
        self.admin = f"http://127.0.0.1:{self.admin_port}"
        cluster = (f"endpoint={plane.server}", f"token={ADMIN_TOKEN}", f"certauthfilepath={plane.certificates.authority}")
        options = [
            f"--entrypoints.web.address=127.0.0.1:{self.port}",
            f"--entrypoints.traefik.address=127.0.0.1:{self.admin_port}",
            "--api.insecure=true",
            "--ping=true",
            "--global.checknewversion=false",
            "--global.sendanonymoususage=false",
            f"--providers.providersthrottleduration={throttle}s",
            *(f"--providers.kubernetescrd.{one}" for one in cluster),
            *(f"--providers.kubernetesgateway.{one}" for one in cluster),
            "--providers.kubernetesgateway.statusaddress.ip=127.0.0.1",
            "--log.level=INFO",
        ]
        self.log = folder / "traefik.log"
        self.program = Program("traefik", [find_traefik(), *options], self.log, answers_at(f"{self.admin}/ping"))

    def gateway(self) -> JsonObject:
        """A Gateway with one listener, where this Traefik takes requests; routes of all namespaces may use it."""
        listener = {
            "name": "web",
            "protocol": "HTTP",
            "port": self.port,
            "allowedRoutes": {"namespaces": {"from": "All"}},
        }
        return {
            "apiVersion": "gateway.networking.k8s.io/v1",
            "kind": "Gateway",
            "metadata": {"name": "web"},
            "spec": {"gatewayClassName": "traefik", "listeners": [listener]},
        }


def find_traefik() -> str:
    found = shutil.which("traefik")
    if found is None:
        raise BinariesMissing("there is no traefik on the PATH: `pip install 'headgate[wire]'`")
    return found
