"""Checks that a weight has an effect: what clients really got, against what was asked for.

A traffic object that was read back says what it says; whether anybody obeys it (no proxy beside the callers, a controller that is
missing, a headless Service) only the answers tell.
"""

from __future__ import annotations

from datetime import timedelta
from math import sqrt

from adapters.metrics.measuring import Measurer
from engine.clock import Clock
from engine.errors import Retryable, Undecided
from engine.events import ActionSucceeded, Measured, MeasureOutcome
from engine.model import Action, Analysis, Effect, RolloutSpec, Snapshot, TimerName
from engine.traffic import FULL_WEIGHT

STANDARD_ERRORS = 3.0


class EffectChecker:
    """Implements `engine.ports.Actuator` for `CHECK_EFFECT`: fails as long as the served share is not the asked one."""

    def __init__(self, measurer: Measurer, clock: Clock) -> None:
        self._measurer = measurer
        self._clock = clock

    async def perform(self, spec: RolloutSpec, snapshot: Snapshot, action: Action) -> ActionSucceeded:
        effect = next(one for one in spec.plan.effects if one.route == action.args["route"])
        asked = action.args["weight"]
        assert isinstance(asked, int)
        step = Analysis((effect.canary, effect.everybody), effect.interval_seconds, 1, context=effect.context)
        now = self._clock.now()
        # The patience began with the order, which came after the weight was read back.
        until = snapshot.timers.get(TimerName.WAIT, now + timedelta(seconds=effect.timeout_seconds))
        since = until - timedelta(seconds=effect.timeout_seconds)
        longest = timedelta(seconds=effect.timeout_seconds + effect.interval_seconds)
        self._measurer.announce(spec, snapshot, step, since, longest)
        left = effect.interval_seconds - (now - since).total_seconds()
        if left > 0:
            raise Undecided(f"the window of {effect.interval_seconds:g} s is not over", left)
        start = now - timedelta(seconds=effect.interval_seconds)
        canary, everybody = await self._measurer.ask_all(spec, snapshot, step, start, now)
        return ActionSucceeded(action.number, note=judge_effect(effect, asked, canary, everybody))


def judge_effect(effect: Effect, asked: int, canary: Measured, everybody: Measured) -> str:
    """What is to be said of a share that is as asked. Raises `Undecided` where nothing can be told, and `Retryable` with both
    shares where they differ by more than the tolerance and what chance explains."""
    again = effect.interval_seconds
    part, whole = _count(canary, again), _count(everybody, again)
    if whole < effect.least_requests:
        raise Undecided(f"only {whole:.0f} requests in {again:g} s; {effect.least_requests} are needed to judge the share", again)
    if part > whole:
        more = f"{canary.query} ({part:g}) are more than {everybody.query} ({whole:g})"
        raise Undecided(f"{more}; correct the queries of the effect", again)
    served, wanted = part / whole, asked / FULL_WEIGHT
    got = f"clients get {served * 100:.4g} % from the new version ({part:.0f} of {whole:.0f} requests)"
    told = f"{got}, {wanted * 100:g} % was asked for"
    by_chance = STANDARD_ERRORS * sqrt(wanted * (1 - wanted) / whole)
    if abs(served - wanted) <= effect.tolerance / FULL_WEIGHT + by_chance:
        return told
    if part == 0:
        raise Retryable(f"the weight has no effect: {told}; are the callers in the mesh, and is its controller running?", again)
    raise Retryable(f"the weight is not obeyed: {told}", again)


def _count(measured: Measured, again: float) -> float:
    """A version that has answered nothing yet may not be known to the provider at all."""
    if measured.outcome is MeasureOutcome.NO_DATA:
        return 0.0
    if measured.outcome is not MeasureOutcome.VALUE or measured.value is None:
        raise Undecided(f"{measured.query} could not be measured: {measured.detail}", again)
    return measured.value
