"""Every published file, as it stands, is carried out to its end: what it asks people is asked, what it calls is called."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from pathlib import Path

import pytest

from adapters.http.client_errors import DaemonRefused
from engine.model import ReleaseStatus, State
from tests.published.stage import BEFORE, KEY, Stage, published
from tests.rollouts.istio_requests import Request, follow, shares

FILES = Path(__file__).parent.parent / "strategies" / "published"
NEW = "2.4.1"
SELECTOR = {"app": "fleet"}
PREVIEW = f"version {NEW}\n"
MISTAKES = """\
6:27: "units" is read as "unit"; the field of deploymentConfig.timeout is called "unit"
7:1: "context" is read as one mapping; write "name: value" lines without "- " in front
25:22: "setWeight: 10" is read as "setWeight: {weight: 10}"; write it so
26:33: "units" is read as "unit"; the field of steps[1].pause is called "unit"
29:13: "unit" is read as "units"; the field of steps[2].analysis is called "units"
32:13: "context" is read as one mapping; write "name: value" lines without "- " in front
36:61: "requiresRoles" is read as a field of pause; write it beside "approvalExpiration", not in it
37:22: "setWeight: 100" is read as "setWeight: {weight: 100}"; write it so
41:40: "approvalDuration" is read as "approvalExpiration"; the field of redirectTrafficAfter[0].pause is called\
 "approvalExpiration"
41:86: "requiresRoles: []" is read as "anybody with access may answer"; name a role or remove the key
42:7: "shutdownOldVersionAfter" is read as "shutDownOldVersionAfter"; the field of switch.blueGreen is called\
 "shutDownOldVersionAfter"
48:7: "aggregationMethod" is ignored, the mean of all runs is what is judged; remove it
53:5: "smi" is read as a list of one; write "- " in front of its first field
56:5: "kubernetes" is read as a list of one; write "- " in front of its first field
"""


def weights(told: Stage, target: str) -> list[tuple[str, int]]:
    """Of the only TrafficSplit."""
    ((_, split),) = told.objects(target, "TrafficSplit").items()
    return [(one["service"], one["weight"]) for one in split["spec"]["backends"]]


async def test_blue_green(tmp_path: Path) -> None:
    async with published(FILES / "blue-green.yaml", tmp_path) as told:
        accepted = await told.begin()
        assert any('"contextOverrides" is deprecated' in warning for warning in accepted.warnings)
        asked = await told.until_asked("prod", answers=2)
        assert {gate.kind for gate in asked.gates if gate.awaits_answer} == {"pause", "analysis"}
        assert told.world.queries == ["avg(cpu)"] * 3
        assert await told.preview("prod", "fleet-preview") == PREVIEW
        assert told.images("prod") == {BEFORE, NEW}
        await told.approve("prod")
        await told.until_called("https://logs.example.com/check")
        assert told.images("prod") == {BEFORE, NEW}
        await told.report_success("prod")
        assert await told.until_ended() is ReleaseStatus.SUCCEEDED
        assert "paused for 900 s" in await told.tell()
        for target in ("prod", "elsewhere"):
            assert told.images(target) == {NEW}
            assert told.service(target, "fleet-internal")["spec"]["selector"] == SELECTOR


async def test_four_environments(tmp_path: Path) -> None:
    async with published(FILES / "four-environments.yaml", tmp_path) as told:
        await told.begin()
        trial = await told.until_called("https://ci.example.com/dispatches")
        assert (trial.method, trial.headers["Authorization"]) == ("POST", f"token {KEY}")
        assert json.loads(trial.body)["client_payload"]["environment"] == "staging"
        scan = await told.until_called("http://scanner.fleet-inspection.svc/scan/full")
        assert scan.method == "PUT"
        await told.report_success("inspection")

        asked = await told.until_asked("prod (canary)")
        assert asked.roles == ("Organization Admin",)
        assert told.images("prod (canary)") == {BEFORE}
        with pytest.raises(DaemonRefused, match="Organization Admin"):
            await told.approve("prod (canary)", by=told.sailor)
        await told.approve("prod (canary)")
        await told.until_called("https://chat.example.com/hooks/navigation")

        await told.until_called("https://ci.example.com/dispatches", times=2)
        assert await told.preview("prod (canary)", "fleet-internal") in (PREVIEW, f"version {BEFORE}\n")
        assert any("WHERE owner = 'navigation' SINCE 1" in query for query in told.world.queries)
        await told.until_asked("prod (canary)")
        assert list(told.objects("prod (canary)", "TrafficSplit")) == ["fleet-split"]
        assert weights(told, "prod (canary)") == [("fleet-internal-stable", 50), ("fleet-preview", 50)]
        await told.approve("prod (canary)", by=told.sailor)
        asked = await told.until_asked("prod (canary)")
        assert asked.state is State.VERIFYING
        await told.approve("prod (canary)")
        assert await told.until_ended() is ReleaseStatus.SUCCEEDED
        for target in ("dev", "staging", "inspection", "prod (canary)"):
            assert told.images(target) == {NEW}
        assert told.objects("prod (canary)", "TrafficSplit") == {}
        assert told.service("prod (canary)", "fleet-preview")["spec"]["selector"] == SELECTOR
        assert told.objects("dev", "ConfigMap")["fleet-flags"]["data"] == {"colour": "blue"}
        assert "fleet-flags" not in told.objects("staging", "ConfigMap")


async def test_istio(tmp_path: Path) -> None:
    async with published(FILES / "istio.json", tmp_path) as told:
        kinds = ("VirtualService", "DestinationRule")
        before = [told.objects("prod", kind)["fleet"]["spec"] for kind in kinds]
        await told.begin()
        await told.until_state("prod", State.PAUSING)
        (route,) = told.objects("prod", "VirtualService")["fleet"]["spec"]["http"]
        assert [(one["destination"]["subset"], one["weight"]) for one in route["route"]] == [("active", 90), ("canary", 10)]
        assert await told.until_ended() is ReleaseStatus.SUCCEEDED
        assert [told.objects("prod", kind)["fleet"]["spec"] for kind in kinds] == before
        assert told.images("prod") == {NEW}


async def test_by_header(tmp_path: Path) -> None:
    async with published(FILES / "by-header.yaml", tmp_path) as told:
        before = told.objects("prod", "VirtualService")["fleet"]["spec"]
        await told.begin()
        await told.until_asked("prod")
        beside = (await told.rollout("prod")).beside
        assert beside.startswith("testers: header x-crew = bridge and header x-ship beginning with HMS ")
        new, old = {"canary": 100}, {"active": 100}
        crew = {"x-crew": "bridge", "x-ship": "HMS Beagle"}
        asked = {
            Request("/", {**crew, "cookie": "a=1; rank=mate"}): new,
            Request("/", {**crew, "cookie": "rank=cook"}): old,
            Request("/", {"cookie": "rank=mate"}): old,
            Request("/chart"): new,
            Request("/chart", method="POST"): old,
            Request("/v2/tides"): new,
            Request("/ports/17"): new,
            Request("/ports/east"): old,
        }

        def all_go_where(expected: dict[Request, dict[str, int]]) -> bool:
            found = told.objects("prod", "VirtualService")["fleet"]
            return {request: shares(found, request) for request in expected} == expected

        assert all_go_where(asked)
        await told.approve("prod")
        await told.until_state("prod", State.PAUSING)
        (main,) = [one for one in told.objects("prod", "VirtualService")["fleet"]["spec"]["http"] if one["name"] == "main"]
        assert (main["mirror"], main["mirrorPercentage"]) == ({"host": "fleet", "subset": "canary"}, {"value": 12.5})
        await told.until_asked("prod")
        tenth = {"active": 90, "canary": 10}
        assert all_go_where({request: new if to == new else tenth for request, to in asked.items()})
        found = told.objects("prod", "VirtualService")["fleet"]
        route = follow(found, Request("/"))
        assert route is not None and "mirror" not in route
        pair, age, *_ = route["route"][1]["headers"]["response"]["add"]["set-cookie"].split("; ")
        assert (pair.partition("=")[0], age) == ("fleet-version", "Max-Age=7200")
        assert shares(found, Request("/", {"cookie": pair})) == new
        await told.approve("prod")
        await told.until_asked("prod")
        assert all_go_where(dict.fromkeys(asked, tenth))
        await told.approve("prod")
        assert await told.until_ended() is ReleaseStatus.SUCCEEDED
        assert told.objects("prod", "VirtualService")["fleet"]["spec"] == before
        assert told.images("prod") == {NEW}


async def test_our_additions(tmp_path: Path) -> None:
    async with published(FILES / "our-additions.yaml", tmp_path) as told:
        await told.begin()
        for target in ("prod", "rocks"):
            await told.until_asked(target)
        assert weights(told, "prod") == [("fleet-now", 875), ("fleet-internal-canary", 125)]
        routes = told.objects("rocks", "VirtualService")["fleet"]["spec"]
        for protocol in ("http", "tls", "tcp"):
            (listed,) = [one["route"] for one in routes[protocol]]
            assert [one["destination"]["host"] for one in listed] == ["fleet-now", "fleet-next"]
            assert listed[1]["weight"] / sum(one["weight"] for one in listed) == 0.125
        for target in ("prod", "rocks"):
            await told.approve(target)
        for times in (1, 2):
            trial = await told.until_called("https://ci.example.com/dispatches", times)
            told_at, _, digest = trial.headers["X-Headgate-Signature"].removeprefix("t=").partition(",v1=")
            assert digest == hmac.new(KEY.encode(), f"{told_at}.{trial.body}".encode(), hashlib.sha256).hexdigest()
        for target in ("prod", "rocks"):
            await told.report_success(target)
        assert await told.until_ended() is ReleaseStatus.SUCCEEDED
        story = await told.tell()
        assert story.count("job swell completed") == 3
        assert story.count("job calm completed") == 2
        assert story.count("command soundings ended with 0") == 3
        assert "settled for 12 s" in story
        for target in ("prod", "rocks"):
            assert told.images(target) == {NEW}
        assert told.objects("prod", "TrafficSplit") == told.objects("prod", "Job") == {}


async def test_a_quick_start(tmp_path: Path) -> None:
    async with published(FILES / "quick-start.yaml", tmp_path) as told:
        await told.begin()
        await told.until_asked("prod")
        assert (told.images("staging"), told.images("prod")) == ({NEW}, {BEFORE})
        await told.approve("prod")

        async def half_way() -> bool:
            return (await told.rollout("prod")).state is State.APPROVING

        await told.until(half_way)
        assert told.images("prod") == {BEFORE, NEW}
        assert (await told.rollout("prod")).weight.served == 50
        await told.approve("prod")
        assert await told.until_ended() is ReleaseStatus.SUCCEEDED
        assert told.images("prod") == {NEW}


async def test_several_services(tmp_path: Path) -> None:
    async with published(FILES / "several-services.yaml", tmp_path) as told:
        await told.begin()
        call = await told.until_called("https://ci.example.com/load")
        assert json.loads(call.body)["release"] == told.release
        await told.until_asked("prod")
        for name in ("cranes", "tugs"):
            assert await told.preview("prod", f"{name}-next") == PREVIEW
            assert told.selected("prod", name) == {BEFORE}
            assert told.selected("prod", f"{name}-next") == {NEW}
        await told.approve("prod")
        assert await told.until_ended() is ReleaseStatus.SUCCEEDED
        for name in ("cranes", "tugs"):
            assert told.selected("prod", name) == {NEW}
            assert told.service("prod", name)["spec"]["selector"] == {"app": name}


async def test_fan_out(tmp_path: Path) -> None:
    async with published(FILES / "fan-out.yaml", tmp_path) as told:
        await told.begin()
        assert await told.until_ended() is ReleaseStatus.SUCCEEDED
        for target in ("dev", "north", "south", "everywhere-else"):
            assert told.images(target) == {NEW}
        regions = [re.findall('region="([^"]+)"', query) for query in told.world.queries]
        assert sorted(regions) == [["north"]] * 5 + [["south"]] * 5
        entries = await told.running.service.store.journal(told.release)
        ended = [one.rollout.partition(".")[2] for one in entries if one.destination is State.SUCCEEDED]
        assert (ended[0], set(ended[1:3]), ended[3]) == ("dev", {"north", "south"}, "everywhere-else")


async def test_everything_that_was_documented_wrongly(tmp_path: Path) -> None:
    """It is read as it was meant, what it means is carried out, and each of its mistakes is said once, with its place."""
    async with published(Path(__file__).parent / "as_documented.yaml", tmp_path) as told:
        accepted = await told.begin()
        said = [warning.rpartition("as_documented.yaml:")[2] for warning in accepted.warnings]
        assert said == MISTAKES.splitlines()
        asked = await told.until_asked("mesh")
        assert asked.roles == ("Organization Admin",)
        assert weights(told, "mesh") == [("fleet-internal-stable", 90), ("fleet-internal-canary", 10)]
        assert told.world.queries == ['load{owner="bridge",team="navigation"}']
        await told.approve("mesh")
        await told.until_asked("colours")
        await told.approve("colours", by=told.sailor)
        assert await told.until_ended() is ReleaseStatus.SUCCEEDED
        story = await told.tell()
        assert story.count("paused for 900 s") == 2
        assert told.images("mesh") == told.images("colours") == {NEW}
