"""What the fields of a Flagger Canary become."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from strategies.importing.origins import Origin
from strategies.importing.remarks import RemarkKind
from tests.strategies.importing_stage import (
    as_text,
    canary,
    conditions_of,
    deployment,
    document_of,
    import_whole,
    kinds_of,
    refused,
    said,
    service,
    steps_of,
)

METRIC = {"name": "request-success-rate", "thresholdRange": {"min": 99}}
RISING = {"interval": "1m", "threshold": 1, "stepWeight": 20, "maxWeight": 50, "metrics": [METRIC]}


def hook(kind: str, name: str = "hook", **more: Any) -> dict[str, Any]:
    return {"name": name, "type": kind, "url": "https://ci.example.com/hook", **more}


@pytest.mark.parametrize(
    ("analysis", "weights"),
    [
        ({"stepWeight": 20, "maxWeight": 50}, [20, 40, 60]),
        ({"stepWeight": 50}, [50, 100]),
        ({"stepWeight": 5, "maxWeight": 5}, [5]),
        ({"stepWeights": [1, 12.5, 80]}, [1, 12.5, 80]),
        ({"stepWeight": 40, "stepWeights": [1, 2]}, [40, 80, 100]),
        ({}, []),
    ],
)
def test_weights_rise_as_flagger_raises_them(analysis: dict[str, Any], weights: list[float]) -> None:
    steps = steps_of(import_whole(Origin.FLAGGER, as_text(canary({"interval": "30s", **analysis}), deployment())))
    assert [step["setWeight"]["weight"] / 100 for step in steps if "setWeight" in step] == weights
    assert [step["pause"] for step in steps if "pause" in step] == [{"duration": 30, "unit": "seconds"}] * len(weights)


def test_every_weight_is_measured_for_one_interval() -> None:
    steps = steps_of(import_whole(Origin.FLAGGER, as_text(canary(RISING), deployment())))
    assert kinds_of(steps) == ["setWeight", "analysis"] * 3
    assert steps[1]["analysis"] == {
        "interval": 1,
        "units": "minutes",
        "numberOfJudgmentRuns": 1,
        "queries": ["request-success-rate"],
    }


@pytest.mark.parametrize(
    ("provider", "selects"),
    [
        ("linkerd", 'namespace="{{armory.namespace}}",pod=~"{{armory.replicaSetName}}-.+",direction="inbound"'),
        ("smi:v1alpha2", 'pod=~"{{armory.replicaSetName}}-.+"'),
        ("osm", "osm_request_total"),
        ("istio", 'istio_requests_total{reporter="destination"'),
        ("kubernetes", 'kubernetes_pod_name=~"{{armory.replicaSetName}}-.+"'),
        ("gatewayapi:v1", "http_request_duration_seconds_count"),
        ("appmesh:v1beta2", "envoy_cluster_upstream_rq{"),
    ],
)
def test_the_built_in_metrics_are_those_of_the_provider(provider: str, selects: str) -> None:
    latency = {"name": "request-duration", "thresholdRange": {"max": 500}, "interval": "30s"}
    analysis = {**RISING, "metrics": [METRIC, latency]}
    definition = document_of(import_whole(Origin.FLAGGER, as_text(canary(analysis, provider), deployment()))).analysis
    assert definition is not None
    rate, duration = definition.queries
    assert selects in rate.query_template
    assert rate.query_template.startswith("100 * sum(rate(")
    assert rate.query_template.count("[1m]") == 2
    assert (rate.lower_limit, rate.upper_limit, duration.lower_limit, duration.upper_limit) == (99, None, None, 500)
    assert "histogram_quantile(0.99, sum(rate(" in duration.query_template
    assert "[30s]" in duration.query_template
    assert duration.query_template.startswith("1000 * ") == ("_seconds_" in duration.query_template)


@pytest.mark.parametrize("provider", ["nginx", "contour", "gloo", "apisix", "skipper", "kuma", None])
def test_what_was_measured_at_a_service_that_is_gone_is_lost(provider: str | None) -> None:
    made = import_whole(Origin.FLAGGER, as_text(canary(RISING, provider), deployment()))
    assert "spec.analysis.metrics[0]" in said(made, RemarkKind.LOST)
    assert document_of(made).traffic_management is None
    assert "# No trafficManagement" in made.deploy_file


@pytest.mark.parametrize("provider", ["linkerd", "smi:v1alpha1", "osm"])
def test_meshes_with_splits_are_divided_by_a_split_on_the_service(provider: str) -> None:
    made = import_whole(Origin.FLAGGER, as_text(canary(RISING, provider), deployment()))
    (block,) = (document_of(made).traffic_management or [])[0].smi or []
    assert block.root_service_name == "web"


def test_an_ingress_a_route_and_a_traefik_service_are_divided_as_before() -> None:
    by_nginx = canary(RISING, "nginx", ingressRef={"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "name": "front"})
    entry = (document_of(import_whole(Origin.FLAGGER, as_text(by_nginx, deployment()))).traffic_management or [])[0]
    assert [(one.ingress_name, one.root_service_name) for one in entry.ingress_nginx or []] == [("front", "web")]

    gateways = [{"name": "edge", "namespace": "infra"}]
    service = {"port": 8080, "gatewayRefs": gateways, "hosts": ["web.example.com"], "timeout": "5s"}
    made = import_whole(Origin.FLAGGER, as_text(canary(RISING, "gatewayapi:v1", service=service), deployment()))
    (route,) = (document_of(made).traffic_management or [])[0].gateway_api or []
    assert (route.http_route is not None and route.http_route.name, route.root_service_name) == ("web", "web")
    objects = {one["kind"]: one for one in yaml.safe_load_all(document_of(made).manifests[0].inline or "")}
    assert objects["HTTPRoute"]["spec"] == {
        "parentRefs": [{"name": "edge", "namespace": "infra"}],
        "hostnames": ["web.example.com"],
        "rules": [{"backendRefs": [{"name": "web", "port": 8080}]}],
    }
    assert "spec.service.timeout" in said(made, RemarkKind.LOST)

    made = import_whole(Origin.FLAGGER, as_text(canary(RISING, "traefik"), deployment()))
    (weighted,) = (document_of(made).traffic_management or [])[0].traefik or []
    assert (weighted.traefik_service_name, weighted.root_service_name) == ("web", "web")
    objects = {one["kind"]: one for one in yaml.safe_load_all(document_of(made).manifests[0].inline or "")}
    assert objects["TraefikService"]["spec"]["weighted"]["services"] == [{"name": "web", "port": 80, "weight": 1}]


def test_a_route_without_its_gateways_has_to_be_written_and_one_that_is_there_is_kept() -> None:
    unknown = import_whole(Origin.FLAGGER, as_text(canary(RISING, "gatewayapi:v1"), deployment()))
    assert "spec.provider" in said(unknown, RemarkKind.FILL_IN)
    own = {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": "web"},
        "spec": {"parentRefs": [{"name": "mine"}], "rules": [{"backendRefs": [{"name": "web", "port": 80}]}]},
    }
    kept = import_whole(Origin.FLAGGER, as_text(canary(RISING, "gatewayapi:v1"), deployment(), own))
    assert kept.deploy_file.count("kind: HTTPRoute") == 1
    assert "mine" in kept.deploy_file


def test_the_service_that_flagger_made_is_made_for_the_manifests() -> None:
    ports = {"port": 80, "targetPort": "http", "portName": "web", "appProtocol": "http", "name": "front"}
    made = import_whole(Origin.FLAGGER, as_text(canary(RISING, service=ports), deployment()))
    objects = list(yaml.safe_load_all(document_of(made).manifests[0].inline or ""))
    assert objects[0]["metadata"] == {"name": "front"}
    assert objects[0]["spec"] == {
        "selector": {"app": "web"},
        "ports": [{"name": "web", "port": 80, "protocol": "TCP", "targetPort": "http", "appProtocol": "http"}],
    }
    own = import_whole(Origin.FLAGGER, as_text(canary(RISING), deployment(), service("web", ports=[{"port": 8080}])))
    assert "8080" in own.deploy_file
    assert own.deploy_file.count("kind: Service\n") == 1
    unknown = import_whole(Origin.FLAGGER, as_text(canary(RISING)))
    assert "spec.service" in said(unknown, RemarkKind.FILL_IN)


def test_iterations_are_checks_before_the_switch() -> None:
    analysis = {"interval": "30s", "threshold": 2, "iterations": 6, "metrics": [METRIC]}
    made = import_whole(Origin.FLAGGER, as_text(canary(analysis, "istio"), deployment()))
    (condition,) = conditions_of(made)["redirectTrafficAfter"]
    assert (condition["analysis"]["numberOfJudgmentRuns"], condition["analysis"]["failureBudget"]) == (6, 1)
    (pair,) = (document_of(made).traffic_management or [])[0].kubernetes or []
    assert (pair.active_service, pair.preview_service) == ("web", "web-canary")
    without = conditions_of(import_whole(Origin.FLAGGER, as_text(canary({"interval": "30s"}, "kubernetes"), deployment())))
    assert without["redirectTrafficAfter"] == [{"pause": {"duration": 5, "unit": "minutes"}}]


def test_requests_that_headers_chose_become_a_share_to_be_filled_in() -> None:
    analysis = {"interval": "1m", "iterations": 3, "match": [{"headers": {"x": {"exact": "y"}}}], "metrics": [METRIC]}
    made = import_whole(Origin.FLAGGER, as_text(canary(analysis), deployment()))
    assert kinds_of(steps_of(made)) == ["setWeight", "analysis"]
    assert "spec.analysis.match" in said(made, RemarkKind.FILL_IN)
    assert "FILL IN: headers" in made.deploy_file


def test_requests_that_istio_chose_stay_chosen() -> None:
    match = [
        {"headers": {"x-canary": {"exact": "insider"}}, "method": {"exact": "GET"}},
        {"headers": {"cookie": {"regex": "^(.*?;)?(canary=always)(;.*)?$"}}},
        {"headers": {"user-agent": {"suffix": "v1.2"}}, "uri": {"prefix": "/shop"}},
    ]
    analysis = {"interval": "1m", "iterations": 3, "match": match, "metrics": [METRIC]}
    made = import_whole(Origin.FLAGGER, as_text(canary(analysis, "istio"), deployment()))
    first, second = steps_of(made)
    assert first["setHeaderRoute"]["match"] == [
        {"header": [{"name": "x-canary", "exact": "insider"}], "method": "GET"},
        {"cookie": [{"name": "canary", "exact": "always"}]},
        {"header": [{"name": "user-agent", "regex": ".*v1\\.2"}], "path": {"prefix": "/shop"}},
    ]
    assert second["analysis"]["numberOfJudgmentRuns"] == 3
    assert "spec.analysis.match" not in said(made, RemarkKind.FILL_IN)


def test_copies_come_before_the_weights_and_clients_stay() -> None:
    affinity = {"cookieName": "version", "maxAge": 3600, "secure": True}
    analysis = {**RISING, "mirror": True, "mirrorWeight": 30, "sessionAffinity": affinity}
    made = import_whole(Origin.FLAGGER, as_text(canary(analysis, "istio"), deployment()))
    assert kinds_of(steps_of(made))[:4] == ["setMirror", "analysis", "setMirror", "setWeight"]
    assert [one["setMirror"] for one in (steps_of(made)[0], steps_of(made)[2])] == [{"weight": 3_000}, {"weight": 0}]
    (block,) = (document_of(made).traffic_management or [])[0].istio or []
    assert block.sticky_session is not None and block.sticky_session.cookie_name == "version"
    assert "spec.analysis.sessionAffinity.secure" in said(made, RemarkKind.LOST)


def test_webhooks_go_where_flagger_called_them() -> None:
    hooks = [
        hook("pre-rollout", "before", timeout="45s", retries=3, metadata={"suite": "smoke"}),
        hook("rollout", "during"),
        hook("confirm-traffic-increase"),
        hook("confirm-promotion"),
        hook("confirm-rollout"),
        hook("post-rollout", "after"),
    ]
    made = import_whole(Origin.FLAGGER, as_text(canary({**RISING, "stepWeight": 50, "webhooks": hooks}), deployment()))
    assert kinds_of(steps_of(made)) == ["runWebhook", "pause", "setWeight", "analysis", "runWebhook", "pause"]
    document = document_of(made)
    constraints = document.targets["shop"].constraints
    assert constraints is not None
    assert [step.pause is not None for step in constraints.before_deployment or []] == [True]
    assert [step.run_webhook.name for step in constraints.after_deployment or [] if step.run_webhook] == ["after"]
    before = (document.webhooks or [])[0]
    assert (before.name, before.retry_count, before.disable_callback) == ("before", 3, True)
    assert before.timeout is not None
    assert before.timeout.duration == 45
    assert before.body_template is not None
    assert yaml.safe_load(before.body_template.inline)["metadata"] == {"suite": "smoke"}


@pytest.mark.parametrize(
    "lost",
    [
        hook("rollback"),
        hook("event"),
        hook("rollout", metadata={"cmd": "hey -z 1m http://web/"}),
        hook("rollout", metadata={"type": "cmd", "cmd": "ghz --insecure web:80"}),
        hook("pre-rollout", metadata={"type": "bash", "cmd": "wrk -t2 http://web/"}),
        hook("rollout", metadata={"type": "ngrinder"}),
        hook("novelty"),
    ],
)
def test_load_and_polls_are_lost(lost: dict[str, Any]) -> None:
    made = import_whole(Origin.FLAGGER, as_text(canary({**RISING, "webhooks": [lost]}), deployment()))
    assert "spec.analysis.webhooks[0]" in said(made, RemarkKind.LOST)
    assert document_of(made).webhooks is None


def test_webhooks_of_one_name_are_told_apart() -> None:
    hooks = [hook("pre-rollout", "same"), hook("rollout", "same", url="https://other.example.com/")]
    made = import_whole(Origin.FLAGGER, as_text(canary({**RISING, "webhooks": hooks}), deployment()))
    assert [webhook.name for webhook in document_of(made).webhooks or []] == ["same", "same-2"]


def test_without_an_analysis_the_new_version_takes_over_at_once() -> None:
    made = import_whole(Origin.FLAGGER, as_text(canary(RISING, skipAnalysis=True), deployment()))
    assert steps_of(made) == []
    assert "spec.skipAnalysis" in said(made, RemarkKind.NOTE)


def test_the_deadline_is_flaggers_and_at_least_a_minute() -> None:
    for given, seconds in ((None, 600), (30, 60), (90, 90)):
        more: dict[str, Any] = {} if given is None else {"progressDeadlineSeconds": given}
        config = document_of(import_whole(Origin.FLAGGER, as_text(canary(RISING, **more), deployment()))).deployment_config
        assert config is not None
        assert config.timeout is not None
        assert config.timeout.duration * (60 if config.timeout.unit == "minutes" else 1) == seconds


def test_an_autoscaler_needs_nothing_and_that_is_said() -> None:
    more: dict[str, Any] = {"autoscalerRef": {"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "name": "web"}}
    made = import_whole(Origin.FLAGGER, as_text(canary(RISING, **more), deployment()))
    assert "spec.autoscalerRef" in said(made, RemarkKind.NOTE)
    assert not any("autoscalerRef" in field for field in said(made, RemarkKind.LOST))


def test_what_nobody_foresaw_is_listed() -> None:
    metric = {**METRIC, "novelty": 1}
    subject = canary({**RISING, "metrics": [metric], "another": {"a": 1}}, third=[1], service={"port": 80, "fourth": "x"})
    found = said(import_whole(Origin.FLAGGER, as_text(subject, deployment())), RemarkKind.LOST)
    assert {"spec.analysis.metrics[0].novelty", "spec.analysis.another", "spec.third", "spec.service.fourth"} <= set(found)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (as_text(canary(None)), 'spec has no "analysis"'),
        (
            as_text(canary(RISING, targetRef={"kind": "DaemonSet", "name": "web"})),
            'is "DaemonSet"; Headgate rolls out Deployments',
        ),
        (as_text(canary(RISING, targetRef={"kind": "Deployment"})), 'has no "targetRef" with the name'),
        (as_text(canary({**RISING, "interval": "often"})), 'spec.analysis.interval is "often"; expected a duration'),
        (as_text(canary({**RISING, "threshold": "x"})), 'spec.analysis.threshold is "x"; expected a whole number'),
        (as_text(canary({"stepWeights": [10, 200]})), "holds 200; expected weights from 0 to 100"),
        (as_text(canary({**RISING, "webhooks": [{"name": "x"}]})), 'has no "url" that begins with'),
        (
            as_text(canary({**RISING, "metrics": [{"name": "request-duration", "thresholdRange": {"min": 5, "max": 1}}]})),
            "is from 5 to 1, so nothing can pass",
        ),
    ],
)
def test_bad_input_is_refused_at_its_place(text: str, sentence: str) -> None:
    assert any(sentence in problem.message for problem in refused(Origin.FLAGGER, text))
