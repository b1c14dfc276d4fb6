"""Where a story's randomness comes from: one source for each subject, so that one kind of trouble can be left out of a story
without changing the rest of it."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from random import Random


class Trouble(StrEnum):
    """What can go wrong. Each story has some of it."""

    ERRORS = "errors"
    """The API server answers 409, 410, 422, 429, 500, 503 instead of doing what it was asked."""
    LOST = "lost"
    """A request or its answer is lost: nobody knows whether the write was done."""
    SLOW = "slow"
    """Answers take seconds, some longer than anybody waits."""
    WATCHES = "watches"
    """Watches are cut, lag behind, are told again what they know, and find that the history is gone."""
    PARTITION = "partition"
    """The cluster cannot be reached for minutes."""
    PODS = "pods"
    """Pods crash, flap, are evicted with their node, start late or never."""
    SCALING = "scaling"
    """Somebody, or an autoscaler, changes the number of replicas."""
    MEDDLING = "meddling"
    """Somebody edits or deletes our objects and their own."""
    METRICS = "metrics"
    """Metrics servers answer late, nothing, or nonsense."""
    CALLBACKS = "callbacks"
    """Called sides answer twice, late, wrongly or never."""
    ORDERS = "orders"
    """An operator gives orders at any moment."""
    RELEASES = "releases"
    """A new release comes over a running one."""
    CLOCK = "clock"
    """The wall clock jumps forward and back."""
    DISK = "disk"
    """The store's disk is full, busy, or fails at a commit."""
    KILLS = "kills"
    """The daemon is killed at any request or commit, before it, within it or after it."""
    PAUSES = "pauses"
    """The process stops for longer than its lease lasts, another one takes its place, and then it goes on."""


class Dice:
    def __init__(self, seed: int, without: Iterable[str] = ()) -> None:
        self._seed = seed
        self._sources: dict[str, Random] = {}
        plot = self.of("troubles")
        share = plot.choice([0.0, 0.2, 0.2, 0.5, 1.0])
        self.troubles = frozenset(one for one in Trouble if plot.random() < share and one not in frozenset(without))
        self.roughness = plot.choice([0.3, 1.0, 1.0, 3.0])

    def of(self, subject: str) -> Random:
        if subject not in self._sources:
            self._sources[subject] = Random(f"{self._seed}/{subject}")
        return self._sources[subject]

    def has(self, trouble: Trouble) -> bool:
        return trouble in self.troubles

    def happens(self, trouble: Trouble, chance: float) -> bool:
        """Draws in any case, so that what follows is the same without this trouble."""
        drawn = self.of(trouble).random()
        return trouble in self.troubles and drawn < chance * self.roughness
