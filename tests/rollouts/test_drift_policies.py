"""Somebody edits a traffic object in the middle of a rollout: held, put back a few times, or undone, as the file says.

What tells the versions apart (selectors of Services, labels of subsets) is put back as the weights are, whichever router it is.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest
from msgspec.structs import replace

from adapters.embedded.gateway_definitions import GatewayChannel
from adapters.embedded.json_objects import JsonObject
from adapters.embedded.resources import SERVICES
from engine.errors import CommandRefused
from engine.events import Command, CommandKind
from engine.model import Approval, OnDrift, ReleaseStatus, Snapshot, State, Step
from engine.traffic import IstioRoute, RoutePlan, RouterKind
from strategies.blue_green import compile_switch
from tests.builders import (
    custom_route,
    definition,
    gateway_route,
    ingress_route,
    istio_route,
    percent,
    release_plan,
    service,
    service_route,
    smi_route,
    target_plan,
    traefik_route,
)
from tests.rollouts.istio_objects import destination, destination_rule, http_route, virtual_service
from tests.rollouts.routed import gateway, ingress, traefik_service, weighted_route
from tests.rollouts.routed import http_route as gateway_http_route
from tests.rollouts.stage import Stage, stage

HASH = "pod-template-hash"
GENTLE: tuple[Step, ...] = (percent(34), Approval())


@asynccontextmanager
async def waiting(
    path: Path,
    policy: OnDrift,
    limit: int = 3,
    *,
    bodies: Sequence[JsonObject] = (),
    route: RoutePlan | None = None,
    steps: Sequence[Step] = GENTLE,
) -> AsyncIterator[Stage]:
    """A rollout that waits for an approval at 34 %, if nothing else is said."""
    by_gateway = route is not None and route.kind is RouterKind.GATEWAY_API
    async with stage(path, gateway_channel=GatewayChannel.STANDARD if by_gateway else None) as told:
        await told.live()
        for body in bodies:
            kind = told.storage.registry.find_kind(body["apiVersion"], body["kind"])
            assert kind is not None, body["kind"]
            told.storage.create(kind, body, manager="kubectl")
        plan = replace(target_plan(steps, route=route, settle=0.05), on_drift=policy, reassert_limit=limit)
        await told.submit(release_plan(plan))
        await told.until_state(State.APPROVING)
        yield told
        told.traffic.violations.clear()


def at(told: Stage) -> Snapshot:
    return told.journal.snapshots["r1.production"]


def split(told: Stage) -> JsonObject:
    return told.storage.get(told.splits, "shop", "web")


def weights(told: Stage) -> list[int]:
    return [int(one["weight"]) for one in split(told)["spec"]["backends"]]


def meddle(told: Stage, *, canary: int) -> None:
    found = split(told)
    backends = [{**one, "weight": canary if "canary" in one["service"] else 100 - canary} for one in found["spec"]["backends"]]
    told.storage.update(told.splits, {**found, "spec": {**found["spec"], "backends": backends}}, manager="gitops")


async def end(told: Stage, kind: CommandKind) -> ReleaseStatus:
    await told.engine.command("r1", Command(kind, by="ada"))
    return (await told.until_ended()).status


async def resume(told: Stage) -> None:
    """As soon as the watch has told that it is put back: before, a resume is refused."""
    with anyio.fail_after(10):
        while at(told).held:
            with suppress(CommandRefused):
                await told.engine.command("r1", Command(CommandKind.RESUME, by="ada"))
            await anyio.lowlevel.checkpoint()


async def test_an_edit_is_held_where_the_file_says_nothing(tmp_path: Path) -> None:
    async with waiting(tmp_path, OnDrift.HOLD) as told:
        meddle(told, canary=20)
        await told.until(lambda: "somebody else set TrafficSplit web to 20 %" in at(told).held)
        assert weights(told) == [80, 20]
        assert await end(told, CommandKind.ABORT) is ReleaseStatus.FAILED


async def test_an_edit_is_put_back_and_the_rollout_goes_on(tmp_path: Path) -> None:
    async with waiting(tmp_path, OnDrift.REASSERT) as told:
        meddle(told, canary=20)
        await told.until(lambda: weights(told) == [66, 34] and at(told).action is None)
        assert at(told).held == ""
        assert any("somebody else set TrafficSplit web to 20 %" in one.text for one in told.journal.entries["r1.production"])
        assert await end(told, CommandKind.APPROVE) is ReleaseStatus.SUCCEEDED


async def test_an_object_of_ours_that_is_removed_is_made_again(tmp_path: Path) -> None:
    async with waiting(tmp_path, OnDrift.REASSERT) as told:
        told.storage.delete(told.splits, "shop", "web")
        await told.until(lambda: told.storage.peek(told.splits, "shop", "web") is not None)
        assert weights(told) == [66, 34]
        assert await end(told, CommandKind.APPROVE) is ReleaseStatus.SUCCEEDED
        assert told.storage.peek(told.splits, "shop", "web") is None


async def test_two_managers_in_a_fight_end_in_a_hold(tmp_path: Path) -> None:
    async with waiting(tmp_path, OnDrift.REASSERT, limit=2) as told:
        for _ in range(2):
            meddle(told, canary=20)
            await told.until(lambda: weights(told) == [66, 34] and at(told).action is None)
        meddle(told, canary=20)
        await told.until(lambda: "put back 2 times and changed again: somebody fights for it" in at(told).held)
        assert weights(told) == [80, 20]
        assert sum(name.startswith("reassert:") for name in at(told).begun) == 2
        meddle(told, canary=34)
        await resume(told)
        assert await end(told, CommandKind.APPROVE) is ReleaseStatus.SUCCEEDED


async def test_an_edit_ends_the_rollout_where_the_file_says_so(tmp_path: Path) -> None:
    async with waiting(tmp_path, OnDrift.ABORT) as told:
        before = told.deployment()["spec"]["template"]
        meddle(told, canary=20)
        assert (await told.until_ended()).status is ReleaseStatus.FAILED
        assert "drift: somebody else set TrafficSplit web to 20 %" in at(told).reason
        assert told.deployment()["spec"]["template"] == before
        assert told.ours() == []


# --- what tells the versions apart -------------------------------------------------------------------------------------

BY_HOSTS = RoutePlan(
    "web",
    RouterKind.ISTIO,
    "web",
    stable_service="web",
    canary_service="web-new",
    istio=IstioRoute("web"),
)
SWITCH = compile_switch([Approval()], [])
WEIGHTED_ROUTES: JsonObject = definition("WeightedRoute")


@dataclass(frozen=True)
class Told:
    """A router, what its user has, and whatever tells the versions apart there: Services, or subsets of a DestinationRule."""

    route: RoutePlan
    bodies: tuple[JsonObject, ...] = ()
    pinned: tuple[str, ...] = ("web-stable", "web-canary")
    steps: Sequence[Step] = GENTLE

    @property
    def by_subsets(self) -> bool:
        return self.route.istio is not None and bool(self.route.istio.destination_rule)


CASES = {
    "smi": Told(smi_route()),
    "smi, a Service of the user's": Told(
        smi_route(canary="web-new"), (service("web-new", app="web"),), ("web-stable", "web-new")
    ),
    "istio, subsets": Told(istio_route(), (virtual_service(), destination_rule()), ("active", "canary")),
    "istio, hosts": Told(
        BY_HOSTS,
        (service("web-new", app="web"), virtual_service(http_route(destination("web")))),
        ("web", "web-new"),
    ),
    "ingress-nginx": Told(ingress_route(), (ingress(),)),
    "traefik": Told(traefik_route(), (traefik_service(),)),
    "custom": Told(custom_route(), (WEIGHTED_ROUTES, weighted_route())),
    "gateway": Told(gateway_route(), (gateway(), gateway_http_route())),
    "blue/green": Told(service_route("web", "next"), (service("next", app="web"),), ("web", "next"), SWITCH),
}
PINS = [(name, one) for name, told in CASES.items() for one in told.pinned]


def pins(told: Stage, case: Told) -> dict[str, JsonObject]:
    """What each version's pods are known by, by the name of the Service or subset."""
    if case.by_subsets:
        rule = next(one for one in told.istio if one.kind == "DestinationRule")
        subsets = told.storage.get(rule, "shop", "web")["spec"]["subsets"]
        return {one["name"]: one.get("labels") or {} for one in subsets}
    found = {name: told.storage.find(SERVICES, "shop", name) for name in case.pinned}
    return {name: one["spec"]["selector"] for name, one in found.items() if one is not None}


def edit_pin(told: Stage, case: Told, name: str, labels: JsonObject) -> None:
    told.traffic.pods_may_fail = True
    if case.by_subsets:
        rule = next(one for one in told.istio if one.kind == "DestinationRule")
        found = told.storage.get(rule, "shop", "web")
        changed = [{**one, "labels": labels} if one["name"] == name else one for one in found["spec"]["subsets"]]
        told.storage.update(rule, {**found, "spec": {**found["spec"], "subsets": changed}}, manager="gitops")
        return
    found = told.storage.get(SERVICES, "shop", name)
    told.storage.update(SERVICES, {**found, "spec": {**found["spec"], "selector": labels}}, manager="gitops")


@pytest.mark.parametrize(("router", "name"), PINS)
async def test_an_edited_pin_is_put_back_and_the_rollout_goes_on(tmp_path: Path, router: str, name: str) -> None:
    case = CASES[router]
    async with waiting(tmp_path, OnDrift.REASSERT, bodies=case.bodies, route=case.route, steps=case.steps) as told:
        before = pins(told, case)
        assert all(before[one].keys() == ({HASH} if one == "canary" else {"app", HASH}) for one in case.pinned)
        edit_pin(told, case, name, {"app": "web"})
        begun = f"reassert:{case.route.name}:1"
        await told.until(lambda: begun in at(told).begun and at(told).action is None)
        assert (pins(told, case), at(told).held) == (before, "")
        assert await end(told, CommandKind.APPROVE) is ReleaseStatus.SUCCEEDED
        assert HASH not in str(pins(told, case))


@pytest.mark.parametrize("name", ["web-stable", "web-canary"])
async def test_a_label_more_in_a_service_of_ours_is_an_edit_too(tmp_path: Path, name: str) -> None:
    """It would select no pods at all."""
    async with waiting(tmp_path, OnDrift.REASSERT) as told:
        before = pins(told, CASES["smi"])
        edit_pin(told, CASES["smi"], name, {**before[name], "tier": "gold"})
        await told.until(lambda: "reassert:web:1" in at(told).begun and at(told).action is None)
        assert pins(told, CASES["smi"]) == before
        assert await end(told, CommandKind.APPROVE) is ReleaseStatus.SUCCEEDED


@pytest.mark.parametrize("router", ["smi", "istio, subsets", "blue/green"])
async def test_a_fight_for_a_pin_ends_in_a_hold(tmp_path: Path, router: str) -> None:
    case = CASES[router]
    plan = {"bodies": case.bodies, "route": case.route, "steps": case.steps}
    async with waiting(tmp_path, OnDrift.REASSERT, limit=1, **plan) as told:  # type: ignore[arg-type]
        name, before = case.pinned[1], pins(told, case)
        edit_pin(told, case, name, {"app": "web"})
        await told.until(lambda: pins(told, case) == before and at(told).action is None)
        edit_pin(told, case, name, {"app": "web"})
        await told.until(lambda: "put back 1 times and changed again: somebody fights for it" in at(told).held)
        assert await end(told, CommandKind.ABORT) is ReleaseStatus.FAILED
        assert HASH not in str(pins(told, case))


async def test_a_root_service_that_is_gone_is_held_as_nobody_can_make_it_again(tmp_path: Path) -> None:
    async with waiting(tmp_path, OnDrift.REASSERT) as told:
        told.traffic.pods_may_fail = True
        root = told.storage.get(SERVICES, "shop", "web")
        told.storage.delete(SERVICES, "shop", "web")
        await told.until(lambda: "the root Service web was removed by somebody else; put it back" in at(told).held)
        metadata = {key: root["metadata"][key] for key in ("name", "namespace")}
        spec = {key: root["spec"][key] for key in ("selector", "ports")}
        told.storage.create(SERVICES, {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec})
        await resume(told)
        assert await end(told, CommandKind.APPROVE) is ReleaseStatus.SUCCEEDED
