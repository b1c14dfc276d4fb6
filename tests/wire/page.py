"""`docs/data-plane.md`: what was measured, as a page. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tests.wire.figures import MOST_DEVIATIONS, Measured, Split, median, quantile

HEAD = """# What really arrives

Every way to move traffic, on real data planes under load. This page is written by `python -m tests.wire`; nothing of it is
by hand.

**{requests:,} requests in all, {failures} of them failed.** {splits} weights were compared with what was served; {beyond} of
them differed by more than three standard errors. {changes} changes of a weight and {rollbacks} rollbacks were timed.

A request has failed when its answer is not a 200, when its connection ends before the answer, when no connection can be made,
or after five seconds without an answer. Nothing is tried twice: not by the clients, not by Envoy, not by Traefik.

## The stage

A control plane of Kubernetes itself (etcd, kube-apiserver with RBAC, kube-controller-manager) in a network namespace. Endpoints
are late by half a second, as large clusters have it (`--endpointslice-updates-batch-period`). A small kubelet runs the pods: each
is an HTTP server on its own address, `podIP:8080`, and answers with its version. A pod that is deleted leaves the endpoints,
serves on for the five seconds that its preStop hook sleeps, then lets every client go after its answer. `headgate serve` is a
process with a ServiceAccount that has the smallest Role. Its settings are those of somebody who has set nothing, so a version
keeps its pods for five seconds after its last request (`settle`).

| what | which data plane, and who tells it |
| --- | --- |
| SMI TrafficSplit, Istio VirtualService | Envoy, which draws a version for each request (1) |
| TraefikService, HTTPRoute of the Gateway API | Traefik, which reads the objects itself, with its own settings (2) |
| pod ratio, blue/green | the Service's own address, spread over its ready endpoints by connection (3) |

1. A small control plane (`tests/wire/mesh.py`) watches the objects and keeps Envoy as they say. Its translation
   (`tests/wire/translation.py`) is written from what SMI and Istio say of their objects, apart from Headgate's own code, which
   it judges. It is neither Linkerd's nor istiod: it waits for nothing, where istiod gathers changes for a tenth of a second.
2. By its defaults it takes up changes every two seconds.
3. Envoy's TCP proxy does it, at random for each connection, as kube-proxy does. What is connected stays where it is.

Eight keep-alive connections ask each application all the time, some two hundred times a second, and as fast as they are answered
where a weight is counted. To a Service's own address a connection is used for fifty requests, and for one where it is counted.

ingress-nginx is not here, because its controller is not to be had as a package, and a bare nginx would prove nothing about it.
Linkerd's proxies are not here either.
"""

HOW = """## How to run it

    python -m pip install -e '.[test,wire]'
    python -m tests.e2e.controlplane.binaries          # once; needs Go, takes minutes
    python -m tests.wire                               # as root, or behind `unshare --map-root-user --net`
    python -m tests.wire.troubles                      # the part about standing still, which the line above leaves as it is

Each takes about twenty minutes on two cores and 1.5 GB. `python -m pytest -m wire` tells the same stories with fewer requests, as
the gate does. Whatever was started ends with it.
"""


@dataclass(frozen=True, slots=True)
class Machine:
    parts: dict[str, str]
    """The versions of what took part."""
    measured_on: str
    """Cores, kernel, and how busy it was."""
    date: str


def write_page(measured: Sequence[Measured], machine: Machine) -> str:
    splits = [split for one in measured for split in (*one.splits, *one.beside)]
    head = HEAD.format(
        requests=sum(one.requests for one in measured),
        failures=sum(one.failures for one in measured),
        splits=len(splits),
        beyond=sum(not split.holds for split in splits) or "none",
        changes=sum(len(one.changes) for one in measured),
        rollbacks=sum(len(one.rollbacks) for one in measured),
    )
    parts = [head, "\n".join(_stories(measured)), "\n".join(_splits(measured)), "\n".join(_times(measured))]
    return "\n".join([*parts, "\n".join(_machine(machine)), HOW])


def _stories(measured: Sequence[Measured]) -> Iterator[str]:
    names = list(dict.fromkeys(name for one in measured for name in one.stories))
    yield "## Requests and failures\n"
    yield f"| story | {' | '.join(one.way for one in measured)} |"
    yield f"| --- |{' ---: |' * len(measured)}"
    for name in names:
        counts = (one.stories.get(name) for one in measured)
        told = ("" if count is None else f"{count[0]:,} / {count[1]}" for count in counts)
        yield f"| {name} | {' | '.join(told)} |"
    yield f"| all | {' | '.join(f'{one.requests:,} / {one.failures}' for one in measured)} |"
    yield "\nEach cell: requests / failed. Each story begins and ends with one version that serves everything.\n"
    for one in measured:
        if one.broken:
            yield f"**{one.way} was not told to its end.** {one.broken.splitlines()[0]}\n"
        yield from (f"- {one.way}: {finding}" for finding in one.findings[:10])


def _splits(measured: Sequence[Measured]) -> Iterator[str]:
    yield "## Weights\n"
    yield (
        "Counted are requests (or connections) that were begun after the data plane worked by the weight: Envoy names in each\n"
        "answer the split that it was drawn from, Traefik tells its weights by its API, and of a Service the endpoints are\n"
        f"compared. Chance allows {MOST_DEVIATIONS:g} standard errors. Traefik does not draw, it takes turns.\n"
    )
    yield "| way | asked | counted | served by the new version | | standard errors |"
    yield "| --- | ---: | ---: | ---: | ---: | ---: |"
    for one in measured:
        for split in one.splits:
            yield _row(one.way, split)
        for split in one.beside:
            yield _row(f"{one.way}, {'copies' if split.asked == 0.5 else 'beside a header route'}", split)
    recounted = sum(split.recounted for one in measured for split in one.splits)
    yield f"\nCounted a second time, because the first count was too far away: {recounted}.\n"


def _row(way: str, split: Split) -> str:
    asked, share = f"{100 * split.asked:g} %", f"{100 * split.share:.3f} %"
    return f"| {way} | {asked} | {split.answers:,} | {split.served:,} | {share} | {split.deviations:+.2f} |"


def _times(measured: Sequence[Measured]) -> Iterator[str]:
    yield "## Times\n"
    yield (
        "A change: from the decision by the journal's clock (before it is committed) to the first answer that was drawn by\n"
        "the new weight, or to Traefik's own word that it works by it. A rollback: from the order to abort, before it is sent,\n"
        "to the last answer of the new version; for a Service, on connections of one request each. In milliseconds.\n"
    )
    yield "| way | changes | median | p99 | longest | rollbacks | median | p99 | longest |"
    yield "| --- |" + " ---: |" * 8
    for one in measured:
        yield f"| {one.way} | {_spread(one.changes)} | {_spread(one.rollbacks)} |"
    yield ""


def _spread(seconds: Sequence[float]) -> str:
    if not seconds:
        return "0 | | |"
    figures = (median(seconds), quantile(seconds, 0.99), max(seconds))
    return " | ".join([str(len(seconds)), *(f"{1000 * one:,.0f}" for one in figures)])


def _machine(machine: Machine) -> Iterator[str]:
    yield "## What took part\n"
    yield "| part | version |"
    yield "| --- | --- |"
    yield from (f"| {name} | {version} |" for name, version in machine.parts.items())
    yield f"\nMeasured on {machine.date}, on {machine.measured_on}.\n"
