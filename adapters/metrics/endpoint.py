"""One HTTP endpoint that exposes metrics, and one visit to it: fetch the page, keep what is looked for.

It must not know when visits happen, nor what expressions make of them.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import TypeAlias

from yarl import URL

from adapters.metrics.exposition import ExpositionError, ExpositionReader, read_series
from adapters.metrics.http_source import (
    HttpFailure,
    HttpSource,
    Reply,
    SourceMisconfigured,
    checked_address,
)
from adapters.metrics.selector import Labels, Selector, Series, ValueTooLong
from adapters.metrics.window import Scrape
from engine.clock import Clock

MAX_SERIES = 20_000
"""Series of one endpoint that may match; more means that a selector is too wide."""
ACCEPT = "text/plain;version=0.0.4, */*;q=0.1"
OPENMETRICS = "application/openmetrics-text"
NO_PAGES = frozenset({"text/html", "application/json", "application/vnd.google.protobuf"})


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a page is, and the labels that every series from it gets.

    As in Prometheus, the label `instance` is the host and port if it is not given here, and a label of the page that is
    also given here is renamed to `exported_...`.
    """

    url: str
    labels: Labels = ()


Known: TypeAlias = dict[bytes, tuple[str, Series | None]]
"""What the series texts of a page mean: the metric name, and the series if a selector means it."""


class Visitor:
    """Visits one endpoint again and again, and keeps the history, oldest scrape first.

    Labels are read and compared once for each series: what a series' text means is remembered from one visit to the
    next, as long as the same selectors are looked for.
    """

    def __init__(self, source: HttpSource, endpoint: Endpoint, clock: Clock) -> None:
        self.history: deque[Scrape] = deque()
        self._source = source
        self._clock = clock
        self._endpoint = endpoint
        self._selectors: frozenset[Selector] = frozenset()
        self._known: Known = {}

    async def visit(self, selectors: frozenset[Selector], timeout_s: float) -> None:
        """Add one scrape to the history, a failed one too. Raises nothing but cancellation."""
        at, monotonic = self._clock.now(), self._clock.monotonic()
        try:
            page = await self._fetch(checked_address(self._endpoint.url), selectors, timeout_s)
        except (SourceMisconfigured, HttpFailure) as failure:
            self.history.append(Scrape(at, monotonic, failure=str(failure)))
        else:
            self.history.append(Scrape(at, monotonic, selectors, page.values, frozenset(page.found_names)))

    async def _fetch(self, url: URL, selectors: frozenset[Selector], timeout_s: float) -> Page:
        async with self._source.ask("GET", url, timeout_s=timeout_s, accept=ACCEPT) as reply:
            if reply.status != HTTPStatus.OK:
                raise HttpFailure(
                    f"{reply.address} answered {reply.status}{ADVICE.get(reply.status, '')}", passing=True
                )
            if reply.content_type in NO_PAGES:
                raise HttpFailure(f"{reply.address} sent {reply.content_type}, expected a metric page", passing=False)
            page = Page(url, self._endpoint.labels, selectors, self._known if selectors == self._selectors else {})
            try:
                await page.read(reply)
            except ExpositionError as error:
                why = reply.quote(str(error))
                raise HttpFailure(f"{reply.address} sent no valid metric page: {why}", passing=False) from error
        # What is no longer on the page is not remembered either, so this cannot grow beyond one page.
        self._selectors, self._known = selectors, page.known
        return page


class Page:
    """The wanted part of one page while it is being read."""

    def __init__(self, url: URL, labels: Labels, selectors: frozenset[Selector], known_before: Known) -> None:
        self.values: dict[Series, float] = {}
        self.found_names: set[str] = set()
        self.known: Known = {}
        self._known_before = known_before
        self._target_labels = {"instance": f"{url.host}:{url.port}", **dict(labels)}
        self._by_name: dict[bytes, list[Selector]] = defaultdict(list)
        for selector in selectors:
            self._by_name[selector.name.encode("ascii")].append(selector)

    async def read(self, reply: Reply) -> None:
        """Read the page to its end. Raises ExpositionError."""
        reader = ExpositionReader(self._by_name, openmetrics=reply.content_type == OPENMETRICS)
        async for chunk in reply.chunks():
            self._keep(reader.feed(chunk))
        self._keep(reader.close())

    def _keep(self, samples: list[tuple[bytes, float]]) -> None:
        for text, value in samples:
            name, series = self.known[text] = self._known_before.get(text) or self._identify(text)
            self.found_names.add(name)
            if series is None:
                continue
            if self.values.get(series, value) != value:
                raise ExpositionError(f"{series} occurs twice with different values")
            self.values[series] = value
        if len(self.values) > MAX_SERIES:
            raise ExpositionError(f"more than {MAX_SERIES} series match: narrow the selectors")

    def _identify(self, text: bytes) -> tuple[str, Series | None]:
        name, page_labels = read_series(text)
        labels = dict(self._target_labels)
        for label, value in page_labels:
            labels[f"exported_{label}" if label in self._target_labels else label] = value
        if not any(may_accept(selector, labels) for selector in self._by_name[name.encode("ascii")]):
            return name, None
        return name, Series(name, tuple(sorted(labels.items())))


def may_accept(selector: Selector, labels: Mapping[str, str]) -> bool:
    """Whether a selector means these labels, or cannot tell: then its expression fails, and not the whole page."""
    try:
        return selector.accepts(labels)
    except ValueTooLong:
        return True


ADVICE: dict[int, str] = {
    HTTPStatus.UNAUTHORIZED: ": it wants credentials, or others than these",
    HTTPStatus.FORBIDDEN: ": these credentials are not allowed to read it",
    HTTPStatus.NOT_FOUND: ": is this the path of the metric page?",
}
