"""Brings a real control plane up and keeps it until Ctrl-C.

python -m tests.e2e.controlplane KUBECONFIG      where an administrator's kubeconfig is to be written
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path

from tests.e2e.controlplane.binaries import BinariesMissing, find_binaries
from tests.e2e.controlplane.processes import StartFailed
from tests.e2e.controlplane.running import run_real_control_plane


def main() -> int:
    if len(sys.argv) != 2:
        sys.stderr.write(f"{__doc__}\n")
        return 2
    try:
        with run_real_control_plane(find_binaries()) as plane:
            plane.write_kubeconfig(Path(sys.argv[1]))
            sys.stdout.write(f"{plane.server}: kubectl --kubeconfig {sys.argv[1]} get all -A    (Ctrl-C ends it)\n")
            sys.stdout.flush()
            signal.sigwait({signal.SIGINT, signal.SIGTERM})
    except (BinariesMissing, StartFailed) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    sys.exit(main())
