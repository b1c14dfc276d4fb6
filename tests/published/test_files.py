"""Every published file, as it stands, is carried out to its end: what it asks people is asked, what it calls is called."""

from __future__ import annotations

import hashlib
import hmac
import json
from pathlib import Path

import pytest

from adapters.http.client_errors import DaemonRefused
from engine.model import ReleaseStatus, State
from tests.published.stage import BEFORE, KEY, Stage, published

FILES = Path(__file__).parent.parent / "strategies" / "published"
NEW = "2.4.1"
SELECTOR = {"app": "fleet"}
PREVIEW = f"version {NEW}\n"


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


async def test_our_additions(tmp_path: Path) -> None:
    async with published(FILES / "our-additions.yaml", tmp_path) as told:
        await told.begin()
        for target in ("prod", "rocks"):
            await told.until_asked(target)
        assert weights(told, "prod") == [("fleet-now", 875), ("fleet-internal-canary", 125)]
        routes = told.objects("rocks", "VirtualService")["fleet"]["spec"]
        for protocol in ("http", "tls", "tcp"):
            ((listed,),) = [[one["route"] for one in routes[protocol]]]
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
