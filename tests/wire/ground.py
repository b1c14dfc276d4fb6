"""Everything that traffic needs, in a network of its own: a real control plane, pods that serve, and the data planes.

What is started here ends here, and with this process at the latest: the kernel sees to it.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.e2e.conftest import ask_api, define_meshes
from tests.e2e.controlplane.binaries import find_binaries
from tests.e2e.controlplane.definitions import SOURCES, load_definitions
from tests.e2e.controlplane.processes import START_SECONDS, Program, StartFailed, python_module
from tests.e2e.controlplane.running import RealControlPlane, run_real_control_plane
from tests.wire.network import own_network
from tests.wire.traefik import GATEWAY_CLASS, Traefik

LOOPBACK = "127.0.0.1"
KUBELET = "tests.wire.kubelet"
LATE_ENDPOINTS = ("--endpointslice-updates-batch-period=500ms",)
"""As large clusters have it: that pods are available is known before their endpoints are."""
GATEWAY_NAMESPACE = "default"
_GATEWAY_API = "/apis/gateway.networking.k8s.io/v1"


@dataclass(frozen=True, slots=True)
class Ground:
    plane: RealControlPlane
    folder: Path
    mesh: Program
    traefik: Traefik

    @property
    def envoy(self) -> tuple[str, int]:
        """Where the mesh takes requests, by their Host header."""
        return (LOOPBACK, int(self.folder.joinpath("mesh.ready").read_text("ascii")))

    @property
    def envoy_admin(self) -> str:
        """Where Envoy tells of itself: `host:port`."""
        return self.folder.joinpath("mesh.admin").read_text("ascii").removeprefix("http://")

    def applied(self, cluster: str) -> set[str]:
        """The addresses among which Envoy spreads what is sent to this Service (`web.namespace`)."""
        told = json.loads(self.folder.joinpath("mesh.applied").read_text("ascii"))
        return {address for address, _ in told.get(cluster, ())}


@contextmanager
def open_ground() -> Iterator[Ground]:
    """Raises `NetworkRefused`, `BinariesMissing` or `StartFailed`."""
    binaries = find_binaries()
    for source in SOURCES:
        load_definitions(source)  # Fetched once, which the network below could not do.
    with ExitStack() as stack:
        stack.enter_context(own_network())
        folder = Path(tempfile.mkdtemp(prefix="headgate-wire-"))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        plane = stack.enter_context(run_real_control_plane(binaries, KUBELET, LATE_ENDPOINTS))
        define_meshes(plane)
        kubeconfig = folder / "kubeconfig"
        plane.write_kubeconfig(kubeconfig)
        ready = folder / "mesh.ready"
        command = python_module("tests.wire.mesh", str(kubeconfig), str(folder))
        mesh = Program("mesh", command, folder / "mesh.log", ready.exists)
        stack.callback(mesh.stop)
        mesh.start()
        traefik = Traefik(plane, folder)
        stack.callback(traefik.program.stop)
        traefik.program.start()
        open_gateway(plane, traefik)
        yield Ground(plane, folder, mesh, traefik)


def open_gateway(plane: RealControlPlane, traefik: Traefik) -> None:
    """A Gateway that Traefik takes for its own and has programmed. Raises `StartFailed`."""
    gateways = f"{_GATEWAY_API}/namespaces/{GATEWAY_NAMESPACE}/gateways"
    ask_api(plane, f"{_GATEWAY_API}/gatewayclasses", GATEWAY_CLASS)
    ask_api(plane, gateways, traefik.gateway())
    deadline = time.monotonic() + START_SECONDS
    while True:
        status = ask_api(plane, f"{gateways}/web").get("status", {})
        if "True" in {one["status"] for one in status.get("conditions", ()) if one["type"] == "Programmed"}:
            return
        if time.monotonic() > deadline:
            raise StartFailed(f"Traefik has not programmed the Gateway: {json.dumps(status)}")
        time.sleep(0.05)
