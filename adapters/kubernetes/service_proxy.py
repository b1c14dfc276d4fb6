"""The API server's own proxy as the way into one Service: the account's rights decide, and nothing is opened in the cluster."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager

from adapters.forwarding import Answered, Door, Forwarded, NotForwarded
from adapters.kubernetes.cluster import Cluster
from adapters.kubernetes.errors import ApiError
from adapters.kubernetes.paths import SERVICES
from engine.model import TargetPlan


class ServiceProxies:
    """Implements `adapters.forwarding.ServiceDoors`. `clusters`, by account, may grow."""

    def __init__(self, clusters: Mapping[str, Cluster]) -> None:
        self._clusters = clusters

    def prefix(self, plan: TargetPlan, door: Door) -> str:
        scheme = f"{door.scheme}:" if door.scheme != "http" else ""
        return f"{SERVICES.collection(plan.namespace)}/{scheme}{door.service}:{door.port}/proxy"

    @asynccontextmanager
    async def open(self, plan: TargetPlan, door: Door, forwarded: Forwarded) -> AsyncIterator[Answered]:
        cluster = self._clusters.get(plan.account)
        if cluster is None:
            raise NotForwarded(f"account {plan.account} is not logged in at present; try again in a while")
        path, what = f"{self.prefix(plan, door)}/{forwarded.tail}", f"PROXY {plan.namespace}/{door.service}"
        try:
            async with (
                cluster.transport.pass_through(forwarded, path, what=what) as answer,
                aclosing(_translated(door, answer.chunks)) as chunks,
            ):
                yield Answered(answer.status, answer.headers, chunks)
        except ApiError as error:
            raise _not_reached(door) from error


async def _translated(door: Door, chunks: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
    try:
        async for chunk in chunks:
            yield chunk
    except ApiError as error:
        raise _not_reached(door) from error


def _not_reached(door: Door) -> NotForwarded:
    """Without the error's own words: they name the API server, which is nobody's business out there."""
    return NotForwarded(f"Service {door.service} could not be reached through its cluster's API server; try again in a while")
