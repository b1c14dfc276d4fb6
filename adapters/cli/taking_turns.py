"""A daemon that waits for its turn, and gives it up when it stops: `serve`, where the settings name a Lease.

The lease's own requests go over connections of their own, with limits that fit its times: nothing else may delay a renewal.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random

import anyio
import structlog

from adapters.cli.connecting import log_in
from adapters.cli.signals import wait_for_stop
from adapters.kubernetes.connections import Limits
from adapters.kubernetes.errors import ApiError
from adapters.kubernetes.leading import Candidate, KubernetesLease
from adapters.kubernetes.lease import LeaseTimes
from adapters.kubernetes.transport import open_transport
from adapters.settings import AccountSettings
from adapters.settings_availability import AvailabilitySettings
from engine.clock import Clock
from engine.errors import ClusterUnreachable

log = structlog.get_logger()


@asynccontextmanager
async def open_candidate(
    settings: AvailabilitySettings, account: AccountSettings, me: str, clock: Clock
) -> AsyncIterator[Candidate]:
    """One daemon that wants to lead; at the end of the block it gives the lease back, if it has it.

    Raises `ClusterUnreachable` where there is no login to the account.
    """
    patience = settings.renew_deadline / 2  # As client-go: a renewal that hangs leaves time for another one.
    try:
        credentials = await log_in(account)
    except ApiError as error:
        raise ClusterUnreachable(f"account {settings.account}: {error}") from error
    limits = Limits(request_seconds=patience, connect_seconds=patience, requests_at_once=2)
    async with open_transport(credentials, limits=limits) as transport:
        times = LeaseTimes(settings.lease_duration, settings.renew_deadline, settings.retry_period)
        lease = KubernetesLease(transport, settings.namespace, settings.name)
        candidate = Candidate(lease, me, times, clock=clock, random=Random(), account=settings.account)
        try:
            yield candidate
        finally:
            with anyio.CancelScope(shield=True):
                await candidate.resign()


async def wait_for_turn(candidate: Candidate) -> bool:
    """Whether it has come; False when the daemon was told to stop before."""
    has_come = False
    async with anyio.create_task_group() as tasks:

        async def campaign() -> None:
            nonlocal has_come
            await candidate.campaign()
            has_come = True
            tasks.cancel_scope.cancel()

        tasks.start_soon(campaign, name="lease")
        number = await wait_for_stop()
        log.info("daemon.stopping", signal=number.name)
        tasks.cancel_scope.cancel()
    return has_come
