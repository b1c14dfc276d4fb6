"""What was scraped, and what it says about one window of time: how far counters rose, where gauges stand at its end.

The rules, and why:
- Only scrapes inside of the window count, and the first one after its end as the closing one, at most one interval
  late. None from before: they would measure the step before this one.
- A counter that an earlier scrape did not have counts from 0 (Envoy makes a series for 5xx with the first 5xx). In the
  first scrape of the window it counts from the value it has there.
- A counter that falls was reset with its process: the new value is the increase, as in Prometheus.
- A scrape that failed is a gap, not a zero: what rose meanwhile is seen by the next good one.
- Nothing is extrapolated, so an increase is what was really counted.
This module must not know HTTP, expressions or the clock.
"""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import islice, pairwise

from adapters.metrics.outcome import OutcomeKind
from adapters.metrics.selector import Selector, Series

STALE_INTERVALS = 3
"""After so many intervals without a good scrape, an endpoint no longer says anything about now."""
MIN_INTERVALS = 0.4
"""Two scrapes that are closer than this part of an interval are one look, and no rate can be told from them."""


@dataclass(frozen=True, slots=True)
class Scrape:
    """One visit to one endpoint. `at` (UTC) and `monotonic` (seconds) are from when it began.

    `selectors` are those that were looked for: without them, a series that is missing could not be told from one that
    nobody looked for. `names` are the metric names among them that the page has. A visit that failed has a `failure`
    and no values.
    """

    at: datetime
    monotonic: float
    selectors: frozenset[Selector] = frozenset()
    values: Mapping[Series, float] = field(default_factory=dict)
    names: frozenset[str] = frozenset()
    failure: str = ""


class NotMeasured(Exception):
    """There is no value. The message says why."""

    kind = OutcomeKind.NO_DATA


class NothingThere(NotMeasured):
    """The endpoints were read, and have nothing of this kind in the window: what `default` is for."""


class TooFewSamples(NotMeasured):
    """It is too early to say anything."""


class SeveralThere(NotMeasured):
    """More than one series where one is needed."""

    kind = OutcomeKind.SEVERAL_SERIES


class EndpointsFail(NotMeasured):
    """No endpoint can be read, or none any more."""

    kind = OutcomeKind.ERROR


@dataclass(frozen=True, slots=True)
class Reading:
    """What one endpoint gave in a window: every visit, and the good ones among them."""

    visits: tuple[Scrape, ...]
    good: tuple[Scrape, ...]

    @property
    def listed_s(self) -> float:
        """Seconds between the first and the last visit: how long the endpoint was there to be visited."""
        return self.visits[-1].monotonic - self.visits[0].monotonic

    @property
    def seconds(self) -> float:
        """Seconds between the first and the last good visit: what an increase is about. 0 when it has none."""
        return self.good[-1].monotonic - self.good[0].monotonic if self.good else 0.0


@dataclass(frozen=True, slots=True)
class Rise:
    """How far the selected counters of one endpoint rose in `seconds`.

    `share` (0 to 1) is the part of the window that the endpoint was listed for.
    """

    seconds: float
    share: float
    by_series: Mapping[Series, float]


@dataclass(frozen=True, slots=True)
class Window:
    """A window over the histories of all endpoints: the scrapes of each, oldest first.

    `selectors` are all those of the expression: a scrape that did not look for each of them does not count for any, or
    the two sides of a ratio would be about different times.
    """

    histories: Sequence[Sequence[Scrape]]
    selectors: frozenset[Selector]
    start: datetime
    end: datetime
    interval_s: float

    def read(self, range_ms: int | None) -> list[Reading]:
        """What each endpoint gave in the window, or in its last part. Raises TooFewSamples or EndpointsFail."""
        length = self.end - self.start
        if range_ms is not None and range_ms < length / timedelta(milliseconds=1):
            length = timedelta(milliseconds=range_ms)
        readings = []
        for history in self.histories:
            visits = self._visits(history, self.end - length)
            if visits:
                readings.append(Reading(visits, tuple(one for one in visits if not one.failure)))
        self._check(readings)
        return readings

    def _visits(self, history: Sequence[Scrape], start: datetime) -> tuple[Scrape, ...]:
        visits = []
        closing: Scrape | None = None
        for scrape in history:
            if scrape.at < start or not (scrape.failure or self.selectors <= scrape.selectors):
                continue
            if scrape.at <= self.end:
                visits.append(scrape)
            elif closing is None and scrape.at <= self.end + timedelta(seconds=self.interval_s):
                closing = scrape
        return (*visits, closing) if closing is not None else tuple(visits)

    def _check(self, readings: Sequence[Reading]) -> None:
        if not readings:
            raise TooFewSamples("no endpoint was scraped for this expression in the window")
        last = max((reading.visits[-1] for reading in readings), key=lambda scrape: scrape.monotonic)
        good = [reading.good[-1].monotonic for reading in readings if reading.good]
        since_s = last.monotonic - max(good, default=last.monotonic)
        if not good or since_s > STALE_INTERVALS * self.interval_s:
            how_long = f" for {since_s:.1f} s" if good else ""
            which = "the endpoint" if len(readings) == 1 else f"all {len(readings)} endpoints"
            raise EndpointsFail(f"{which} could not be read{how_long}: {last.failure}")

    def rises(self, selector: Selector, range_ms: int | None) -> list[Rise]:
        """How far the selected counters rose, for each endpoint. Raises a NotMeasured."""
        readings = self.read(range_ms)
        enough = [reading for reading in readings if reading.seconds >= MIN_INTERVALS * self.interval_s]
        if not enough:
            self._raise_too_few(readings)
        first = min(reading.visits[0].monotonic for reading in readings)
        whole_s = max(reading.visits[-1].monotonic for reading in readings) - first
        rises = [Rise(one.seconds, one.listed_s / whole_s, rise_of(one.good, selector)) for one in enough]
        if not any(rise.by_series for rise in rises):
            raise self._nothing(selector, readings)
        return rises

    def latest(self, selector: Selector, range_ms: int | None) -> list[tuple[Series, float]]:
        """The selected series of all endpoints where they stand at the end of the window. Raises a NotMeasured."""
        readings = self.read(range_ms)
        now = max(reading.visits[-1].monotonic for reading in readings)
        found = [
            (series, value)
            for reading in readings
            if reading.good and now - reading.good[-1].monotonic <= STALE_INTERVALS * self.interval_s
            for series, value in reading.good[-1].values.items()
            if is_selected(series, selector)
        ]
        if not found:
            raise self._nothing(selector, readings)
        return found

    def _raise_too_few(self, readings: Sequence[Reading]) -> None:
        failing = [reading.visits[-1].failure for reading in readings if reading.visits[-1].failure]
        if len(failing) == len(readings):
            raise EndpointsFail(f"too few good scrapes in the window, and the last one failed: {failing[-1]}")
        raise TooFewSamples(
            "one scrape in the window so far, and an increase needs two: "
            f"one is made every {self.interval_s:g} s from when the expression is first asked for"
        )

    def _nothing(self, selector: Selector, readings: Sequence[Reading]) -> NothingThere:
        if any(selector.name in scrape.names for reading in readings for scrape in reading.good):
            return NothingThere(f"no series matches {selector}: the metric is there, but not with these labels")
        return NothingThere(f"no series matches {selector}: no page has a metric of this name")


def rise_of(scrapes: Sequence[Scrape], selector: Selector) -> dict[Series, float]:
    """How far each selected counter rose from the first to the last of some good scrapes: never below 0, maybe NaN."""
    pages = [scrape.values for scrape in scrapes]
    every_series = set[Series]().union(*pages)
    return {
        series: rise_of_counter([page.get(series, 0.0) for page in pages])
        for series in every_series
        if is_selected(series, selector)
    }


def rise_of_counter(values: Sequence[float]) -> float:
    """What a counter counted from the first to the last of its values, resets included."""
    if all(map(operator.le, values, islice(values, 1, None))):
        return values[-1] - values[0]
    # After a reset the counter began at 0, so all that it shows now was counted since.
    return sum(max(now, 0.0) if now < before else now - before for before, now in pairwise(values))


def is_selected(series: Series, selector: Selector) -> bool:
    return series.name == selector.name and selector.accepts(dict(series.labels))
