"""An account that lacks one right: refused by name before anything is changed, whichever right it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from adapters.kubernetes.cluster import WatchScope
from adapters.kubernetes.permissions import Permission, Verb
from engine.events import Command, CommandKind
from engine.model import Approval, ReleaseStatus, State
from engine.traffic import RoutePlan
from tests.builders import percent, pod_ratio_route, release_plan, service, smi_route, target_plan
from tests.rollouts.stage import Stage, stage

MESH, RATIO = smi_route(), pod_ratio_route()
WRITES = ("POST", "PUT", "PATCH", "DELETE")


def writes(told: Stage) -> list[str]:
    """What was written to objects: questions about rights and rehearsals change nothing."""
    return [
        f"{one.method} {one.path}"
        for one in told.embedded.server.audit.requests
        if one.method in WRITES and one.resource and "dryRun" not in one.query and one.status < 300
    ]


@pytest.mark.parametrize(
    ("route", "lacking"),
    [
        (MESH, Permission("apps", "replicasets", Verb.PATCH, "shop")),
        (MESH, Permission("apps", "deployments", Verb.PATCH, "shop", "web")),
        (MESH, Permission("split.smi-spec.io", "trafficsplits", Verb.DELETE, "shop", "web")),
        (MESH, Permission("", "services", Verb.CREATE, "shop")),
        (MESH, Permission("", "pods", Verb.WATCH)),
        (MESH, Permission("", "services", Verb.UPDATE, "shop", "web")),
        (RATIO, Permission("autoscaling", "horizontalpodautoscalers", Verb.PATCH, "shop")),
        (RATIO, Permission("apps", "deployments", Verb.CREATE, "shop")),
    ],
    ids=lambda value: str(value) if isinstance(value, Permission) else value.kind.value,
)
async def test_a_missing_right_is_named_before_anything_is_changed(
    tmp_path: Path, route: RoutePlan, lacking: Permission
) -> None:
    async with stage(tmp_path) as told:
        await told.live()
        before = told.picture()
        plan = target_plan([percent(25)], route=route, manifests=[service()])
        told.rights.grant([plan])
        told.rights.deny(lacking)
        assert await told.roll_out(release_plan(plan)) is ReleaseStatus.REJECTED
        ended = told.journal.snapshots["r1.production"]
        assert ended.state is State.REJECTED
        assert ended.reason.startswith(f"account embedded may not {lacking}. Nothing was changed: ")
        assert "headgate doctor --print-role" in ended.reason
        assert writes(told) == []
        assert told.picture() == before


async def test_several_missing_rights_are_named_at_once(tmp_path: Path) -> None:
    async with stage(tmp_path) as told:
        await told.live()
        plan = target_plan([percent(25)])
        told.rights.grant([plan])
        for verb in (Verb.CREATE, Verb.DELETE):
            told.rights.deny(Permission("apps", "replicasets", verb, "shop"))
        await told.roll_out(release_plan(plan))
        named = "create replicasets.apps in namespace shop; delete replicasets.apps in namespace shop"
        assert named in told.journal.snapshots["r1.production"].reason


async def test_a_right_that_is_given_after_the_refusal_counts_at_once(tmp_path: Path) -> None:
    async with stage(tmp_path, scope=WatchScope.NAMESPACE) as told:
        await told.live()
        plan = target_plan([percent(25)])
        told.rights.grant([plan])
        lacking = Permission("split.smi-spec.io", "trafficsplits", Verb.PATCH, "shop", "web")
        told.rights.deny(lacking)
        assert await told.roll_out(release_plan(plan)) is ReleaseStatus.REJECTED
        told.rights.allow(lacking)
        assert await told.roll_out(release_plan(plan)) is ReleaseStatus.SUCCEEDED


async def test_rights_are_asked_for_once_a_minute_however_many_rollouts_there_are(tmp_path: Path) -> None:
    async with stage(tmp_path) as told:
        await told.live()
        plan = target_plan([percent(25)])
        for _ in range(2):
            assert await told.roll_out(release_plan(plan)) is ReleaseStatus.SUCCEEDED
        asked = [one.path for one in told.embedded.server.audit.requests if one.path.endswith("reviews")]
        assert [one.rpartition("/")[2] for one in asked].count("selfsubjectrulesreviews") == 1
        assert len(asked) == 1 + 2 * 5, "the namespace's rules; list and watch of the five kinds that are watched everywhere"


async def test_an_account_that_may_not_ask_is_trusted_and_its_journal_says_so(tmp_path: Path) -> None:
    async with stage(tmp_path) as told:
        await told.live()
        plan = target_plan([percent(25), Approval()])
        told.embedded.server.access.answers_reviews = False
        await told.submit(release_plan(plan))
        await told.until_state(State.APPROVING)
        texts = [entry.text for entry in await told.store.journal("r1")]
        assert any("the rights of account embedded could not be looked up" in one for one in texts)
        await told.engine.command("r1", Command(CommandKind.ABORT, by="ada"))
        await told.until_ended()
