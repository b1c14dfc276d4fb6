"""One whole control plane on loopback: etcd, kube-apiserver with RBAC, kube-controller-manager, and a simulated node."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from adapters.embedded.json_objects import JsonObject
from tests.e2e.controlplane.binaries import Binaries
from tests.e2e.controlplane.certificates import ISSUER, Certificates, make_certificates
from tests.e2e.controlplane.processes import Program, answers_at, free_port, python_module

ADMIN_TOKEN = "an-administrator-of-a-throw-away-cluster"
CONTROLLERS = (
    "deployment-controller,replicaset-controller,endpoints-controller,endpointslice-controller,garbage-collector-controller,"
    "namespace-controller,serviceaccount-controller,horizontal-pod-autoscaler-controller,job-controller,"
    "statefulset-controller,daemonset-controller,"
    "pod-garbage-collector-controller,ttl-after-finished-controller"
)
AUDIT_POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived", "ResponseStarted"],
    "rules": [{"level": "Metadata"}],
}


@dataclass(frozen=True, slots=True)
class RealControlPlane:
    folder: Path
    server: str
    certificates: Certificates
    etcd: Program
    api_server: Program
    controllers: Program
    kubelet: Program

    @property
    def audit_log(self) -> Path:
        """One JSON line for each request that was answered (audit.k8s.io/v1 Event)."""
        return self.folder / "audit.jsonl"

    def kubeconfig(self, token: str = ADMIN_TOKEN) -> JsonObject:
        """For whoever the token stands for; an administrator by default."""
        return kubeconfig(self.server, self.certificates.authority, {"token": token})

    def write_kubeconfig(self, path: Path, token: str = ADMIN_TOKEN) -> None:
        path.write_text(json.dumps(self.kubeconfig(token), indent=2), "utf-8")
        path.chmod(0o600)

    def programs(self) -> tuple[Program, ...]:
        return (self.etcd, self.api_server, self.controllers, self.kubelet)


def kubeconfig(server: str, authority: Path, user: JsonObject) -> JsonObject:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "real",
        "clusters": [{"name": "real", "cluster": {"server": server, "certificate-authority": str(authority)}}],
        "users": [{"name": "user", "user": user}],
        "contexts": [{"name": "real", "context": {"cluster": "real", "user": "user", "namespace": "default"}}],
    }


SIMULATED_KUBELET = "tests.e2e.controlplane.kubelet"


@contextmanager
def run_real_control_plane(
    binaries: Binaries, kubelet: str = SIMULATED_KUBELET, more_of_controllers: Sequence[str] = ()
) -> Iterator[RealControlPlane]:
    """A control plane that serves until the block ends, with the module that is its node's kubelet, and these more arguments of
    its controller manager. Raises `StartFailed`."""
    folder = Path(tempfile.mkdtemp(prefix="headgate-control-plane-"))
    plane = _describe(binaries, folder, kubelet, more_of_controllers)
    try:
        for program in plane.programs():
            program.start()
        yield plane
    finally:
        for program in reversed(plane.programs()):
            program.kill()
        shutil.rmtree(folder, ignore_errors=True)


def _describe(binaries: Binaries, folder: Path, kubelet: str, more_of_controllers: Sequence[str]) -> RealControlPlane:
    certificates = make_certificates(folder)
    etcd_port, peer_port, api_port, controllers_port = (free_port() for _ in range(4))
    server = f"https://127.0.0.1:{api_port}"
    folder.joinpath("tokens.csv").write_text(f'{ADMIN_TOKEN},admin,admin,"system:masters"\n', "utf-8")
    folder.joinpath("audit-policy.json").write_text(json.dumps(AUDIT_POLICY), "utf-8")
    admin = folder / "admin.kubeconfig"
    admin.write_text(json.dumps(kubeconfig(server, certificates.authority, {"token": ADMIN_TOKEN})), "utf-8")
    return RealControlPlane(
        folder,
        server,
        certificates,
        Program(
            "etcd",
            _etcd(binaries, folder, etcd_port, peer_port),
            folder / "etcd.log",
            answers_at(f"http://127.0.0.1:{etcd_port}/readyz"),
        ),
        Program(
            "kube-apiserver",
            _api_server(binaries, folder, certificates, etcd_port, api_port),
            folder / "kube-apiserver.log",
            answers_at(f"{server}/readyz", certificates.authority),
        ),
        Program(
            "kube-controller-manager",
            [*_controllers(binaries, folder, certificates, admin, controllers_port), *more_of_controllers],
            folder / "kube-controller-manager.log",
            answers_at(f"https://127.0.0.1:{controllers_port}/healthz", folder / "controllers" / "ca.crt"),
        ),
        Program(
            "kubelet",
            python_module(kubelet, str(admin), str(folder / "kubelet.ready")),
            folder / "kubelet.log",
            folder.joinpath("kubelet.ready").exists,
        ),
    )


def _etcd(binaries: Binaries, folder: Path, port: int, peer_port: int) -> list[str]:
    client, peer = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{peer_port}"
    return [
        str(binaries.etcd),
        f"--data-dir={folder / 'etcd'}",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=default={peer}",
        "--heartbeat-interval=10",
        "--election-timeout=100",
        "--log-level=warn",
    ]


def _api_server(binaries: Binaries, folder: Path, certificates: Certificates, etcd_port: int, port: int) -> list[str]:
    return [
        str(binaries.kube_apiserver),
        f"--etcd-servers=http://127.0.0.1:{etcd_port}",
        "--bind-address=127.0.0.1",
        "--advertise-address=127.0.0.1",
        f"--secure-port={port}",
        f"--tls-cert-file={certificates.server_certificate}",
        f"--tls-private-key-file={certificates.server_key}",
        f"--token-auth-file={folder / 'tokens.csv'}",
        "--authorization-mode=RBAC",
        f"--service-account-issuer={ISSUER}",
        f"--service-account-signing-key-file={certificates.token_key}",
        f"--service-account-key-file={certificates.token_public_key}",
        "--service-cluster-ip-range=10.96.0.0/16",
        "--endpoint-reconciler-type=none",
        "--disable-admission-plugins=ServiceAccount",
        "--allow-privileged=true",
        f"--audit-policy-file={folder / 'audit-policy.json'}",
        f"--audit-log-path={folder / 'audit.jsonl'}",
        "--shutdown-delay-duration=0s",
    ]


def _controllers(binaries: Binaries, folder: Path, certificates: Certificates, admin: Path, port: int) -> list[str]:
    own = folder / "controllers"
    own.mkdir()
    certificate = make_certificates(own)
    return [
        str(binaries.kube_controller_manager),
        f"--kubeconfig={admin}",
        "--leader-elect=false",
        "--bind-address=127.0.0.1",
        f"--secure-port={port}",
        f"--tls-cert-file={certificate.server_certificate}",
        f"--tls-private-key-file={certificate.server_key}",
        f"--service-account-private-key-file={certificates.token_key}",
        f"--root-ca-file={certificates.authority}",
        "--use-service-account-credentials=false",
        f"--controllers={CONTROLLERS}",
        # The defaults (20/s) would make the controllers the slowest part of every story.
        "--kube-api-qps=500",
        "--kube-api-burst=1000",
        "--horizontal-pod-autoscaler-sync-period=1s",
    ]
