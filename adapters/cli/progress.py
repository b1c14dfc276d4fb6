"""What a watched release looks like while it goes on, one line at a time: for logs, pipes and terminals without
manners.

Of the journal only what moves a rollout is shown; every single action is in `headgate history`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Protocol

from adapters.cli.output import Printer
from adapters.http.bodies import EntryBody, EntryLine, ReleaseBody, ReleaseDetail, RolloutBody, StepBody
from engine.model import State

_MACHINERY = ("next: ", "done: ", "waiting at most ")
"""How the journal's clauses about single actions begin."""


class Progress(Protocol):
    """Somebody who is told of a release as it goes on."""

    def begin(self, detail: ReleaseDetail) -> None:
        """What is going to be told of: once, before anything else."""

    def stand(self, detail: ReleaseDetail) -> None:
        """How things stand, when the story so far was told, and again after every gap."""

    def entry(self, line: EntryLine) -> None: ...

    def missed(self, entry: EntryBody) -> None:
        """What happened while the connection was lost."""

    def release(self, body: ReleaseBody) -> None: ...

    def note(self, text: str) -> None:
        """Something about the watching itself."""


class PlainProgress:
    """Implements `Progress` with timestamped lines."""

    def __init__(self, printer: Printer, now: Callable[[], datetime], advise: Callable[[str], str]) -> None:
        """`advise` completes a command for the reader, such as `approve r1 --target t`."""
        self._printer = printer
        self._now = now
        self._advise = advise
        self._width = 0
        self._steps: dict[str, tuple[StepBody, ...]] = {}
        self._asked: dict[str, int] = {}
        self._held: dict[str, str] = {}

    def begin(self, detail: ReleaseDetail) -> None:
        self._width = max(len(rollout.target) for rollout in detail.rollouts)
        for rollout in detail.rollouts:
            self._steps[rollout.target] = rollout.steps

    def stand(self, detail: ReleaseDetail) -> None:
        for rollout in detail.rollouts:
            self._remind(detail.release.id, rollout, rollout.since)

    def entry(self, line: EntryLine) -> None:
        self._tell(line.entry, line.rollout.weight.served)
        self._remind(line.rollout.id.partition(".")[0], line.rollout, line.entry.at)

    def missed(self, entry: EntryBody) -> None:
        self._tell(entry, entry.weight.served if entry.weight is not None else None)

    def release(self, body: ReleaseBody) -> None:
        pass

    def note(self, text: str) -> None:
        self._printer.say(f"{stamp(self._now())}  {text}")

    def _tell(self, entry: EntryBody, served: float | None) -> None:
        text = "; ".join(clauses_of(entry, self._steps.get(entry.target, ())))
        if text:
            share = f"{served:g} %" if served is not None else ""
            self._printer.say(f"{stamp(entry.at)}  {entry.target.ljust(self._width)}  {share:>6}  {text}")

    def _remind(self, release: str, rollout: RolloutBody, at: datetime) -> None:
        """Say once what a person has to do."""
        target = rollout.target
        if rollout.awaits_answer and self._asked.get(target) != rollout.step:
            self._asked[target] = rollout.step
            who = f" ({' or '.join(rollout.roles)})" if rollout.roles else ""
            order = self._advise(f"approve {release} --target {target} --expect-step {rollout.step}")
            self._say(at, target, f"waits for an answer{who}: {order}   (or reject)")
        stuck = rollout.held or (rollout.parked.error if rollout.parked is not None else "")
        if stuck and self._held.get(target) != stuck:
            what = "parked" if rollout.state is State.PARKED else "held"
            self._say(at, target, f"{what}: {self._advise(f'resume {release} --target {target}')}   (or abort)")
        self._held[target] = stuck

    def _say(self, at: datetime, target: str, text: str) -> None:
        self._printer.say(f"{stamp(at)}  {target.ljust(self._width)}  {'':>6}  {text}")


def clauses_of(entry: EntryBody, steps: Sequence[StepBody]) -> Iterator[str]:
    """What a journal entry says without the single actions; a step that begins is told with what it asks for."""
    for clause in entry.text.split("; "):
        if clause.startswith(_MACHINERY):
            continue
        if clause.startswith("step ") and 0 < entry.step <= len(steps):
            step = steps[entry.step - 1]
            yield f"{clause}: {step.kind} {step.text}"
        else:
            yield clause


def stamp(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
