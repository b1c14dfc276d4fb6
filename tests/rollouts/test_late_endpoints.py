"""Pods that are available before anybody who sends traffic can know where they are."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from adapters.embedded.endpoint_controller import EndpointController
from adapters.embedded.errors import ServiceUnavailable
from adapters.embedded.faults import Match
from adapters.embedded.json_objects import JsonObject
from adapters.embedded.resources import SERVICES
from engine.events import Command, CommandKind
from engine.model import Approval, ReleaseStatus, State, Step
from engine.traffic import RoutePlan
from tests.builders import header_route, ingress_route, istio_route, percent, release_plan, smi_route, target_plan
from tests.rollouts.istio_objects import destination_rule, virtual_service
from tests.rollouts.routed import ingress, routed
from tests.rollouts.stage import Stage, stage

NEW = "web:2"


class LateEndpoints:
    """The controller that knows nothing of some pods of the new version yet."""

    def __init__(self) -> None:
        self.known = 0
        self.forgotten = ""
        """The Service of which it does not know any pod."""
        self.behind = ""
        """The Service of which it goes on telling what it told when this was set."""
        self._told: dict[str, list[JsonObject]] = {}

    def of(self, service: str, pods: list[JsonObject]) -> list[JsonObject]:
        if service == self.forgotten:
            return []
        if service != self.behind:
            self._told[service] = self._known(pods)
        return self._told[service]

    def _known(self, pods: list[JsonObject]) -> list[JsonObject]:
        fresh = sorted(one["metadata"]["name"] for one in pods if one["spec"]["containers"][0]["image"] == NEW)
        return [one for one in pods if one["metadata"]["name"] not in fresh[self.known :]]

    def learn(self, told: Stage, known: int) -> None:
        self.known = known
        self.look_again(told, known)

    def look_again(self, told: Stage, known: int) -> None:
        for one in told.storage.list(SERVICES, "shop"):
            labels = {**(one["metadata"].get("labels") or {}), "seen": str(known)}
            told.storage.update(SERVICES, {**one, "metadata": {**one["metadata"], "labels": labels}}, manager="kubectl")


@pytest.fixture
def late(monkeypatch: pytest.MonkeyPatch) -> Iterator[LateEndpoints]:
    endpoints = LateEndpoints()
    write = EndpointController._write_slices

    def write_late(self: EndpointController, service: JsonObject, pods: list[JsonObject]) -> None:
        write(self, service, endpoints.of(service["metadata"]["name"], pods))

    monkeypatch.setattr(EndpointController, "_write_slices", write_late)
    yield endpoints


@pytest.mark.parametrize(
    ("route", "step", "weight"),
    [(smi_route(), percent(50), 5_000), (istio_route(), percent(50), 5_000), (istio_route(), header_route(), 0)],
    ids=["a Service of its own", "a subset", "a header at a weight of 0"],
)
async def test_nobody_is_sent_to_pods_that_are_not_among_the_endpoints(
    tmp_path: Path, late: LateEndpoints, route: RoutePlan, step: Step, weight: int
) -> None:
    async with stage(tmp_path) as told:
        await told.live()
        for body in (virtual_service(), destination_rule()):
            told.storage.create(next(one for one in told.istio if one.kind == body["kind"]), body, manager="kubectl")
        virtual_services = next(one for one in told.istio if one.kind == "VirtualService")
        plan = target_plan([step, Approval()], route=route, settle=0.05)
        release = await told.submit(release_plan(plan))

        for known in (0, 2):
            late.learn(told, known)
            await told.until(partial(is_told, told, f"{known} of the 3 available pods of the new version of web are among the"))
            assert told.journal.snapshots["r1.production"].served == 0
            assert [one.get("name", "") for one in told.storage.get(virtual_services, "shop", "web")["spec"]["http"]] == [""]
        late.learn(told, 3)
        assert (await told.until_state(State.APPROVING)).served == weight
        late.known = 0
        await told.engine.command("r1", Command(CommandKind.ABORT, by="ada"))
        assert (await told.until_ended(release.id)).status is ReleaseStatus.FAILED, "the way back waits for nobody"


def is_told(told: Stage, words: str) -> bool:
    return any(words in entry.text for entry in told.journal.entries.get("r1.production", ()))


async def test_everything_stays_at_the_root_service_until_the_old_versions_own_has_endpoints(
    tmp_path: Path, late: LateEndpoints
) -> None:
    """A controller that is busy, or whose API server was away, would have everybody sent to nowhere."""
    late.known, late.forgotten = 3, "web-stable"
    async with stage(tmp_path) as told:
        await told.live()
        release = await told.submit(release_plan(target_plan([percent(50)], settle=0.05)))
        words = "0 of the 3 available pods of the old version of web are among the endpoints of Service web-stable"
        await told.until(partial(is_told, told, words))
        assert told.storage.list(told.splits, "shop") == []
        late.forgotten = ""
        late.look_again(told, 1)
        assert (await told.until_ended(release.id)).status is ReleaseStatus.SUCCEEDED


async def test_nobody_goes_to_the_root_service_again_while_it_names_pods_that_are_gone(
    tmp_path: Path, late: LateEndpoints
) -> None:
    late.known = 3
    async with stage(tmp_path) as told:
        await told.live()
        release = await told.submit(release_plan(target_plan([percent(50), Approval()], settle=0.05)))
        await told.until_state(State.APPROVING)
        late.behind = "web"
        await told.engine.command("r1", Command(CommandKind.APPROVE, by="ada"))
        await told.until(partial(is_told, told, "the endpoints of Service web still name 3 pods of the old version of web"))
        assert told.storage.list(told.splits, "shop") != []
        late.behind = ""
        late.look_again(told, 1)
        assert (await told.until_ended(release.id)).status is ReleaseStatus.SUCCEEDED


async def test_nor_on_the_way_back_while_it_names_pods_of_the_new_version(tmp_path: Path, late: LateEndpoints) -> None:
    late.known = 3
    async with stage(tmp_path) as told:
        await told.live()
        release = await told.submit(release_plan(target_plan([percent(50), Approval()], settle=0.05)))
        await told.until_state(State.APPROVING)
        late.behind = "web"
        await told.engine.command("r1", Command(CommandKind.ABORT, by="ada"))
        await told.until(partial(is_told, told, "the endpoints of Service web still name 3 pods of the new version of web"))
        (split,) = told.storage.list(told.splits, "shop")
        assert [one["weight"] for one in split["spec"]["backends"]] == [100, 0]
        late.behind = ""
        late.look_again(told, 1)
        assert (await told.until_ended(release.id)).status is ReleaseStatus.FAILED


async def test_the_way_back_after_the_hand_over_waits_half_a_minute_for_endpoints_and_goes_on_without(
    tmp_path: Path, late: LateEndpoints
) -> None:
    late.known = 3
    async with stage(tmp_path) as told:
        await told.live()
        release = await told.submit(release_plan(target_plan([percent(50)], settle=0.05)))
        await told.until(partial(is_told, told, "the new version of web is given to its Deployment"))
        late.forgotten = "web-stable"
        late.look_again(told, 1)
        await told.engine.command("r1", Command(CommandKind.ABORT, by="ada"))
        assert (await told.until_ended(release.id, within=90.0)).status is ReleaseStatus.FAILED
        assert told.deployment()["spec"]["template"]["spec"]["containers"][0]["image"] == "web:1"


@pytest.mark.parametrize("name", ["web-stable", "web-canary"])
async def test_a_service_that_goes_before_the_route_is_made_comes_again(tmp_path: Path, name: str) -> None:
    """The route waits for the endpoints of a Service that somebody has removed, and would wait for ever."""
    async with routed(tmp_path, ingress()) as story:
        told, before = story.told, story.belongings()
        slices = Match(verb="list", resource="endpointslices", user_agent="headgate")
        told.embedded.server.faults.answer(slices, ServiceUnavailable("the server is starting"), times=2)
        plan = target_plan([percent(34), Approval()], route=ingress_route(), settle=0.05)
        await told.submit(release_plan(plan))
        await told.until_state(State.PREPARING)
        await told.until(lambda: told.journal.snapshots["r1.production"].failures > 0)
        told.storage.delete(SERVICES, "shop", name)
        await told.until_state(State.APPROVING)
        assert await story.end() is ReleaseStatus.SUCCEEDED
        assert story.belongings() == before
