"""`headgate doctor` against a real API server, with the account that a rollout would have."""

from __future__ import annotations

import json

import pytest
import yaml

from adapters.embedded.json_objects import JsonObject
from adapters.kubernetes.permissions import Permission, Verb
from engine.model import ReleaseStatus
from tests.e2e.site import SERVICE_ACCOUNT, Site
from tests.e2e.test_rights import give

pytestmark = pytest.mark.real


def write_file(site: Site, *, mesh: bool = True) -> str:
    body = site.submission("web:2", [{"setWeight": {"weight": 25}}], mesh=mesh)
    path = site.folder / "deploy.yaml"
    path.write_text(body.text, "utf-8")
    for sources in body.manifests.values():
        for source in sources:
            site.folder.joinpath(source.name).write_text(source.text, "utf-8")
    return str(path)


def findings(site: Site, *arguments: str, code: int) -> dict[str, list[str]]:
    """The sentences by level."""
    done = site.headgate("doctor", *arguments, "-o", "json", check=False)
    assert done.returncode == code, done.stdout + done.stderr
    found: dict[str, list[str]] = {}
    for section in json.loads(done.stdout)["sections"]:
        for one in section["findings"]:
            found.setdefault(one["level"], []).append(one["text"])
    return found


async def test_a_ratio_of_pods_has_nothing_in_its_way(site: Site) -> None:
    await site.go_live()
    found = findings(site, write_file(site, mesh=False), code=0)
    assert f"the login is accepted: system:serviceaccount:{site.namespace}:{SERVICE_ACCOUNT}" in found["ok"]
    assert any(text.startswith("Kubernetes v1.") for text in found["ok"])
    assert "Deployment web has 4 of 4 pods available" in found["ok"]


async def test_a_split_without_a_mesh_has_no_effect_and_that_is_said(site: Site) -> None:
    await site.go_live()
    found = findings(site, write_file(site), code=1)
    (told,) = found["problem"]
    assert told.startswith(f"no pod in namespace {site.namespace} carries a mesh proxy: ")


async def test_one_missing_verb_is_found(site: Site) -> None:
    await site.go_live()
    lacking = Permission("apps", "replicasets", Verb.PATCH, site.namespace)
    await give(site, without=lacking)
    found = findings(site, write_file(site, mesh=False), code=1)
    assert found["problem"] == [f"the account may not {lacking}"]


@pytest.mark.parametrize("mesh", [True, False], ids=["mesh", "ratio"])
async def test_the_printed_role_is_all_that_a_rollout_needs(site: Site, mesh: bool) -> None:
    await site.go_live()
    (role,) = yaml.safe_load_all(site.headgate("doctor", write_file(site, mesh=mesh), "--print-role").stdout)
    assert role["kind"] == "Role"
    path = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{site.namespace}/roles/{SERVICE_ACCOUNT}"
    await site.merge(path, {"rules": role["rules"]})
    steps: list[JsonObject] = [{"setWeight": {"weight": 25}}]
    release = await site.deploy("web:2", steps, mesh=mesh)
    assert (await site.until_ended(release.id)).status is ReleaseStatus.SUCCEEDED, await site.tell(release.id)
    assert len(await site.pods_of("web:2")) == 4


async def test_the_accounts_alone_can_be_examined(site: Site) -> None:
    found = findings(site, code=0)
    assert any("serves SMI TrafficSplit" in text for text in found["ok"])
