"""A limited account on a real API server: what is missing is named before anything is changed."""

from __future__ import annotations

import pytest

from adapters.embedded.json_objects import JsonObject
from adapters.kubernetes.permissions import Permission, Verb
from engine.model import ReleaseStatus, State
from tests.e2e.roles import role_of_headgate
from tests.e2e.site import SERVICE_ACCOUNT, Site
from tests.e2e.test_rolled_back import picture, traces

pytestmark = pytest.mark.real

STEPS: list[JsonObject] = [{"setWeight": {"weight": 25}}]


async def give(site: Site, without: Permission | None) -> None:
    role = role_of_headgate(SERVICE_ACCOUNT, site.namespace, ["web"], without=without)
    path = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{site.namespace}/roles/{SERVICE_ACCOUNT}"
    await site.merge(path, {"rules": role["rules"]})


@pytest.mark.parametrize(
    ("group", "plural", "verb", "name"),
    [
        ("apps", "replicasets", Verb.PATCH, ""),
        ("apps", "deployments", Verb.PATCH, "web"),
        ("split.smi-spec.io", "trafficsplits", Verb.PATCH, "web"),
        ("", "services", Verb.CREATE, ""),
        ("", "pods", Verb.WATCH, ""),
    ],
)
async def test_one_missing_verb_is_named_before_anything_is_changed(
    site: Site, group: str, plural: str, verb: Verb, name: str
) -> None:
    await site.go_live()
    before = await picture(site)
    lacking = Permission(group, plural, verb, site.namespace, name)
    await give(site, without=lacking)
    release = await site.deploy("web:2", STEPS)
    assert (await site.until_ended(release.id)).status is ReleaseStatus.REJECTED
    rollout = (await site.detail(release.id)).rollouts[0]
    assert rollout.state is State.REJECTED
    assert f"account real may not {lacking}. Nothing was changed" in rollout.reason
    assert await traces(site) == []
    assert await picture(site) == before
    await give(site, without=None)
    again = await site.deploy("web:2", STEPS)
    ended = await site.until_ended(again.id)
    assert ended.status is ReleaseStatus.SUCCEEDED, await site.tell(again.id)
