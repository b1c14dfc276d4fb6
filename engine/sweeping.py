"""Removes what is kept no longer, a release at a time, for as long as the daemon runs.

It has no haste and no say: whatever it cannot do now it does an hour later, and no rollout waits for it.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import structlog

from engine.clock import Clock
from engine.errors import StoreError
from engine.ports import Archive
from engine.retention import Retention, removable

log = structlog.get_logger()

FIRST_SECONDS = 600.0
"""From the start to the first sweep: a host that has just come up may not know yet which day it is."""
EVERY_SECONDS = 3_600.0
BREATH_SECONDS = 0.1
"""Between two releases."""
MOST_STRAYED = timedelta(minutes=10)
"""How far the wall's clock may be from where the last sweep saw it. Age is all that is judged by, so a clock that has jumped
removes nothing before it has shown the same day for an hour."""


class Sweep:
    def __init__(
        self, archive: Archive, clock: Clock, retention: Retention, on_removed: Callable[[], None] = lambda: None
    ) -> None:
        self._retention = retention
        self._archive = archive
        self._clock = clock
        self._on_removed = on_removed

    def keep(self, retention: Retention) -> None:
        """For so long, from the next sweep on."""
        self._retention = retention

    async def run(self) -> None:
        wait = FIRST_SECONDS
        while True:
            expected, began = self._clock.now(), self._clock.monotonic()
            await self._clock.sleep(wait)
            wait = EVERY_SECONDS
            expected += timedelta(seconds=self._clock.monotonic() - began)
            if abs(self._clock.now() - expected) > MOST_STRAYED:
                log.warning("retention.clock_jumped", expected=expected.isoformat(), now=self._clock.now().isoformat())
                continue
            try:
                await self.sweep()
            except StoreError as error:
                log.warning("retention.failed", error=str(error), advice=f"tried again in {EVERY_SECONDS:g} s")

    async def sweep(self) -> int:
        """Once, now. How many releases were removed. Raises `StoreError`."""
        unfinished = await self._archive.unfinished_releases()
        referred = {name for one in unfinished for name in (one.rollback_of, one.retry_of) if name}
        chosen = removable(await self._archive.ended_releases(), referred, self._retention, self._clock.now())
        for release in chosen:
            await self._archive.remove_release(release)
            self._on_removed()
            await self._clock.sleep(BREATH_SECONDS)
        if chosen:
            await self._archive.give_space_back()
            log.info(
                "retention.removed",
                releases=len(chosen),
                older_than_days=self._retention.age.days,
                kept_of_each_application=self._retention.completed,
            )
        return len(chosen)
