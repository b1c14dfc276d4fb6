"""`python -m adapters.embedded [KUBECONFIG]`: serve an embedded cluster until it is interrupted, to be looked at with kubectl."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from uuid import uuid4

import anyio

from adapters.embedded.cluster import run_embedded_cluster
from adapters.embedded.gateway_definitions import GatewayChannel
from engine.clock import SystemClock


async def serve(path: Path) -> None:
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with run_embedded_cluster(
            SystemClock(), lambda: str(uuid4()), gateway_channel=GatewayChannel.EXPERIMENTAL, takes_up_routes=True
        ) as cluster:
            cluster.write_kubeconfig(path)
            sys.stdout.write(f"{cluster.server.url} serves; export KUBECONFIG={path}\n")
            sys.stdout.flush()
            async for _ in signals:
                break


def main() -> None:
    path = Path(sys.argv[1] if len(sys.argv) > 1 else "embedded.kubeconfig").absolute()
    try:
        anyio.run(serve, path)
    finally:
        path.unlink(missing_ok=True)


if __name__ == "__main__":
    main()
