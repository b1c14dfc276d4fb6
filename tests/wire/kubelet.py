"""The node of these stories, as a process: its pods serve.

    python -m tests.wire.kubelet KUBECONFIG READY
"""

from __future__ import annotations

import sys
from pathlib import Path

import anyio

from tests.e2e.controlplane.kubelet import main
from tests.wire.pods import ServingPods

if __name__ == "__main__":
    anyio.run(main, Path(sys.argv[1]), Path(sys.argv[2]), ServingPods())
