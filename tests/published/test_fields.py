"""Small files that each rely on a few fields, carried out by a whole daemon: what no published file shows of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from adapters.embedded.json_objects import JsonObject
from engine.model import ReleaseStatus
from tests.published.stage import BEFORE, Stage, published

MANIFESTS = Path(__file__).parent.parent / "strategies" / "published" / "manifests"
NEW = "2.4.1"
HEAD = f"""\
application: fleet
targets:
  prod: {{account: yard, namespace: fleet, strategy: chosen}}
manifests: [{{path: {MANIFESTS}}}]
"""
WINDOW = "load from {{armory.startTimeEpochSeconds}} to {{armory.endTimeEpochSeconds}} of {{context.of}}"
QUERIES = f"""\
analysis:
  queries: [{{name: load, upperLimit: 1, queryTemplate: "{WINDOW}"}}]
"""


def written(folder: Path, *parts: str) -> Path:
    path = folder / "deploy.yaml"
    path.write_text("".join(parts))
    return path


def windows(told: Stage, of: str) -> list[tuple[int, int]]:
    """The windows, in seconds since the epoch, that a provider was asked for with this variable."""
    asked = [query.splitlines()[0].split() for query in told.world.queries]  # New Relic's gets a range of its own.
    return [(int(words[2]), int(words[4])) for words in asked if words[-1] == of]


async def test_growing_runs_look_back_to_the_start_and_sliding_ones_over_one_interval(tmp_path: Path) -> None:
    step = "interval: 1, units: minutes, numberOfJudgmentRuns: 3, metricProviderName: lighthouse, queries: [load]"
    strategy = f"""\
strategies:
  chosen:
    canary:
      steps:
        - analysis: {{{step}, lookbackMethod: growing, context: {{of: growing}}}}
        - analysis: {{{step}, lookbackMethod: sliding, context: {{of: sliding}}}}
"""
    async with published(written(tmp_path, HEAD, strategy, QUERIES), tmp_path) as told:
        await told.begin()
        assert await told.until_ended() is ReleaseStatus.SUCCEEDED
        assert [end - start for start, end in windows(told, "growing")] == pytest.approx([60, 120, 180], abs=20)
        assert len({start for start, _ in windows(told, "growing")}) == 1
        assert [end - start for start, end in windows(told, "sliding")] == pytest.approx([60, 60, 60], abs=20)


async def test_the_background_asks_its_own_provider_with_its_own_context_over_its_own_window(tmp_path: Path) -> None:
    watch = "interval: 2, units: minutes, queries: [load]"
    strategy = f"""\
strategies:
  chosen:
    canary:
      steps: [{{pause: {{duration: 7, unit: minutes}}}}]
      backgroundAnalysis:
        - {{{watch}, metricProviderName: lighthouse, context: {{of: sliding}}}}
        - {{{watch}, metricProviderName: newrelic-prod, lookbackMethod: growing, context: {{of: growing}}}}
"""
    async with published(written(tmp_path, HEAD, strategy, QUERIES), tmp_path) as told:
        await told.begin()
        assert await told.until_ended() is ReleaseStatus.SUCCEEDED
        assert [end - start for start, end in windows(told, "sliding")[:3]] == pytest.approx([120] * 3, abs=20)
        assert [end - start for start, end in windows(told, "growing")[:3]] == pytest.approx([120, 240, 360], abs=20)


async def test_of_several_contexts_the_nearest_wins_and_the_deprecated_one_wins_over_its_successor(tmp_path: Path) -> None:
    rest = """\
description: ships that know where they are
context: {team: navigation, region: north, hull: steel}
contextOverrides: {region: south}
strategies:
  chosen:
    canary:
      steps: [{runWebhook: {name: tell, context: {hull: wood}}}]
webhooks:
  - name: tell
    uriTemplate: https://ci.example.com/{{context.team}}/{{context.region}}/{{context.hull}}
    disableCallback: true
"""
    async with published(written(tmp_path, HEAD, rest), tmp_path) as told:
        accepted = await told.begin()
        assert accepted.release.description == "ships that know where they are"
        assert await told.until_ended() is ReleaseStatus.SUCCEEDED
        assert [call.url for call in told.world.calls] == ["https://ci.example.com/navigation/south/wood"]


SWITCH = """\
strategies:
  chosen:
    blueGreen:
      activeService: fleet-internal
      previewService: fleet-preview
      redirectTrafficAfter:
        - exposeServices: {services: [fleet-preview]}
        - runWebhook: {name: tell}
        - runCommand: {name: soundings}
        - runJob:
            name: calm
            inline: |
              apiVersion: batch/v1
              kind: Job
              metadata: {name: calm}
              spec: {template: {spec: {restartPolicy: Never, containers: [{name: test, image: "calm:1"}]}}}
        - analysis: {interval: 1, units: minutes, numberOfJudgmentRuns: 1, queries: [load], context: {of: step}}
      shutDownOldVersionAfter: [{pause: {duration: 10, unit: minutes}}]
      backgroundAnalysis: [{interval: 1, units: minutes, queries: [load], context: {of: background}, failureBudget: 2}]
analysis:
  defaultMetricProviderName: lighthouse
  queries: [{name: load, upperLimit: 1, queryTemplate: "load from 0 to 0 of {{context.of}}"}]
webhooks:
  - name: tell
    uriTemplate: https://ci.example.com/told
    bodyTemplate: {inline: "{{armory.callbackUri}}/callback"}
"""


async def test_a_switch_waits_for_conditions_of_every_kind_and_is_watched_in_the_background(tmp_path: Path) -> None:
    async with published(written(tmp_path, HEAD, SWITCH), tmp_path) as told:
        await told.begin()
        assert await told.until_ended() is ReleaseStatus.SUCCEEDED
        story = await told.tell()
        for said in (
            "fleet-preview can be looked at for 5 minutes",
            "https://ci.example.com answered 202",
            "command soundings ended with 0",
            "job calm completed",
            "run 1 of 1: load = 0.005",
            "paused for 600 s",
        ):
            assert said in story
        assert len(windows(told, "step")) == 1
        assert len(windows(told, "background")) >= 10


async def test_a_switch_is_taken_back_when_the_background_has_spent_its_budget(tmp_path: Path) -> None:
    async with published(written(tmp_path, HEAD, SWITCH), tmp_path) as told:
        await told.begin()

        async def switched() -> bool:
            return told.selected("prod", "fleet-internal") == {NEW}

        await told.until_called("https://ci.example.com/told")
        assert told.selected("prod", "fleet-preview") == {NEW}
        await told.until(switched)
        told.world.value = 5.0
        assert await told.until_ended() is ReleaseStatus.FAILED
        assert "3 of" in (await told.rollout("prod")).reason
        assert told.selected("prod", "fleet-internal") == told.images("prod") == {BEFORE}


async def test_the_files_own_filter_limits_a_run(tmp_path: Path) -> None:
    rest = """\
  other: {account: yard, namespace: elsewhere, strategy: chosen}
targetFilters: [{includeTarget: other}]
strategies: {chosen: {canary: {steps: []}}}
"""
    head = HEAD.replace("manifests:", "MANIFESTS:").partition("MANIFESTS:")
    path = written(tmp_path, head[0], rest, "manifests:" + head[2])
    async with published(path, tmp_path, filtered=True) as told:
        accepted = await told.begin()
        assert await told.until_ended() is ReleaseStatus.SUCCEEDED
        detail = await told.admin.release(accepted.release.id)
        assert [rollout.target for rollout in detail.rollouts] == ["other"]


@pytest.mark.parametrize("keeps", ["true", "false"])
async def test_the_deployment_is_kept_whatever_the_file_says(tmp_path: Path, keeps: str) -> None:
    rest = f"deploymentConfig: {{keepDeploymentObject: {keeps}}}\nstrategies: {{chosen: {{canary: {{steps: []}}}}}}\n"
    async with published(written(tmp_path, HEAD, rest), tmp_path) as told:

        def uid() -> str:
            metadata: JsonObject = told.objects("prod", "Deployment")["fleet"]["metadata"]
            return str(metadata["uid"])

        before = uid()
        await told.begin()
        assert await told.until_ended() is ReleaseStatus.SUCCEEDED
        assert (uid(), told.images("prod")) == (before, {NEW})
