"""Performs the measuring actions of a rollout: renders the queries of its analysis step and asks their providers, all
at once.

A query that cannot be rendered or asked is an answer like any other (`error`), with what to do about it; what it means
for the rollout is the analysis' policy, not this module's.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Protocol, runtime_checkable

import anyio

from adapters.hooks.templates import preview_tokens
from adapters.metrics.outcome import MetricProvider, Outcome, OutcomeKind
from adapters.metrics.outcome import Query as RenderedQuery
from engine.events import ActionSucceeded, Measured, Measurements, MeasureOutcome
from engine.gates import step_of
from engine.model import Action, Analysis, Query, RolloutSpec, Snapshot

_OUTCOMES = {
    OutcomeKind.VALUE: MeasureOutcome.VALUE,
    OutcomeKind.NO_DATA: MeasureOutcome.NO_DATA,
    OutcomeKind.NOT_A_NUMBER: MeasureOutcome.NOT_A_NUMBER,
    OutcomeKind.SEVERAL_SERIES: MeasureOutcome.SEVERAL_SERIES,
    OutcomeKind.ERROR: MeasureOutcome.ERROR,
}


_KEPT_INTERVALS = 10
"""How much of the past a measurement without an end needs of a provider that keeps samples itself."""


class QueryNotRendered(Exception):
    """A query template names something that there is not; the message says what, and what there is."""


class QueryRenderer(Protocol):
    def __call__(
        self, template: str, spec: RolloutSpec, snapshot: Snapshot, step: Analysis, start: datetime, end: datetime
    ) -> str:
        """The query's text. Raises `QueryNotRendered`."""


@runtime_checkable
class PreparingProvider(Protocol):
    """A provider that has to know beforehand what it will be asked."""

    def prepare(self, texts: list[str], window: timedelta) -> None: ...


class Measurer:
    def __init__(self, providers: Mapping[str, MetricProvider], render: QueryRenderer) -> None:
        self._providers = providers
        self._render = render

    async def prepare(self, spec: RolloutSpec, snapshot: Snapshot, action: Action) -> ActionSucceeded:
        """Tell the providers what the step will ask, so that the first window has its samples."""
        step = _analysis(spec, action)
        start = next((gate.started_at for gate in snapshot.gates if gate.id == action.args["gate"]), snapshot.entered_at)
        runs = step.runs or _KEPT_INTERVALS
        longest = timedelta(seconds=step.interval_seconds * runs + step.patience_seconds)
        self.announce(spec, snapshot, step, start, longest)
        return ActionSucceeded(action.number, note=f"measuring {', '.join(query.name for query in step.queries)}")

    def announce(self, spec: RolloutSpec, snapshot: Snapshot, step: Analysis, start: datetime, longest: timedelta) -> None:
        """Let providers that have to know beforehand hear what will be asked, and how far back."""
        for query in step.queries:
            provider = self._providers.get(query.provider)
            if isinstance(provider, PreparingProvider):
                try:
                    text = self._render(query.template, spec, snapshot, step, start, start + longest)
                except QueryNotRendered:
                    continue  # Said when it is measured, where there is an answer to say it in.
                provider.prepare([text], longest)

    async def measure(self, spec: RolloutSpec, snapshot: Snapshot, action: Action) -> Measurements:
        step = _analysis(spec, action)
        start, end = (datetime.fromisoformat(str(action.args[name])) for name in ("start", "end"))
        return Measurements(action.number, await self.ask_all(spec, snapshot, step, start, end))

    async def ask_all(
        self, spec: RolloutSpec, snapshot: Snapshot, step: Analysis, start: datetime, end: datetime
    ) -> tuple[Measured, ...]:
        """The answers to the queries of an analysis, in their order."""
        results: dict[str, Measured] = {}

        async def ask(query: Query) -> None:
            outcome = await self._ask(query, spec, snapshot, step, start, end)
            results[query.name] = Measured(query.name, _OUTCOMES[outcome.kind], outcome.value, outcome.detail)

        async with anyio.create_task_group() as tasks:
            for query in step.queries:
                tasks.start_soon(ask, query, name=f"query {query.name}")
        return tuple(results[query.name] for query in step.queries)

    async def _ask(
        self, query: Query, spec: RolloutSpec, snapshot: Snapshot, step: Analysis, start: datetime, end: datetime
    ) -> Outcome:
        provider = self._providers.get(query.provider)
        if provider is None:
            known = ", ".join(sorted(self._providers)) or "none"
            detail = f"there is no metric provider {query.provider}; the daemon's configuration has: {known}"
            return Outcome(OutcomeKind.ERROR, None, detail)
        try:
            text = self._render(query.template, spec, snapshot, step, start, end)
        except QueryNotRendered as error:
            return Outcome(OutcomeKind.ERROR, None, str(error))
        return await provider.measure(RenderedQuery(text, start, end, tuple(preview_tokens(spec, snapshot))))


def _analysis(spec: RolloutSpec, action: Action) -> Analysis:
    step = step_of(spec.plan, str(action.args["gate"]))
    assert isinstance(step, Analysis)
    return step
