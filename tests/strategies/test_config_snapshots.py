"""`snapshotConfig`: the new version's configuration under names of its own, and the new template referring to these. Pure."""

from __future__ import annotations

import json
from typing import Any

from engine.model import ManifestPlan, TargetPlan, WorkloadPlan
from strategies.config_references import references_of
from strategies.config_snapshots import snapshot_config
from strategies.deployfile import SourceText, compile_release, parse_deploy_text

EVERYWHERE: dict[str, Any] = {
    "initContainers": [{"name": "first", "envFrom": [{"secretRef": {"name": "keys"}}]}],
    "containers": [
        {
            "name": "app",
            "image": "settings",
            "env": [
                {"name": "A", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "a"}}},
                {"name": "B", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "b", "optional": True}}},
                {"name": "C", "value": "plain"},
            ],
            "envFrom": [{"configMapRef": {"name": "settings"}, "prefix": "X_"}],
            "volumeMounts": [{"name": "settings", "mountPath": "/etc/app"}],
        }
    ],
    "volumes": [
        {"name": "settings", "configMap": {"name": "settings"}},
        {"name": "keys", "secret": {"secretName": "keys"}},
        {"name": "both", "projected": {"sources": [{"configMap": {"name": "settings"}}, {"secret": {"name": "keys"}}]}},
        {"name": "theirs", "configMap": {"name": "shared"}},
        {"name": "empty", "emptyDir": {}},
    ],
}


def config(name: str, kind: str = "ConfigMap", **content: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": name, "namespace": "quay"}, **content}


def workload(name: str = "web", spec: dict[str, Any] | None = None) -> dict[str, Any]:
    pod = spec if spec is not None else {"containers": [{"name": "app", "envFrom": [{"configMapRef": {"name": "settings"}}]}]}
    template = {"metadata": {"labels": {"app": name}}, "spec": pod}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": {"template": template}}


def snapshot(workloads: list[dict[str, Any]], *manifests: dict[str, Any]) -> tuple[list[dict[str, Any]], dict[str, ManifestPlan]]:
    plans = [WorkloadPlan(one["metadata"]["name"], json.dumps(one)) for one in workloads]
    supporting = [ManifestPlan(f"{one['kind']}/{one['metadata']['name']}", json.dumps(one)) for one in manifests]
    changed, made = snapshot_config(plans, supporting)
    return [json.loads(one.manifest) for one in changed], {one.key: one for one in made}


def references(body: dict[str, Any]) -> list[tuple[str, str]]:
    return [(one.kind, one.name) for one in references_of(body["spec"]["template"])]


def the_copy(made: dict[str, ManifestPlan], original: str) -> dict[str, Any]:
    (found,) = (one for one in made.values() if one.copy_of == original)
    body: dict[str, Any] = json.loads(found.content)
    assert found.key == f"{body['kind']}/{body['metadata']['name']}"
    return body


def test_every_way_to_refer_to_configuration_is_found_and_follows() -> None:
    settings, keys = config("settings", data={"a": "1"}), config("keys", "Secret", data={"b": "MQ=="}, type="Opaque")

    (web,), made = snapshot([workload(spec=EVERYWHERE)], settings, keys)

    new_settings, new_keys = (the_copy(made, key)["metadata"]["name"] for key in ("ConfigMap/settings", "Secret/keys"))
    assert references(web) == [
        ("ConfigMap", new_settings),
        ("Secret", new_keys),
        ("ConfigMap", new_settings),
        ("Secret", new_keys),
        ("ConfigMap", new_settings),
        ("Secret", new_keys),
        ("ConfigMap", new_settings),
        ("Secret", new_keys),
        ("ConfigMap", "shared"),
    ]
    assert list(made) == [f"ConfigMap/{new_settings}", f"Secret/{new_keys}"]
    assert web["spec"]["template"]["spec"]["containers"][0]["image"] == "settings"


def test_a_copy_is_the_object_but_for_its_name_and_never_changes() -> None:
    original = config("settings", data={"a": "1"}, binaryData={"b": "AA=="})
    original["metadata"]["labels"] = {"team": "harbour"}

    _, made = snapshot([workload(), workload("api")], original)

    copied = the_copy(made, "ConfigMap/settings")
    assert copied["metadata"]["name"].startswith("settings-")
    assert copied["metadata"]["labels"] == {"team": "harbour", "headgate.dev/config-copy": "true"}
    assert copied["metadata"]["annotations"] == {"headgate.dev/copy-of": "settings", "headgate.dev/copy-for": "api,web"}
    assert (copied["data"], copied["binaryData"], copied["immutable"]) == ({"a": "1"}, {"b": "AA=="}, True)


def test_the_name_is_made_of_the_content_and_of_nothing_else() -> None:
    def named(**content: Any) -> str:
        _, made = snapshot([workload()], config("settings", **content))
        return str(the_copy(made, "ConfigMap/settings")["metadata"]["name"])

    same = {named(data={"a": "1", "b": "2"}), named(data={"b": "2", "a": "1"}), named(data={"a": "1", "b": "2"}, binaryData={})}
    others = {named(data={"a": "1"}), named(data={"a": "2"}), named(binaryData={"a": "1"})}
    assert len(same) == 1
    assert len(same | others) == 4


def test_a_name_as_long_as_may_be_is_cut() -> None:
    name = "s" * 253
    pod = {"containers": [], "volumes": [{"name": "v", "configMap": {"name": name}}]}
    _, made = snapshot([workload(spec=pod)], config(name))
    assert len(the_copy(made, f"ConfigMap/{name}")["metadata"]["name"]) == 253


def test_what_no_deployment_refers_to_is_left_alone() -> None:
    (web,), made = snapshot([workload()], config("other"), config("settings", "Secret"))
    assert sorted(made) == ["ConfigMap/other", "Secret/settings"]
    assert references(web) == [("ConfigMap", "settings")]


def test_the_original_is_kept_where_something_else_may_refer_to_it() -> None:
    ingress = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": {"name": "web"},
        "spec": {"tls": [{"secretName": "keys"}]},
    }
    pod = {"containers": [], "volumes": [{"name": "keys", "secret": {"secretName": "keys"}}]}
    _, made = snapshot([workload(spec=pod)], config("keys", "Secret"), ingress)
    assert [one.copy_of for one in made.values()] == ["", "Secret/keys", ""]

    pulling = {**pod, "imagePullSecrets": [{"name": "keys"}]}
    _, made = snapshot([workload(spec=pulling)], config("keys", "Secret"))
    assert [one.copy_of for one in made.values()] == ["", "Secret/keys"]


def test_things_that_only_have_the_same_name_are_no_reason_to_keep_it() -> None:
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "settings"},
        "spec": {"selector": {"app": "settings"}, "ports": [{"name": "settings", "port": 80}]},
    }
    pod = {
        "containers": [{"name": "settings", "envFrom": [{"configMapRef": {"name": "settings"}}]}],
        "volumes": [{"name": "settings", "emptyDir": {}}],
    }
    _, made = snapshot([workload("settings", pod)], config("settings"), service)
    assert "ConfigMap/settings" not in made


def test_a_template_of_any_shape_refers_to_what_can_be_understood() -> None:
    pod: dict[str, Any] = {
        "containers": [None, "text", {"env": {"not": "a list"}, "envFrom": [{"configMapRef": "settings"}, {"secretRef": None}]}],
        "volumes": [{"configMap": None}, {"projected": {"sources": "none"}}, {"secret": {"secretName": 7}}],
    }
    assert references(workload(spec=pod)) == []
    assert list(references_of({})) == []


# --- from the deploy file ---------------------------------------------------------------------------------------------


def target_of(manifests: list[dict[str, Any]], config: str = "{snapshotConfig: true}") -> TargetPlan:
    text = (
        "application: harbour\n"
        "targets:\n  prod: {account: west, namespace: quay, strategy: gentle}\n"
        f"manifests: [{{path: all.yaml}}]\ndeploymentConfig: {config}\n"
        "strategies:\n  gentle: {canary: {steps: []}}\n"
    )
    source = "\n---\n".join(map(json.dumps, manifests))
    plan = compile_release(parse_deploy_text(text, "deploy.yaml", lambda path: [SourceText(path, source)]))
    return plan.targets[0]  # type: ignore[union-attr]


def deployed(data: str) -> list[dict[str, Any]]:
    body = workload()
    body["spec"]["selector"] = {"matchLabels": {"app": "web"}}
    return [config("settings", data={"a": data}), body]


def test_a_deploy_file_asks_for_it() -> None:
    first, second = target_of(deployed("1")), target_of(deployed("2"))
    assert first.manifests[0].copy_of == "ConfigMap/settings"
    assert first.workloads != second.workloads, "a change of the configuration alone is a new version"
    assert target_of(deployed("1")) == first


def test_without_it_everything_is_as_it_stands() -> None:
    for given in ("{}", "{snapshotConfig: false}"):
        target = target_of(deployed("1"), given)
        assert [(one.key, one.copy_of) for one in target.manifests] == [("ConfigMap/settings", "")]


def test_a_secrets_texts_count_as_its_content() -> None:
    def made(**content: Any) -> str:
        pod = {"containers": [], "volumes": [{"name": "k", "secret": {"secretName": "keys"}}]}
        body = workload(spec=pod)
        body["spec"]["selector"] = {"matchLabels": {"app": "web"}}
        return target_of([config("keys", "Secret", **content), body]).manifests[0].key

    assert made(stringData={"b": "1"}) == made(data={"b": "MQ=="})
    assert made(stringData={"b": "1"}) != made(stringData={"b": "2"})
