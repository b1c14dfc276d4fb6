"""How many requests a rollout makes, counted by the API server's own audit log. Writes `docs/requests.md`:

    python -m tests.e2e.requests
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections import Counter
from pathlib import Path

import anyio

from adapters.embedded.json_objects import JsonObject
from engine.events import CommandKind
from engine.model import State
from tests.e2e.conftest import define_meshes
from tests.e2e.controlplane.binaries import find_binaries, kubernetes_version
from tests.e2e.controlplane.running import RealControlPlane, run_real_control_plane
from tests.e2e.site import SERVICE_ACCOUNT, Site, open_site

PAGE = Path(__file__).parents[2] / "docs" / "requests.md"
IDLE_SECONDS = 10.0

Requests = Counter[tuple[str, str]]
"""By verb and resource."""


def count_requests(plane: RealControlPlane, namespace: str) -> Requests:
    """All answered requests of the namespace's daemon. A watch is in it when it has ended; a dry run is a verb of its own.

    A write that was refused because the object had moved on is left out, with the look before it: how many there are depends
    on the controllers' haste."""
    counted: Requests = Counter()
    user = f"system:serviceaccount:{namespace}:{SERVICE_ACCOUNT}"
    for line in plane.audit_log.read_text("utf-8").splitlines():
        event = json.loads(line)
        if event["user"]["username"] != user:
            continue
        resource = event.get("objectRef", {}).get("resource", event["requestURI"])
        if event["responseStatus"]["code"] == 409:
            counted[("get", resource)] -= 1
            continue
        verb = "dry run" if "dryRun=All" in event["requestURI"] else event["verb"]
        counted[(verb, resource)] += 1
    return counted


def weights(count: int) -> list[JsonObject]:
    return [{"setWeight": {"weight": 10 * (number + 1)}} for number in range(count)]


async def count_a_rollout(plane: RealControlPlane, *, steps: list[JsonObject], mesh: bool, ends: CommandKind | None) -> Requests:
    """The requests of one rollout from its submission to its end. `ends`: the order that ends its last step. It is the daemon's
    second one: with the first in a namespace the watches begin, which all later ones share."""
    with tempfile.TemporaryDirectory() as folder:
        async with open_site(plane, Path(folder)) as site:
            await site.go_live()
            await site.start_daemon()
            first = await site.deploy("web:2", [], mesh=mesh)
            await site.until_ended(first.id)
            await until_quiet(site)
            before = count_requests(plane, site.namespace)
            approval: list[JsonObject] = [{"pause": {"untilApproved": True}}] if ends else []
            release = await site.deploy("web:3", [*steps, *approval], mesh=mesh)
            if ends:
                await site.until_state(release.id, State.APPROVING)
                await site.order(release.id, ends)
            await site.until_ended(release.id)
            await until_quiet(site)
            return count_requests(plane, site.namespace) - before


async def count_while_idle(plane: RealControlPlane) -> Requests:
    with tempfile.TemporaryDirectory() as folder:
        async with open_site(plane, Path(folder)) as site:
            await site.go_live()
            await site.start_daemon()
            release = await site.deploy("web:2", [*weights(1), {"pause": {"untilApproved": True}}])
            await site.until_state(release.id, State.APPROVING)
            await until_quiet(site)
            before = count_requests(plane, site.namespace)
            await anyio.sleep(IDLE_SECONDS)
            return count_requests(plane, site.namespace) - before


async def until_quiet(site: Site) -> None:
    """Until the audit log has been still for a second: it is written a little behind the answers."""
    still = 0
    last = -1
    while still < 10:
        await anyio.sleep(0.1)
        size = sum(count_requests(site.plane, site.namespace).values())
        still = still + 1 if size == last else 0
        last = size


async def write_page() -> None:
    with run_real_control_plane(find_binaries()) as plane:
        define_meshes(plane)
        columns = {
            "mesh, promoted": await count_a_rollout(plane, steps=weights(2), mesh=True, ends=None),
            "mesh, undone": await count_a_rollout(plane, steps=weights(2), mesh=True, ends=CommandKind.ABORT),
            "pod ratio, promoted": await count_a_rollout(plane, steps=weights(2), mesh=False, ends=None),
            "pod ratio, undone": await count_a_rollout(plane, steps=weights(2), mesh=False, ends=CommandKind.ABORT),
            "one more weight (mesh)": await count_a_rollout(plane, steps=weights(3), mesh=True, ends=None),
            "idle for 10 s": await count_while_idle(plane),
        }
    columns["one more weight (mesh)"] -= columns["mesh, promoted"]
    PAGE.write_text(render(columns), "utf-8")


def render(columns: dict[str, Requests]) -> str:
    rows = sorted({key for counted in columns.values() for key in counted})
    lines = [f"| request | {' | '.join(columns)} |", f"|---|{'---:|' * len(columns)}"]
    for verb, resource in rows:
        counts = " | ".join(str(counted[(verb, resource)]) for counted in columns.values())
        lines.append(f"| {verb} {resource} | {counts} |")
    totals = " | ".join(f"**{sum(counted.values())}**" for counted in columns.values())
    lines.append(f"| **all** | {totals} |")
    return f"""# Requests to the API server

<!-- Generated by `python -m tests.e2e.requests` from the API server's audit log. Do not edit. -->

What one rollout of one Deployment with one Service costs the API server (Kubernetes {kubernetes_version()}), with two
`setWeight` steps, from its submission to its end. The watches are not in it: there is one for each kind, however many
rollouts there are, and waiting is done on them alone, so that a rollout that pauses, analyses or waits for an approval
asks for nothing.

Nor is the question for the account's rights in it (SelfSubjectRulesReview), which is asked once a minute and namespace at
most, before a first look.

{chr(10).join(lines)}

A change is one look and one write: the look makes it safe to repeat after a crash. Before a weight rises, the endpoints of the
new version are listed, and those of the Services that everything goes to before it does: at the beginning and at the end. Where
they are later than the pods, again after a moment. When a controller writes to the same
object between the two, both are done again; such conflicts are not counted here.
"""


if __name__ == "__main__":
    anyio.run(write_page)
    sys.stdout.write(f"wrote {PAGE}\n")
