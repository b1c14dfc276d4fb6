"""What a watched release looks like in a terminal: one line per target that stays in its place, and the last words
below."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from datetime import datetime
from types import TracebackType
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from adapters.cli.output import printable
from adapters.cli.progress import clauses_of
from adapters.cli.texts import countdown
from adapters.http.bodies import EntryBody, EntryLine, ReleaseBody, ReleaseDetail, RolloutBody, StepStanding
from engine.model import FINAL_STATES, State

_BAR = 20
_LAST_WORDS = 6
_STYLES = {
    State.SUCCEEDED: "green",
    State.ROLLED_BACK: "red",
    State.ABORTING: "red",
    State.RESTORING: "red",
    State.REJECTED: "red",
    State.CANCELLED: "yellow",
    State.PARKED: "yellow",
    State.APPROVING: "yellow",
}


class Panel:
    """Implements `adapters.cli.progress.Progress`. Used as `with Panel(...) as progress`."""

    def __init__(self, console: Console, now: Callable[[], datetime], advise: Callable[[str], str]) -> None:
        self._now = now
        self._advise = advise
        self._title = ""
        self._rollouts: dict[str, RolloutBody] = {}
        self._words: deque[str] = deque(maxlen=_LAST_WORDS)
        self._live = Live(console=console, get_renderable=self._render, refresh_per_second=4, transient=False)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    # --- the port ------------------------------------------------------------------------------------------------------

    def begin(self, detail: ReleaseDetail) -> None:
        self.stand(detail)

    def stand(self, detail: ReleaseDetail) -> None:
        self.release(detail.release)
        self._rollouts = {rollout.target: rollout for rollout in detail.rollouts}

    def entry(self, line: EntryLine) -> None:
        self._rollouts[line.rollout.target] = line.rollout
        self._say(line.entry)

    def missed(self, entry: EntryBody) -> None:
        self._say(entry)

    def release(self, body: ReleaseBody) -> None:
        self._title = f"{body.application}  {body.id}  {body.status}"

    def note(self, text: str) -> None:
        self._words.append(f"{self._now():%H:%M:%S}  {text}")

    def _say(self, entry: EntryBody) -> None:
        rollout = self._rollouts.get(entry.target)
        if text := "; ".join(clauses_of(entry, rollout.steps if rollout is not None else ())):
            self._words.append(f"{entry.at:%H:%M:%S}  {entry.target}  {text}")

    # --- the picture ---------------------------------------------------------------------------------------------------

    def _render(self) -> RenderableType:
        # Every text that came from elsewhere is plain text: no markup, no escape sequences.
        parts: list[RenderableType] = [Text(printable(self._title), style="bold"), self._table()]
        parts.extend(Text(printable(words), style="dim", no_wrap=True, overflow="ellipsis") for words in self._words)
        parts.extend(Text(printable(order), style="yellow") for order in self._orders())
        return Group(*parts)

    def _table(self) -> Table:
        grid = Table.grid(padding=(0, 2))
        for rollout in self._rollouts.values():
            grid.add_row(
                Text(printable(rollout.target)),
                _bar(rollout.weight.served),
                Text(f"{rollout.weight.served:g} %", justify="right"),
                Text(str(rollout.state), style=_STYLES.get(rollout.state, "")),
                Text(printable(self._what(rollout)), overflow="ellipsis", no_wrap=True),
            )
        return grid

    def _what(self, rollout: RolloutBody) -> str:
        if rollout.state in FINAL_STATES:
            return rollout.reason
        current = next((step for step in rollout.steps if step.standing is StepStanding.CURRENT), None)
        what = rollout.doing
        if current is not None:
            what = f"step {current.number}/{len(rollout.steps)}: {current.kind} {current.note or current.text}"
        return "; ".join(part for part in (what, countdown(rollout, self._now()), rollout.held) if part)

    def _orders(self) -> list[str]:
        orders: list[str] = []
        for rollout in self._rollouts.values():
            release = rollout.id.partition(".")[0]
            if rollout.awaits_answer:
                orders.append(self._advise(f"approve {release} --target {rollout.target} --expect-step {rollout.step}"))
            elif rollout.held or rollout.parked is not None:
                orders.append(self._advise(f"resume {release} --target {rollout.target}"))
        return orders


def _bar(share: float) -> Text:
    filled = round(share * _BAR / 100)
    return Text.assemble(("━" * filled, "cyan"), ("─" * (_BAR - filled), "dim"))
