"""What the fields of an Argo Rollout become."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from strategies.importing.importing import Imported, ImportOptions, import_text
from strategies.importing.origins import Origin
from strategies.importing.remarks import RemarkKind
from tests.strategies.importing_stage import (
    as_text,
    conditions_of,
    deployment,
    document_of,
    import_whole,
    kinds_of,
    prometheus,
    refused,
    rollout,
    said,
    service,
    steps_of,
    template,
)

ANALYSIS: dict[str, Any] = {"analysis": {"templates": [{"templateName": "checks"}]}}


def of_steps(*steps: dict[str, Any], **canary: Any) -> dict[str, Any]:
    return rollout({"canary": {"steps": list(steps), **canary}})


def test_weights_and_pauses_keep_their_order() -> None:
    steps: list[dict[str, Any]] = [
        {"setWeight": 5},
        {"pause": {"duration": "1h30m"}},
        {"pause": {}},
        {"setWeight": 40},
        {"pause": {"duration": 20}},
    ]
    made = import_whole(Origin.ARGO, as_text(of_steps(*steps)))
    assert steps_of(made) == [
        {"setWeight": {"weight": 500}},
        {"pause": {"duration": 90, "unit": "minutes"}},
        {"pause": {"untilApproved": True}},
        {"setWeight": {"weight": 4000}},
        {"pause": {"duration": 20, "unit": "seconds"}},
    ]


def test_a_lost_step_leaves_a_comment_where_it_stood_and_a_remark_at_its_place() -> None:
    lost = {"setHeaderRoute": {"name": "beta", "match": []}}
    text = as_text(of_steps({"setWeight": 5}, lost, {"pause": {}}))
    made = import_whole(Origin.ARGO, text)
    assert len(steps_of(made)) == 2
    (remark,) = [one for one in made.remarks if "setHeaderRoute" in one.field]
    assert (remark.kind, remark.field) == (RemarkKind.LOST, "spec.strategy.canary.steps[1].setHeaderRoute")
    assert text.splitlines()[remark.line - 1][remark.column - 1 :].startswith('"setHeaderRoute"')
    before, _, after = made.deploy_file.partition("# not carried over: spec.strategy.canary.steps[1]")
    assert "setWeight" in before
    assert "pause" in after


ISTIO = {"istio": {"virtualService": {"name": "web"}, "destinationRule": {"name": "web"}}}


def header(name: str, **value: str) -> dict[str, Any]:
    return {"headerName": name, "headerValue": value}


def test_requests_that_istio_singled_out_stay_singled_out() -> None:
    everything = [{"path": {"prefix": "/"}}]
    steps: tuple[dict[str, Any], ...] = (
        {"setHeaderRoute": {"name": "testers", "match": [header("x-tester", exact="yes"), header("agent", regex="curl.*")]}},
        {"setMirrorRoute": {"name": "copies", "percentage": 35, "match": everything}},
        {"pause": {}},
        {"setMirrorRoute": {"name": "copies"}},
        {"setHeaderRoute": {"name": "testers"}},
        {"setWeight": 50},
    )
    made = import_whole(Origin.ARGO, as_text(of_steps(*steps, trafficRouting=ISTIO | {"managedRoutes": [{"name": "testers"}]})))
    matches = [{"header": [{"name": "x-tester", "exact": "yes"}]}, {"header": [{"name": "agent", "regex": "curl.*"}]}]
    assert steps_of(made) == [
        {"setHeaderRoute": {"name": "testers", "match": matches}},
        {"setMirror": {"weight": 3500}},
        {"pause": {"untilApproved": True}},
        {"setMirror": {"weight": 0}},
        {"setHeaderRoute": {"name": "testers"}},
        {"setWeight": {"weight": 5000}},
    ]


@pytest.mark.parametrize(
    "step",
    [
        {"setHeaderRoute": {"name": "a", "match": [header("x", regex="(?=a)")]}},
        {"setHeaderRoute": {"name": "a", "match": [header("a b", exact="1")]}},
        {"setMirrorRoute": {"name": "a", "match": [{"method": {"exact": "GET"}, "path": {"prefix": "/"}}]}},
        {"setMirrorRoute": {"name": "a", "match": [{"path": {"prefix": "/only"}}]}},
    ],
)
def test_requests_that_cannot_be_singled_out_just_so_are_lost(step: dict[str, Any]) -> None:
    made = import_whole(Origin.ARGO, as_text(of_steps(step, {"pause": {}}, trafficRouting=ISTIO)))
    assert kinds_of(steps_of(made)) == ["pause"]
    (kind,) = step
    assert f"spec.strategy.canary.steps[0].{kind}" in said(made, RemarkKind.LOST)


def test_what_is_singled_out_while_nothing_waits_is_left_out_and_that_is_said() -> None:
    route = {"setHeaderRoute": {"name": "a", "match": [header("x", exact="1")]}}
    made = import_whole(Origin.ARGO, as_text(of_steps({"setWeight": 5}, route, {"setWeight": 100}, trafficRouting=ISTIO)))
    assert kinds_of(steps_of(made)) == ["setWeight", "setWeight"]
    assert "spec.strategy.canary.steps[1]" in said(made, RemarkKind.CHANGED)


def plugin(**config: Any) -> dict[str, Any]:
    routing = {"plugins": {"argoproj-labs/gatewayAPI": config}}
    return {"trafficRouting": routing, "stableService": "web", "canaryService": "web-new"}


def test_the_routes_of_the_plugin_for_the_gateway_api_are_divided_and_single_requests_out() -> None:
    steps: tuple[dict[str, Any], ...] = (
        {"setHeaderRoute": {"name": "testers", "match": [header("x-tester", prefix="a.b"), header("agent", exact="curl")]}},
        {"pause": {}},
        {"setWeight": 50},
    )
    routing = plugin(httpRoutes=[{"name": "web", "useHeaderRoutes": True}], grpcRoute="calls")
    made = import_whole(Origin.ARGO, as_text(of_steps(*steps, **routing)))
    blocks = (document_of(made).traffic_management or [])[0].gateway_api or []
    assert [(one.http_route or one.grpc_route).name for one in blocks] == ["web", "calls"]  # type: ignore[union-attr]
    assert [(one.root_service_name, one.canary_service_name) for one in blocks] == [("web", "web-new")] * 2
    assert steps_of(made)[0] == {
        "setHeaderRoute": {
            "name": "testers",
            "match": [{"header": [{"name": "x-tester", "regex": "a\\.b.*"}]}, {"header": [{"name": "agent", "exact": "curl"}]}],
        }
    }
    assert "spec.strategy.canary.trafficRouting.plugins.argoproj-labs/gatewayAPI" in said(made, RemarkKind.FILL_IN)


def test_the_new_versions_service_is_taken_out_of_a_route_that_is_in_the_input() -> None:
    backends = [{"name": "web", "port": 80, "weight": 100}, {"name": "web-new", "port": 80, "weight": 0}]
    route = {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": "web"},
        "spec": {"parentRefs": [{"name": "edge"}], "rules": [{"backendRefs": backends}]},
    }
    made = import_whole(Origin.ARGO, as_text(of_steps({"setWeight": 5}, **plugin(httpRoute="web")), route))
    objects = list(yaml.safe_load_all(document_of(made).manifests[0].inline or ""))
    (kept,) = (one for one in objects if one["kind"] == "HTTPRoute")
    assert kept["spec"]["rules"] == [{"backendRefs": [{"name": "web", "port": 80}]}]
    assert "spec.strategy.canary.trafficRouting.plugins.argoproj-labs/gatewayAPI" in said(made, RemarkKind.CHANGED)


def test_an_ingress_and_a_traefik_service_are_divided_as_before() -> None:
    services = {"stableService": "web", "canaryService": "web-new"}
    nginx = {"nginx": {"stableIngresses": ["one", "two"], "annotationPrefix": "custom.io"}}
    made = import_whole(Origin.ARGO, as_text(of_steps({"setWeight": 5}, trafficRouting=nginx, **services)))
    blocks = (document_of(made).traffic_management or [])[0].ingress_nginx or []
    assert [(one.ingress_name, one.root_service_name) for one in blocks] == [("one", "web"), ("two", "web")]
    assert "spec.strategy.canary.trafficRouting.nginx.annotationPrefix" in said(made, RemarkKind.LOST)
    traefik = {"traefik": {"weightedTraefikServiceName": "front"}}
    made = import_whole(Origin.ARGO, as_text(of_steps({"setWeight": 5}, trafficRouting=traefik, **services)))
    (block,) = (document_of(made).traffic_management or [])[0].traefik or []
    assert (block.traefik_service_name, block.root_service_name, block.canary_service_name) == ("front", "web", "web-new")


@pytest.mark.parametrize(
    "routing",
    [
        plugin(tcpRoute="web"),
        plugin(httpRoute="web", namespace="elsewhere"),
        plugin(httpRoute="web") | {"stableService": None},
        {"trafficRouting": {"nginx": {}}, "stableService": "web"},
        {"trafficRouting": {"traefik": {}}, "stableService": "web"},
        {"trafficRouting": {"plugins": {"somebody/else": {"a": 1}}}, "stableService": "web"},
    ],
)
def test_what_cannot_be_divided_as_before_is_lost_and_divided_by_pods(routing: dict[str, Any]) -> None:
    one = of_steps({"setWeight": 5}, **{key: value for key, value in routing.items() if value is not None})
    one["metadata"]["namespace"] = "default"
    made = import_whole(Origin.ARGO, as_text(one))
    assert document_of(made).traffic_management is None
    assert any("trafficRouting" in field for field in said(made, RemarkKind.LOST))


@pytest.mark.parametrize(
    ("condition", "limits"),
    [
        ({"successCondition": "result[0] >= 0.95"}, {"lowerLimit": 0.95}),
        ({"successCondition": "result < 0.01"}, {"upperLimit": 0.01}),
        ({"successCondition": "asFloat(result[0]) <= 250"}, {"upperLimit": 250}),
        ({"successCondition": "0.5 < asFloat(result) && result <= 2"}, {"lowerLimit": 0.5, "upperLimit": 2}),
        ({"successCondition": "default(result, 0) < 5"}, {"upperLimit": 5, "noDataPolicy": "pass"}),
        ({"successCondition": "len(result) == 0 || result[0] < 5"}, {"upperLimit": 5, "noDataPolicy": "pass"}),
        ({"successCondition": "!isNaN(result[0]) && result[0] == 0"}, {"lowerLimit": 0, "upperLimit": 0}),
        ({"successCondition": "isNaN(result) or (result > -1)"}, {"lowerLimit": -1, "noDataPolicy": "pass"}),
        ({"failureCondition": "result[0] > 0.05"}, {"upperLimit": 0.05}),
        ({"failureCondition": "result < 1 || result > 5"}, {"lowerLimit": 1, "upperLimit": 5}),
        ({"successCondition": "result > 9", "failureCondition": "result < 3"}, {"lowerLimit": 9}),
    ],
)
def test_conditions_become_limits(condition: dict[str, str], limits: dict[str, Any]) -> None:
    made = import_whole(Origin.ARGO, as_text(of_steps(ANALYSIS), template(prometheus(**condition))))
    analysis = document_of(made).analysis
    assert analysis is not None
    found = analysis.queries[0].model_dump(mode="json", exclude_unset=True, by_alias=True)
    assert found == {"name": "errors", "queryTemplate": "errors", "metricProviderName": "prometheus", **limits}


@pytest.mark.parametrize(
    ("condition", "query"), [("all(result, # < 3)", "max(errors)"), ("all(result, {# >= 3})", "min(errors)")]
)
def test_a_condition_on_every_number_becomes_one_on_the_worst(condition: str, query: str) -> None:
    made = import_whole(Origin.ARGO, as_text(of_steps(ANALYSIS), template(prometheus(successCondition=condition))))
    assert f"queryTemplate: {query}\n" in made.deploy_file or f'queryTemplate: "{query}"\n' in made.deploy_file


@pytest.mark.parametrize(
    "condition",
    [
        "result.ok == true",
        "result[1] < 5",
        "result < 1 || result > 5",
        "result != 3",
        "any(result, # < 5)",
        "len(result) > 0",
        "result <",
        "result < 5 ; drop",
        "true",
        "result < result",
        "",
    ],
)
def test_a_condition_that_is_not_understood_is_lost_and_a_person_is_asked(condition: str) -> None:
    made = import_whole(Origin.ARGO, as_text(of_steps(ANALYSIS), template(prometheus(successCondition=condition))))
    assert steps_of(made) == [{"pause": {"untilApproved": True}}]
    assert any("metrics[0]" in field for field in said(made, RemarkKind.LOST))


def test_metrics_of_one_rhythm_are_one_step_and_others_follow() -> None:
    often = prometheus(name="often", interval="30s", count=4, successCondition="result < 1")
    also = prometheus(name="also", interval="30s", count=4, successCondition="result < 2")
    patient = prometheus(
        name="patient", interval="5m", count="2", initialDelay="1m", failureLimit=1, successCondition="result < 3"
    )
    made = import_whole(Origin.ARGO, as_text(of_steps(ANALYSIS), template(often, also, patient)))
    first, wait, second = steps_of(made)
    assert first["analysis"] == {
        "interval": 30,
        "units": "seconds",
        "numberOfJudgmentRuns": 4,
        "queries": ["often", "also"],
        "abortOnFailedJudgment": True,
    }
    assert wait == {"pause": {"duration": 1, "unit": "minutes"}}
    assert second["analysis"] == {
        "interval": 5,
        "units": "minutes",
        "numberOfJudgmentRuns": 2,
        "queries": ["patient"],
        "failureBudget": 1,
    }
    assert not any(field.endswith("failureLimit") for field in said(made, RemarkKind.CHANGED))


def test_arguments_become_context_and_variables() -> None:
    query = 'x{a="{{args.host}}",b="{{ args.ns }}",c="{{args.new}}",d="{{args.missing}}",e="{{args.tier}}"} < {{args.floor}}'
    step = {
        "analysis": {
            "templates": [{"templateName": "checks"}],
            "args": [
                {"name": "host", "value": "web-canary"},
                {"name": "ns", "valueFrom": {"fieldRef": {"fieldPath": "metadata.namespace"}}},
                {"name": "new", "valueFrom": {"podTemplateHashValue": "Latest"}},
                {"name": "tier", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['tier']"}}},
            ],
        }
    }
    subject = of_steps(step)
    subject["metadata"]["labels"] = {"tier": "front"}
    found = template(
        prometheus(query, successCondition="result < {{args.most}}", interval="{{args.every}}", count=2),
        args=[
            {"name": "host", "value": "unused"},
            {"name": "ns"},
            {"name": "new"},
            {"name": "missing"},
            {"name": "tier"},
            {"name": "floor", "value": "1"},
            {"name": "most", "value": "7"},
            {"name": "every", "value": "10s"},
        ],
    )
    made = import_whole(Origin.ARGO, as_text(subject, found))
    (step_made,) = steps_of(made)
    assert step_made["analysis"]["context"] == {"host": "web-canary", "tier": "front", "floor": "1"}
    assert (step_made["analysis"]["interval"], step_made["analysis"]["units"]) == (10, "seconds")
    analysis = document_of(made).analysis
    assert analysis is not None
    assert analysis.queries[0].upper_limit == 7
    assert analysis.queries[0].query_template == (
        'x{a="{{context.host}}",b="{{armory.namespace}}",c="{{armory.replicaSetName}}",d="{{context.missing}}",'
        'e="{{context.tier}}"} < {{context.floor}}'
    )
    assert any(one.kind is RemarkKind.FILL_IN and '"missing"' in one.meaning for one in made.remarks)


def test_a_background_analysis_stays_one() -> None:
    often = prometheus(name="often", interval="1m", failureLimit=2, successCondition="result < 1")
    seldom = prometheus(name="seldom", interval="5m", successCondition="result < 1")
    never = prometheus(name="never", interval="1m", failureLimit=-1, successCondition="result < 1")
    canary = of_steps({"setWeight": 5}, analysis={"templates": [{"templateName": "checks"}], "startingStep": 1})
    made = import_whole(Origin.ARGO, as_text(canary, template(often, seldom, never)))
    (strategy,) = (document_of(made).strategies or {}).values()
    assert strategy.canary is not None
    found = [(one.interval, one.queries, one.failure_budget) for one in strategy.canary.background_analysis or []]
    assert found == [(1, ["often"], 2), (5, ["seldom"], 0)]
    assert "spec.strategy.canary.analysis.startingStep" in said(made, RemarkKind.CHANGED)
    assert any(field.endswith("metrics[2]") for field in said(made, RemarkKind.LOST))


def test_blue_green_waits_and_measures_where_argo_did() -> None:
    strategy = {
        "activeService": "web",
        "previewService": "web-next",
        "autoPromotionSeconds": 120,
        "scaleDownDelaySeconds": 0,
        "postPromotionAnalysis": {"templates": [{"templateName": "checks"}]},
    }
    metric = prometheus(interval="1m", count=3, successCondition="result < 1")
    made = import_whole(Origin.ARGO, as_text(rollout({"blueGreen": strategy}), template(metric), service("web")))
    found = conditions_of(made)
    assert found["redirectTrafficAfter"] == [{"pause": {"duration": 2, "unit": "minutes"}}]
    assert [next(iter(step)) for step in found["shutDownOldVersionAfter"]] == ["analysis"]
    plain = conditions_of(import_whole(Origin.ARGO, as_text(rollout({"blueGreen": {"activeService": "web"}}))))
    assert plain == {"shutDownOldVersionAfter": [{"pause": {"duration": 30, "unit": "seconds"}}]}
    asked = rollout({"blueGreen": {"activeService": "web", "autoPromotionEnabled": False}})
    assert conditions_of(import_whole(Origin.ARGO, as_text(asked)))["redirectTrafficAfter"] == [
        {"pause": {"untilApproved": True}}
    ]


def test_a_preview_that_cannot_be_one_is_lost_and_an_active_service_that_cannot_be_redirected_is_refused() -> None:
    subject = rollout({"blueGreen": {"activeService": "web", "previewService": "other"}})
    other = service("other", selector={"app": "other"})
    made = import_whole(Origin.ARGO, as_text(subject, service("web"), other))
    (pair,) = (document_of(made).traffic_management or [])[0].kubernetes or []
    assert (pair.active_service, pair.preview_service) == ("web", None)
    assert "spec.strategy.blueGreen.previewService" in said(made, RemarkKind.LOST)
    (problem,) = refused(Origin.ARGO, as_text(subject, service("web", clusterIP="None")))
    assert "spec.strategy.blueGreen.activeService cannot be redirected" in problem.message


def test_an_smi_canary_keeps_its_services_and_never_makes_one_that_is_shipped() -> None:
    routing = {"smi": {"rootService": "web"}}
    canary = of_steps({"setWeight": 5}, stableService="web-stable", canaryService="web-canary", trafficRouting=routing)
    made = import_whole(Origin.ARGO, as_text(canary, service("web"), service("web-stable"), service("web-canary")))
    (block,) = (document_of(made).traffic_management or [])[0].smi or []
    assert (block.root_service_name, block.canary_service_name) == ("web", "web-canary")
    assert block.stable_service_name not in (None, "web-stable", "web", "web-canary")


@pytest.mark.parametrize(
    "spec", [{"clusterIP": "None"}, {"type": "ExternalName"}, {"selector": {"app": "other"}}, {"selector": None}]
)
def test_a_root_service_that_cannot_be_divided_is_lost_with_its_reason(spec: dict[str, Any]) -> None:
    canary = of_steps({"setWeight": 5}, stableService="web", trafficRouting={"smi": {}})
    made = import_whole(Origin.ARGO, as_text(canary, service("web", **spec)))
    assert document_of(made).traffic_management is None
    assert said(made, RemarkKind.LOST) == ["spec.strategy.canary.trafficRouting.smi"]


def test_a_canary_service_without_the_ports_of_the_root_is_left_to_headgate() -> None:
    canary = of_steps({"setWeight": 5}, stableService="web", canaryService="web-canary", trafficRouting={"smi": {}})
    other = service("web-canary", ports=[{"port": 8080}])
    made = import_whole(Origin.ARGO, as_text(canary, service("web"), other))
    (block,) = (document_of(made).traffic_management or [])[0].smi or []
    assert block.canary_service_name is None
    assert "name: web-canary" not in made.deploy_file


def test_a_reference_to_a_deployment_gives_it_the_size_and_moves_its_autoscaler() -> None:
    subject = rollout({"canary": {}}, replicas=4, workloadRef={"apiVersion": "apps/v1", "kind": "Deployment", "name": "app"})
    del subject["spec"]["template"], subject["spec"]["selector"]
    scaler = {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "web"},
        "spec": {"scaleTargetRef": {"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "name": "web"}},
    }
    made = import_whole(Origin.ARGO, as_text(subject, deployment("app", replicas=0), scaler))
    (source,) = document_of(made).manifests
    found = {one["kind"]: one for one in yaml.safe_load_all(source.inline or "")}
    assert found["Deployment"]["spec"]["replicas"] == 4
    assert found["HorizontalPodAutoscaler"]["spec"]["scaleTargetRef"] == {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "name": "app",
    }


def test_what_nobody_foresaw_is_listed_and_nothing_is_lost_in_silence() -> None:
    subject = of_steps({"setWeight": 5}, novelty={"deep": {"er": 1}})
    subject["spec"]["another"] = [1]
    made = import_whole(Origin.ARGO, as_text(subject))
    assert {"spec.another", "spec.strategy.canary.novelty"} <= set(said(made, RemarkKind.LOST))


def test_options_take_the_place_of_what_the_input_does_not_hold() -> None:
    text = as_text(of_steps({"setWeight": 5}), service("web"))
    made = import_whole(Origin.ARGO, text, account="prod", namespace="other", application="stall")
    document = document_of(made)
    assert (document.application, document.targets["other"].account) == ("stall", "prod")
    assert said(made, RemarkKind.FILL_IN) == []


def test_one_of_several_is_chosen_by_name() -> None:
    other = of_steps({"setWeight": 7})
    other["metadata"]["name"] = "other"
    text = as_text(of_steps({"setWeight": 5}), other)
    made = import_text(Origin.ARGO, text, "input.yaml", ImportOptions(name="other"))
    assert isinstance(made, Imported)
    assert steps_of(made) == [{"setWeight": {"weight": 700}}]
    problems = refused(Origin.ARGO, text)
    assert len(problems) == 2
    assert all("--name" in problem.message for problem in problems)
    (missing,) = refused(Origin.ARGO, text, name="othre")
    assert 'did you mean "other"?' in missing.message


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("a: [", "is not closed"),
        ("", "there is no Rollout of argoproj.io in this; it holds no objects"),
        ("kind: 3", "this is not a Kubernetes object"),
        (as_text(service("web")), 'there is no Rollout of argoproj.io in this; it holds "Service"'),
        (as_text(rollout({})), 'has neither "canary" nor "blueGreen"'),
        (as_text(of_steps({"setWeight": "many"})), 'steps[0].setWeight is "many"; expected a number'),
        (as_text(of_steps({"setWeight": 101})), "is 101; expected a weight from 0 to 100"),
        (as_text(of_steps({"pause": {"duration": "soon"}})), 'pause.duration is "soon"; expected a duration such as'),
        (as_text(rollout({"canary": {}}, replicas=[1])), "spec.replicas is not one value; expected a whole number"),
        (as_text(rollout({"blueGreen": {}})), 'spec.strategy.blueGreen has no "activeService"'),
        (
            as_text(rollout({"canary": {}}, workloadRef={"kind": "PodTemplate", "name": "web"})),
            'spec.workloadRef.kind is "PodTemplate"; only a Deployment can be rolled out',
        ),
        (
            as_text(rollout({"canary": {}}, selector={"matchLabels": {"app": "other"}})),
            "this cannot be made a deploy file: the Deployment",
        ),
        (as_text(of_steps(), service("a"), service("a")), 'a second Service is called "a"'),
    ],
)
def test_bad_input_is_refused_at_its_place(text: str, sentence: str) -> None:
    assert any(sentence in problem.message for problem in refused(Origin.ARGO, text))


def test_all_that_is_wrong_is_said_at_once() -> None:
    problems = refused(Origin.ARGO, as_text(of_steps({"setWeight": "x"}, {"pause": {"duration": "y"}}, {"setWeight": -1})))
    assert len(problems) == 3
