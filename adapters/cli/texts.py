"""Releases and rollouts as text for people: tables and pages. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime

from adapters.cli.output import printable, table
from adapters.http.bodies import (
    EntryBody,
    JournalBody,
    ReleaseBody,
    ReleaseDetail,
    RolloutBody,
    StepStanding,
)
from engine.model import FINAL_STATES, FINAL_STATUSES, State

Advise = Callable[[str], str]
"""Completes a command for the reader, such as `approve r1`."""

_MARKS = {
    StepStanding.DONE: "done",
    StepStanding.CURRENT: "now",
    StepStanding.STOPPED: "stopped",
    StepStanding.AHEAD: "",
    StepStanding.SKIPPED: "skipped",
}


def describe_releases(releases: Sequence[ReleaseBody], advise: Advise) -> str:
    if not releases:
        return f"There are no releases yet. Begin one with: {advise('deploy FILE --watch')}"
    rows = [("ID", "APPLICATION", "STATUS", "CREATED", "BY", "TARGETS")]
    rows.extend(
        (one.id, one.application, one.status, moment(one.created_at), one.created_by, ", ".join(one.targets))
        for one in releases
    )
    return table(rows)


def describe_release(detail: ReleaseDetail, now: datetime, advise: Advise) -> str:
    release = detail.release
    lines = [f"{release.application}  {release.id}  {release.status}"]
    if release.description:
        lines.append(f"  {release.description}")
    lines.append(f"  {release.source}, by {release.created_by}, {moment(release.created_at)}")
    if release.reason:
        lines.append(f"  {release.reason}")
    for rollout in detail.rollouts:
        lines.extend(["", *_rollout_lines(rollout, now)])
    orders = list(_orders(detail, advise))
    if orders:
        lines.extend(["", "Next:", *(f"  {order}" for order in orders)])
    return printable("\n".join(lines))


def describe_journal(journal: JournalBody) -> str:
    if not journal.entries:
        return f"Nothing has happened in release {journal.release} yet."
    return table([_entry_row(entry) for entry in journal.entries])


def _entry_row(entry: EntryBody) -> tuple[str, ...]:
    moved = entry.source is not entry.destination
    state = f"{entry.source} -> {entry.destination}" if moved else str(entry.destination)
    share = f"{entry.weight.served:g} %" if entry.weight is not None else ""
    return (moment(entry.at), entry.target, state, share, entry.text)


def _rollout_lines(rollout: RolloutBody, now: datetime) -> Iterator[str]:
    yield f"{rollout.target} ({rollout.account}/{rollout.namespace}): {rollout.state} since {moment(rollout.since)}"
    asked, served = rollout.weight.asked, rollout.weight.served
    yield f"  traffic to the new version: {served:g} %" + (f", asked for {asked:g} %" if asked != served else "")
    if rollout.beside:
        yield f"  beside the weight: {rollout.beside}"
    for label, text in _facts(rollout, now):
        yield f"  {label}: {text}"
    rows = [
        (_MARKS[step.standing], f"{step.number}", step.kind, f"{step.text}{f'   ({step.note})' if step.note else ''}")
        for step in rollout.steps
    ]
    if rows:
        yield table(rows, indent="  ")


def _facts(rollout: RolloutBody, now: datetime) -> Iterator[tuple[str, str]]:
    if rollout.doing:
        due = countdown(rollout, now)
        yield "doing", rollout.doing + (f"; {due}" if due else "")
    if rollout.held:
        yield "held", rollout.held
    if rollout.parked is not None:
        yield "parked", f"in {rollout.parked.state}: {rollout.parked.error}"
    if rollout.reason:
        yield "reason", rollout.reason
    if rollout.roles and rollout.awaits_answer:
        yield "may answer", " or ".join(rollout.roles)


def _orders(detail: ReleaseDetail, advise: Advise) -> Iterator[str]:
    release = detail.release
    if release.status in FINAL_STATUSES:
        yield advise(f"history {release.id}")
        return
    for rollout in detail.rollouts:
        if rollout.awaits_answer:
            yield advise(f"approve {release.id} --target {rollout.target} --expect-step {rollout.step}")
            yield advise(f"reject {release.id} --target {rollout.target} --expect-step {rollout.step}")
        elif rollout.held or rollout.state is State.PARKED:
            yield advise(f"resume {release.id} --target {rollout.target}")
    yield advise(f"abort {release.id}")


# --- time --------------------------------------------------------------------------------------------------------------


def moment(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def countdown(rollout: RolloutBody, now: datetime) -> str:
    """The time until the next deadline of a rollout, such as `18 s left`; empty when there is none."""
    if not rollout.timers or rollout.state in FINAL_STATES:
        return ""
    next_at = min((at for at in rollout.timers.values() if at > now), default=now)
    return f"{duration((next_at - now).total_seconds())} left"


def duration(seconds: float) -> str:
    """`18 s`, `2 min 5 s`, `3 h 20 min`: two units at most."""
    whole = max(round(seconds), 0)
    if whole < 60:
        return f"{whole} s"
    if whole < 3_600:
        return f"{whole // 60} min" + (f" {whole % 60} s" if whole % 60 else "")
    return f"{whole // 3_600} h" + (f" {whole % 3_600 // 60} min" if whole % 3_600 // 60 else "")
