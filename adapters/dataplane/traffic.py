"""What became of the requests that were sent: counts by version and status class, and how long they took. Pure.

It must not know how requests are sent.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

MESH_ITSELF = ""
"""The "version" of an answer that carries none: the mesh gave it in place of an application."""

# Latencies are kept in buckets that grow by 5 %: a quantile is exact to 5 %, and two moments can be subtracted.
SMALLEST_LATENCY_S = 50e-6
BUCKET_GROWTH = 1.05


@dataclass(frozen=True, slots=True)
class VersionTraffic:
    """The answers that one version gave, by status class: 2 for 2xx, 5 for 5xx."""

    by_class: Mapping[int, int] = field(default_factory=dict)

    @property
    def answers(self) -> int:
        return sum(self.by_class.values())

    @property
    def errors(self) -> int:
        return self.by_class.get(5, 0)

    @property
    def error_ratio(self) -> float:
        """The share of 5xx among the answers, 0 to 1; 0 when there were none."""
        return self.errors / self.answers if self.answers else 0.0


@dataclass(frozen=True, slots=True)
class Traffic:
    """What happened during some seconds.

    `sent` requests were started; `shed` ones were due but not sent, because as many as allowed were on their way
    already; `connection_errors` got no answer (refused, broken or timed out).
    """

    seconds: float = 0.0
    sent: int = 0
    shed: int = 0
    connection_errors: int = 0
    versions: Mapping[str, VersionTraffic] = field(default_factory=dict)
    latencies: Mapping[int, int] = field(default_factory=dict)

    @property
    def answers(self) -> int:
        return sum(version.answers for version in self.versions.values())

    @property
    def failures(self) -> int:
        """What a user would call failed: a 5xx answer, from whomever, or none."""
        return self.connection_errors + sum(version.errors for version in self.versions.values())

    @property
    def requests_per_second(self) -> float:
        return self.sent / self.seconds if self.seconds > 0 else 0.0

    def of(self, version: str) -> VersionTraffic:
        return self.versions.get(version, VersionTraffic())

    def share(self, version: str) -> float:
        """The version's share of the answers, 0 to 1; 0 when there were none."""
        return self.of(version).answers / self.answers if self.answers else 0.0

    def latency(self, quantile: float) -> float:
        """Seconds within which this share (0 to 1) of the answers came, exact to 5 %; 0 when there were none."""
        remaining = quantile * sum(self.latencies.values())
        for bucket in sorted(self.latencies):
            remaining -= self.latencies[bucket]
            if remaining <= 0:
                return float(SMALLEST_LATENCY_S * BUCKET_GROWTH**bucket)
        return 0.0

    def since(self, earlier: "Traffic") -> "Traffic":
        """What happened after the earlier moment, both counted from the same start."""
        versions = {
            name: VersionTraffic(subtract(now.by_class, earlier.of(name).by_class))
            for name, now in self.versions.items()
        }
        return Traffic(
            seconds=self.seconds - earlier.seconds,
            sent=self.sent - earlier.sent,
            shed=self.shed - earlier.shed,
            connection_errors=self.connection_errors - earlier.connection_errors,
            versions={name: version for name, version in versions.items() if version.answers},
            latencies=subtract(self.latencies, earlier.latencies),
        )


class TrafficCounter:
    """Counts as the answers come in."""

    def __init__(self) -> None:
        self.sent = 0
        self.shed = 0
        self.connection_errors = 0
        self._versions: defaultdict[str, Counter[int]] = defaultdict(Counter)
        self._latencies: Counter[int] = Counter()

    def record_answer(self, version: str, status: int, seconds: float) -> None:
        self._versions[version][status // 100] += 1
        self._latencies[latency_bucket(seconds)] += 1

    def read(self, seconds: float) -> Traffic:
        """The counts of the `seconds` that have passed since the start."""
        return Traffic(
            seconds=seconds,
            sent=self.sent,
            shed=self.shed,
            connection_errors=self.connection_errors,
            versions={name: VersionTraffic(dict(classes)) for name, classes in self._versions.items()},
            latencies=dict(self._latencies),
        )


def latency_bucket(seconds: float) -> int:
    """The number of the bucket whose upper end is SMALLEST_LATENCY_S * BUCKET_GROWTH ** number."""
    if seconds <= SMALLEST_LATENCY_S:
        return 0
    return math.ceil(math.log(seconds / SMALLEST_LATENCY_S) / math.log(BUCKET_GROWTH))


def subtract(now: Mapping[int, int], earlier: Mapping[int, int]) -> dict[int, int]:
    return {key: count - earlier.get(key, 0) for key, count in now.items() if count != earlier.get(key, 0)}
