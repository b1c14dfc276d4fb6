"""What the API serves: the engine and what belongs to it. Knows no HTTP, and nobody who asks."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from adapters.http.known_names import KnownNames
from adapters.http.telemetry import Telemetry
from engine.clock import Clock
from engine.daemon import Engine
from engine.ports import Store, StoredRollout

MOST_SEARCHED = 1_000
"""Among how many of the newest releases an abbreviated id is looked for."""


@dataclass(frozen=True, slots=True)
class Service:
    engine: Engine
    store: Store
    clock: Clock
    telemetry: Telemetry
    check_store: Callable[[], Awaitable[None]]
    """Returns when the store can be written to; raises `StoreError`."""
    known: Callable[[], KnownNames]
    """What deploy files may name; some of it changes while the daemon runs."""
    public_url: str | None
    take_out_secrets: Callable[[str], Awaitable[str]]
    """Of a text by somebody to whom secrets were sent."""

    async def rollouts(self, release_id: str) -> list[StoredRollout]:
        """As they stand now; from the store once the release has ended."""
        return self.engine.rollouts(release_id) or await self.store.rollouts(release_id)
