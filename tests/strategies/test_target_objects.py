"""What a target's namespace does to its objects: where they are, and what they name from inside."""

from __future__ import annotations

import json
from typing import Any

import pytest

from engine.model import ReleasePlan
from strategies.deployfile import LoadedFile, SourceText, compile_release, parse_deploy_text

RBAC = "rbac.authorization.k8s.io/v1"


def thing(kind: str, name: str, api_version: str = "v1", namespace: str | None = None, **more: Any) -> dict[str, Any]:
    metadata = {"name": name} | ({"namespace": namespace} if namespace else {})
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, **more}


def binding(*subjects: dict[str, Any], kind: str = "RoleBinding", namespace: str | None = None) -> dict[str, Any]:
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "reader"}
    return thing(kind, "reading", RBAC, namespace, subjects=list(subjects), roleRef=reference)


def account(name: str, namespace: str | None = None) -> dict[str, Any]:
    return {"kind": "ServiceAccount", "name": name} | ({"namespace": namespace} if namespace else {})


def load(*objects: dict[str, Any], targets: str = "{prod: {account: west, namespace: quay}}", only: str = "") -> LoadedFile:
    text = f"application: harbour\ntargets: {targets}\nmanifests: [{{path: all.yaml{only}}}]\n"
    source = "\n---\n".join(map(json.dumps, objects))
    return parse_deploy_text(text, "deploy.yaml", lambda path: [SourceText(path, source)])


def placed(*objects: dict[str, Any], **options: Any) -> dict[str, dict[str, Any]]:
    loaded = load(*objects, **options)
    plan = compile_release(loaded)
    assert isinstance(plan, ReleasePlan), plan
    return {one.key: json.loads(one.content) for one in plan.targets[0].manifests}


def subject_of(*objects: dict[str, Any], key: str = "RoleBinding/reading") -> dict[str, Any]:
    subject: dict[str, Any] = placed(*objects)[key]["subjects"][0]
    return subject


@pytest.mark.parametrize("kind", ["RoleBinding", "ClusterRoleBinding"])
@pytest.mark.parametrize("declared", [None, "staging"])
def test_a_binding_follows_the_account_that_comes_with_it(kind: str, declared: str | None) -> None:
    """Otherwise it would give the rights to an account of another namespace."""
    found = subject_of(
        thing("ServiceAccount", "web", namespace=declared), binding(account("web", "staging"), kind=kind), key=f"{kind}/reading"
    )
    assert found == account("web", "quay")


def test_so_does_one_that_names_an_account_of_a_namespace_that_is_replaced() -> None:
    assert subject_of(binding(account("default", "staging"), namespace="staging")) == account("default", "quay")


def test_and_one_that_names_no_namespace() -> None:
    assert subject_of(binding(account("default"))) == account("default", "quay")


def test_accounts_of_others_stay_where_they_are() -> None:
    theirs = account("prometheus", "monitoring")
    assert subject_of(binding(theirs)) == theirs
    assert subject_of(thing("ServiceAccount", "prometheus", namespace="staging"), binding(theirs)) == theirs


def test_users_and_groups_have_no_namespace() -> None:
    group = {"kind": "Group", "name": "readers", "apiGroup": "rbac.authorization.k8s.io"}
    assert subject_of(binding(group)) == group


def test_webhooks_and_api_services_call_the_service_that_comes_with_them() -> None:
    service = thing("Service", "guard", spec={"selector": {"app": "guard"}})
    called = {"name": "guard", "namespace": "staging", "path": "/check"}
    theirs = {"name": "other", "namespace": "kube-system"}
    hooks = [{"name": f"{to['name']}.example.com", "clientConfig": {"service": to}} for to in (called, theirs)]
    guarding = thing("ValidatingWebhookConfiguration", "guard", "admissionregistration.k8s.io/v1", webhooks=hooks)
    api = thing("APIService", "v1.example.com", "apiregistration.k8s.io/v1", spec={"service": called})
    conversion = {"strategy": "Webhook", "webhook": {"clientConfig": {"service": called}}}
    crd = thing("CustomResourceDefinition", "ships.example.com", "apiextensions.k8s.io/v1", spec={"conversion": conversion})

    found = placed(service, guarding, api, crd)

    assert [one["clientConfig"]["service"] for one in found["ValidatingWebhookConfiguration/guard"]["webhooks"]] == [
        {**called, "namespace": "quay"},
        theirs,
    ]
    assert found["APIService/v1.example.com"]["spec"]["service"]["namespace"] == "quay"
    converted = found["CustomResourceDefinition/ships.example.com"]["spec"]["conversion"]["webhook"]
    assert converted["clientConfig"]["service"]["namespace"] == "quay"


@pytest.mark.parametrize("broken", [{"subjects": None}, {"subjects": "web"}, {"subjects": [None, "web"]}, {"webhooks": {}}])
def test_what_is_not_of_the_right_shape_is_left_to_the_api_server(broken: dict[str, Any]) -> None:
    body = thing("RoleBinding", "reading", RBAC, **broken)
    assert placed(body)["RoleBinding/reading"] == {**body, "metadata": {"name": "reading", "namespace": "quay"}}


def test_a_secrets_texts_are_encoded_so_that_one_that_is_left_out_later_goes() -> None:
    found = placed(thing("Secret", "keys", stringData={"a": "1", "b": "ü"}, data={"a": "b2xk", "c": "Mw=="}))["Secret/keys"]
    assert found["data"] == {"a": "MQ==", "b": "w7w=", "c": "Mw=="}
    assert "stringData" not in found


def test_each_target_gets_its_own_manifests_and_its_own_namespace() -> None:
    targets = "{test: {account: west, namespace: pier}, prod: {account: west, namespace: quay}}"
    text = (
        f"application: harbour\ntargets: {targets}\n"
        "manifests: [{path: both.yaml}, {path: prod.yaml, targets: [prod]}, {path: test.yaml, targets: [test]}]\n"
    )
    settings = {name: json.dumps(thing("ConfigMap", "settings", data={"for": name})) for name in ("test", "prod")}
    both = json.dumps(binding(account("default")))
    sources = {"both.yaml": both, "prod.yaml": settings["prod"], "test.yaml": settings["test"]}
    plan = compile_release(parse_deploy_text(text, "deploy.yaml", lambda path: [SourceText(path, sources[path])]))
    assert isinstance(plan, ReleasePlan)
    told = {
        target.target: [
            (one.key, body["metadata"]["namespace"], body.get("data") or body["subjects"][0]["namespace"])
            for one in target.manifests
            if (body := json.loads(one.content))
        ]
        for target in plan.targets
    }
    assert told == {
        "test": [("RoleBinding/reading", "pier", "pier"), ("ConfigMap/settings", "pier", {"for": "test"})],
        "prod": [("RoleBinding/reading", "quay", "quay"), ("ConfigMap/settings", "quay", {"for": "prod"})],
    }


def test_one_object_of_a_cluster_for_two_targets_is_warned_about_where_it_depends_on_the_namespace() -> None:
    targets = "{test: {account: west, namespace: pier}, prod: {account: west, namespace: quay}}"
    whole = binding(account("web"), kind="ClusterRoleBinding")
    (warning,) = load(thing("ServiceAccount", "web"), whole, targets=targets).problems.warnings
    assert 'the ClusterRoleBinding "reading" is for the targets "test" and "prod" of one account' in warning.message
    elsewhere = targets.replace("{account: west, namespace: quay}", "{account: east, namespace: quay}")
    assert load(thing("ServiceAccount", "web"), whole, targets=elsewhere).problems.warnings == ()
    assert load(binding(account("web")), targets=targets).problems.warnings == ()
