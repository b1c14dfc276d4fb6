"""The part of `docs/data-plane.md` about processes that stand still or go away. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from engine.model import State
from tests.wire.enduring import (
    API_SERVER,
    AWAY_SECONDS,
    BOTH,
    CALM_SECONDS,
    CONTROLLERS,
    DAEMON,
    ETCD,
    KILLS_IN_A_ROW,
    LONG_PRE_STOP_SECONDS,
    RESTARTS,
    UP_SECONDS,
    Endured,
)
from tests.wire.page import Machine

HEADING = "## Standing still, and coming back"
INTRODUCTION = """{heading}

This part is written by `python -m tests.wire.troubles`, which takes {minutes:.0f} minutes. **{requests:,} requests, {failures} of
them failed.** All ways are told at the same time, on one control plane and with a daemon each. What stands still (SIGSTOP) keeps
its connections and answers nothing, until it goes on (SIGCONT). Each rollout has to end as it would have without any trouble.

- {daemon_story}: for {daemon:g} s each time, longer than any of its time-outs. Right after a weight was ordered, twice in the
  hand-over, right after an abort was ordered, and when all traffic was back.
- {api_server_story}: for {api_server:g} s, right after everybody was ordered to move on: a weight, the hand-over, an abort.
- {etcd_story}: for {etcd:g} s, at the same places. The API server gives up a write after 34 s, which may have taken effect.
- {controllers_story}: for {controllers:g} s, at the same places. Pods and endpoints stay as they are.
- {both_story}: SIGKILL, at the same places. The daemon is back before the API server is.
- {restarts_story}: {restarts} times, {away:g} s away and {up:g} s there, and after every {kills} times {calm:g} s left alone. A
  release is begun in such a row and handed over in the next one, and another one is undone in the third.

Where the endpoints of a Service are the weight itself, a pod that is ending stays among them for as long as nobody can write. So
the pods of the last two columns sleep for {pre_stop} s in their preStop hook. With the five seconds of the other stories one run
lost 146 of 33,737 requests, as any Deployment would have whose pods end while the API server stands still.

A proxy that reads the API server is behind for as long as it has not connected to it again, and waits for longer each time that
it fails to. Traefik answers 404 while a TraefikService names Services of which it has not heard yet, or has heard that they are
gone. So a rollout rests after its API server was away, for twice as long as that and ten seconds more, and for 70 seconds at
most, whatever its `settle`.
"""


def write_troubles(endured: Endured, machine: Machine) -> str:
    return "\n".join(_lines(endured, machine))


def _lines(endured: Endured, machine: Machine) -> Iterator[str]:
    seconds, measured = endured.seconds, endured.measured
    yield INTRODUCTION.format(
        heading=HEADING,
        minutes=endured.minutes,
        requests=sum(one.requests for one in measured),
        failures=sum(one.failures for one in measured),
        daemon_story=DAEMON,
        api_server_story=API_SERVER,
        etcd_story=ETCD,
        controllers_story=CONTROLLERS,
        both_story=BOTH,
        restarts_story=RESTARTS,
        daemon=seconds.daemon,
        api_server=seconds.api_server,
        etcd=seconds.etcd,
        controllers=seconds.controllers,
        restarts=endured.restarts,
        away=AWAY_SECONDS,
        up=UP_SECONDS,
        kills=KILLS_IN_A_ROW,
        calm=CALM_SECONDS,
        pre_stop=LONG_PRE_STOP_SECONDS,
    )
    yield f"| story | {' | '.join(one.way for one in measured)} |"
    yield f"| --- |{' ---: |' * len(measured)}"
    for name in dict.fromkeys(name for one in measured for name in one.stories):
        counts = (one.stories.get(name) for one in measured)
        told = ("" if count is None else f"{count[0]:,} / {count[1]}" for count in counts)
        yield f"| {name} | {' | '.join(told)} |"
    yield "\nEach cell: requests / failed. Where the rollouts were when it happened:\n"
    states = [state for state in State if any(state.value in one.states for one in endured.halted.values())]
    yield f"| story | {' | '.join(f'`{state}`' for state in states)} |"
    yield f"| --- |{' ---: |' * len(states)}"
    for name, halted in endured.halted.items():
        yield f"| {name} | {' | '.join(str(halted.states.get(state.value, '')) for state in states)} |"
    yield f"\nMeasured on {machine.date}, on {machine.measured_on}.\n"
    yield from (f"{remark}\n" for remark in endured.remarks)
    for one in measured:
        if one.broken:
            yield f"**{one.way} was not told to its end:** {one.broken.partition(':')[0]}.\n"
        yield from (f"- {one.way}: {finding}" for finding in one.findings)


def with_troubles(page: str, troubles: str) -> str:
    """The page with this part in the place of the one that it has, or before what took part."""
    before, heading, rest = page.partition(HEADING)
    if heading:
        return f"{before}{troubles.strip()}\n\n## {rest.partition(chr(10) + '## ')[2]}"
    before, heading, rest = page.partition("## What took part")
    return f"{before}{troubles.strip()}\n\n{heading}{rest}"


def troubles_of(page: str) -> str:
    """The part as it is on the page; empty where it has none."""
    _, heading, rest = page.partition(HEADING)
    return f"{heading}{rest.partition(chr(10) + '## ')[0]}\n" if heading else ""
