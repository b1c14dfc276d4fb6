"""Where the demo is shown: redrawn in place on a terminal, line by line into a file or a pipe.

It must not know what is shown beyond a `DemoState`.
"""

from contextlib import ExitStack
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.live import Live

from adapters.dataplane.live_view import (
    BASIS_POINTS,
    DemoState,
    Outcome,
    VersionLine,
    format_percent,
    format_time,
    render,
)

TRAFFIC_LINE_INTERVAL_S = 2.0


class Display:
    """Shows states for the length of a `with` block; the last one stays on the screen."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live: Live | None = None
        self._shown: DemoState | None = None
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            # Drawn when there is something new: no thread of its own, no flicker.
            self._live = self._stack.enter_context(Live(console=self._console, auto_refresh=False))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stack.close()

    def show(self, state: DemoState) -> None:
        if self._live is not None:
            self._live.update(render(state), refresh=True)
        else:
            for line in plain_lines(self._shown, state):
                self._console.print(line, markup=False, highlight=False, soft_wrap=True)
        self._shown = state


def plain_lines(shown: DemoState | None, state: DemoState) -> list[str]:
    """What is new since the state shown before (None at the start), a line each, in plain characters.

    The splits are told at the end and every two seconds, not when one changes: what was served up to that moment says
    nothing about it.
    """
    lines = [state.title] if shown is None else []
    last_number = max((line.number for line in shown.journal), default=-1) if shown else -1
    lines += [f"{format_time(line.at):>8}  {line.text}" for line in state.journal if line.number > last_number]
    if shown is None or (shown.state, shown.outcome) != (state.state, state.outcome):
        lines.append(f"{format_time(state.elapsed):>8}  {state.state}: {state.headline}")
    if shown is not None and is_traffic_due(shown, state):
        versions = "; ".join(describe_version(version) for version in state.versions)
        lines.append(f"{format_time(state.elapsed):>8}  {versions}; {state.requests} requests, {state.failed} failed")
    return lines


def is_traffic_due(shown: DemoState, state: DemoState) -> bool:
    ended = state.outcome in (Outcome.SUCCEEDED, Outcome.ROLLED_BACK, Outcome.FAILED)
    if ended:
        return state.outcome is not shown.outcome
    return state.elapsed // TRAFFIC_LINE_INTERVAL_S > shown.elapsed // TRAFFIC_LINE_INTERVAL_S


def describe_version(version: VersionLine) -> str:
    served = "nothing yet" if version.served is None else format_percent(version.served)
    errors = format_percent(version.error_ratio, decimals=1)
    asked = format_percent(version.asked / BASIS_POINTS)
    return f"{version.name} asked {asked} served {served} errors {errors} pods {version.pods_ready}/{version.pods}"
