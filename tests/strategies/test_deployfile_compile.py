"""From a good deploy file to the engine's plan: basis points, seconds, routes, namespaces and the order of objects."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from engine.model import (
    Analysis,
    Approval,
    ConcurrencyPolicy,
    Expose,
    Freeze,
    Lookback,
    ManifestPlan,
    Mode,
    NoDataPolicy,
    OnFailure,
    Parallel,
    Pause,
    Query,
    ReleasePlan,
    RunCommand,
    RunJob,
    TargetPlan,
    Webhook,
    WebhookHeader,
)
from engine.traffic import IstioProtocol, IstioRoute, RoutePlan, RouterKind, SetWeight
from strategies.deployfile import LoadedFile, Problems, SourceText, compile_release, parse_deploy_text

DEPLOYMENT = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: NAME}
spec:
  selector: {matchLabels: {app: NAME}}
  template:
    metadata: {labels: {app: NAME, part: harbour}}
    spec: {containers: [{name: main, image: image}]}
"""
SERVICE = """
apiVersion: v1
kind: Service
metadata: {name: NAME}
spec: {selector: {app: LABEL}, ports: [{port: 80}]}
"""


def deployment(name: str) -> str:
    return DEPLOYMENT.replace("NAME", name)


def service(name: str, label: str) -> str:
    return SERVICE.replace("NAME", name).replace("LABEL", label)


def thing(kind: str, name: str, api_version: str = "v1", **more: str) -> str:
    return json.dumps({"apiVersion": api_version, "kind": kind, "metadata": {"name": name, **more}})


def load(
    *, steps: str = "[]", manifests: Sequence[str] = (deployment("web"),), more: str = "", head: str = ""
) -> LoadedFile:
    text = (
        f"application: harbour\n{head}\n"
        "targets:\n  prod: {account: west, namespace: quay, strategy: gentle}\n"
        f"manifests: [{{path: all.yaml}}]\nstrategies:\n  gentle: {{canary: {{steps: {steps}}}}}\n{more}"
    )
    return parse_deploy_text(text, "deploy.yaml", lambda path: [SourceText(path, "\n---\n".join(manifests))])


def plan_of(loaded: LoadedFile, **options: Any) -> ReleasePlan:
    plan = compile_release(loaded, **options)
    assert isinstance(plan, ReleasePlan), [str(error) for error in plan.errors]
    return plan


def target_of(loaded: LoadedFile) -> TargetPlan:
    (target,) = plan_of(loaded).targets
    return target


# --- steps ------------------------------------------------------------------------------------------------------------


def test_weights_become_basis_points_and_the_last_hundred_is_not_a_step() -> None:
    weights = ["0.01", "0.1", "1", "12.5", '"12.5%"', '"33.33 %"', "99.99"]
    loaded = load(steps="[" + ", ".join(f"{{setWeight: {{weight: {weight}}}}}" for weight in weights) + "]")

    assert [step.weight for step in target_of(loaded).steps if isinstance(step, SetWeight)] == [
        1,
        10,
        100,
        1250,
        1250,
        3333,
        9999,
    ]


def test_every_hundredth_of_a_percent_is_exact() -> None:
    """No weight is lost to binary fractions: each of the 10,001 is read as what it says."""
    for points in (*range(0, 10_001, 7), 10_000):
        loaded = load(steps=f"[{{setWeight: {{weight: {points // 100}.{points % 100:02}}}}}]")
        assert target_of(loaded).steps == (SetWeight(points),)


def test_pauses_and_approvals() -> None:
    loaded = load(
        steps="[{pause: {duration: 2, unit: hours}}, {pause: {duration: 0, unit: seconds}}, {pause: "
        "{untilApproved: true}}, "
        "{pause: {untilApproved: true, requiresRoles: [Captain, Mate], approvalExpiration: {duration: 1.5, "
        "unit: minutes}}}]"
    )

    assert target_of(loaded).steps == (
        Pause(7200.0),
        Pause(0.0),
        Approval(),
        Approval(roles=("Captain", "Mate"), expires_seconds=90.0),
    )


def test_a_leading_pause_stays_the_first_step() -> None:
    """At weight 0, as the published format has it: nothing is put in front of it."""
    loaded = load(steps="[{pause: {duration: 1, unit: minutes}}, {setWeight: {weight: 5}}]")

    assert target_of(loaded).steps == (Pause(60.0), SetWeight(500))


def test_analysis_takes_its_queries_as_they_are_written() -> None:
    loaded = load(
        steps="[{analysis: {interval: 1, units: minutes, numberOfJudgmentRuns: 4, queries: [second, first], "
        "rollBackMode: manual, lookbackMethod: SLIDING, abortOnFailedJudgment: true, context: {region: eu}, "
        "metricProviderName: steps-own}}, {analysis: {interval: 1, units: seconds, numberOfJudgmentRuns: 1, "
        "queries: [first]}}]",
        more="analysis:\n  defaultMetricProviderName: default\n  queries:\n"
        "    - {name: first, queryTemplate: 'a{{armory.namespace}}', upperLimit: 1, metricProviderName: querys-own}\n"
        "    - {name: second, queryTemplate: b, lowerLimit: -1.5, upperLimit: 2, noDataPolicy: fail}\n"
        "    - {name: third, queryTemplate: c, lowerLimit: 0}\n",
    )
    first = Query(name="first", provider="querys-own", template="a{{armory.namespace}}", upper=1.0)

    assert target_of(loaded).steps == (
        Analysis(
            queries=(
                Query(
                    name="second", provider="steps-own", template="b", lower=-1.5, upper=2.0, no_data=NoDataPolicy.FAIL
                ),
                first,
            ),
            interval_seconds=60.0,
            runs=4,
            lookback=Lookback.SLIDING,
            abort_on_failed=True,
            roll_back=Mode.MANUAL,
            roll_forward=Mode.AUTOMATIC,
            context={"region": "eu"},
        ),
        Analysis(queries=(first,), interval_seconds=1.0, runs=1),
    )


def test_a_query_falls_back_on_the_default_provider() -> None:
    loaded = load(
        steps="[{analysis: {interval: 1, units: seconds, numberOfJudgmentRuns: 1, queries: [a]}}]",
        more="analysis: {defaultMetricProviderName: default, queries: [{name: a, queryTemplate: a, lowerLimit: 0}]}\n",
    )
    (step,) = target_of(loaded).steps

    assert isinstance(step, Analysis)
    assert step.queries == (Query(name="a", provider="default", template="a", lower=0.0),)


def test_webhooks() -> None:
    loaded = load(
        steps="[{runWebhook: {name: full, context: {suite: smoke}}}, {runWebhook: {name: short}}]",
        more="webhooks:\n"
        "  - name: full\n    method: put\n    uriTemplate: 'https://ci.example.com/{{context.suite}}'\n"
        "    headers: [{key: A, value: ''}, {key: A, value: b}]\n    bodyTemplate: {inline: '{}'}\n    retryCount: 3\n"
        "    disableCallback: true\n    timeout: {duration: 10, unit: minutes}\n"
        "  - {name: short, method: GET, uriTemplate: '{{context.url}}'}\n",
        head="context: {url: 'http://127.0.0.1'}",
    )

    assert target_of(loaded).steps == (
        Webhook(
            name="full",
            method="PUT",
            url="https://ci.example.com/{{context.suite}}",
            headers=(WebhookHeader("A", ""), WebhookHeader("A", "b")),
            body="{}",
            retries=3,
            callback=False,
            context={"suite": "smoke"},
            timeout_seconds=600.0,
        ),
        Webhook(name="short", method="GET", url="{{context.url}}", timeout_seconds=86_400.0),
    )


# --- targets and settings ---------------------------------------------------------------------------------------------


def test_settings_are_in_seconds() -> None:
    plain = target_of(load())
    config = (
        "deploymentConfig: {timeout: {duration: 10, unit: minutes}, settle: {duration: 0.5, unit: seconds}, "
        "freeze: atHandOver}\n"
    )
    set_up = target_of(load(more=config))

    assert (plain.ready_timeout_seconds, plain.settle_seconds, plain.freeze) == (1800.0, 5.0, Freeze.FROM_START)
    assert (set_up.ready_timeout_seconds, set_up.settle_seconds, set_up.freeze) == (600.0, 0.5, Freeze.AT_HAND_OVER)


def test_the_command_line_wins_over_the_file() -> None:
    loaded = load(head="context: {a: file, b: file, c: file}\ncontextOverrides: {b: override, c: override}\n")

    plan = plan_of(loaded, application="other", context={"c": "line", "d": "line"})

    assert plan.application == "other"
    assert plan.targets[0].context == {"a": "file", "b": "override", "c": "line", "d": "line"}


def test_the_plan_carries_what_there_was_to_say() -> None:
    plan = plan_of(load(head="description: new cranes\ncontextOverrides: {a: b}\n"))

    assert plan.description == "new cranes"
    assert plan.warnings == ('deploy.yaml:3:1: "contextOverrides" is deprecated; move its variables to "context"',)


THREE_TARGETS = """
application: harbour
targets:
  test: {account: west, namespace: test, strategy: gentle}
  prod: {account: west, namespace: prod, strategy: gentle, constraints: {dependsOn: [test, test]}}
  far: {account: east, namespace: prod, strategy: switch, constraints: {dependsOn: [prod]}}
manifests:
  - {path: web.yaml}
  - {path: settings.yaml, targets: [prod]}
strategies:
  gentle: {canary: {steps: []}}
  switch: {blueGreen: {redirectTrafficAfter: [], activeService: web}}
"""


def load_three(more: str = "") -> LoadedFile:
    texts = {"web.yaml": deployment("web"), "settings.yaml": thing("ConfigMap", "settings")}
    return parse_deploy_text(THREE_TARGETS + more, "deploy.yaml", lambda path: [SourceText(path, texts[path])])


def test_filters_choose_targets() -> None:
    loaded = load_three()

    plan = plan_of(loaded, target_filters=("prod", "test"))

    assert [target.target for target in plan.targets] == ["test", "prod"]
    assert plan.targets[1].depends_on == ("test",)
    assert [target.namespace for target in plan.targets] == ["test", "prod"]
    assert [item.key for item in plan.targets[1].manifests] == ["ConfigMap/settings"]
    assert plan.targets[0].manifests == ()


def test_a_dependency_that_is_left_out_is_taken_as_done() -> None:
    plan = plan_of(load_three(), target_filters=("prod",))

    assert plan.targets[0].depends_on == ()
    assert 'the target "prod" depends on "test", which this run leaves out; it is taken as done' in plan.warnings


def test_in_place_of_a_target_that_is_left_out_its_own_dependencies_are_waited_for() -> None:
    loaded = parse_deploy_text(
        "application: harbour\ntargets:\n"
        "  dev: {account: a, namespace: dev, strategy: gentle}\n"
        "  test: {account: a, namespace: test, strategy: gentle, constraints: {dependsOn: [dev]}}\n"
        "  scan: {account: a, namespace: scan, strategy: gentle, constraints: {dependsOn: [dev]}}\n"
        "  prod: {account: a, namespace: prod, strategy: gentle, constraints: {dependsOn: [test, scan]}}\n"
        "manifests: [{path: web.yaml}]\nstrategies: {gentle: {canary: {steps: []}}}\n",
        "deploy.yaml",
        lambda path: [SourceText(path, deployment("web"))],
    )

    def waits(*chosen: str) -> tuple[str, ...]:
        return plan_of(loaded, target_filters=chosen).targets[-1].depends_on

    assert waits("dev", "test", "scan", "prod") == ("test", "scan")
    assert waits("dev", "prod") == ("dev",)
    assert waits("dev", "scan", "prod") == ("dev", "scan")
    assert waits("prod") == ()


def test_the_files_own_filters_hold_until_the_command_line_gives_others() -> None:
    loaded = load_three("targetFilters: [{includeTarget: test}]\n")

    assert [target.target for target in plan_of(loaded).targets] == ["test"]
    assert [target.target for target in plan_of(loaded, target_filters=["prod"]).targets] == ["prod"]


def test_a_filter_for_a_target_that_does_not_exist_is_refused() -> None:
    problems = compile_release(load_three(), target_filters=("tset", "prod"))

    assert isinstance(problems, Problems)
    assert str(problems.errors[0]) == 'deploy.yaml:1:1: the target "tset" does not exist; did you mean "test"?'


@pytest.mark.parametrize("name", ["", "  ", "a\nb"])
def test_an_application_name_that_cannot_be_shown_is_refused(name: str) -> None:
    assert isinstance(compile_release(load(), application=name), Problems)


def test_variables_that_nobody_gives_a_value_are_refused_before_anything_starts() -> None:
    loaded = load(
        steps="[{setWeight: {weight: 1}}, {runWebhook: {name: test, context: {suite: smoke}}}]",
        more="webhooks:\n  - name: test\n    method: GET\n"
        "    uriTemplate: 'https://ci.example.com/{{context.suite}}/{{ context.ship }}/{{secrets.token}}'\n",
    )

    problems = compile_release(loaded)

    assert isinstance(problems, Problems)
    (error,) = problems.errors
    assert (error.line, error.column) == (7, 55)
    assert '{{context.ship}} has no value; add it to "context", or give it with --context' in error.message
    assert plan_of(loaded, context={"ship": "Argo"}).warnings == ()


def test_variables_that_do_not_exist_are_refused_where_they_are_used() -> None:
    queries = (
        "analysis: {defaultMetricProviderName: p, queries: [{name: a, lowerLimit: 0, "
        "queryTemplate: 'x{{armory.replicaSet}} {{{ship}}} {{ armory.namespace }} {{ not a name }}'}]}"
    )
    step = "{analysis: {interval: 1, units: seconds, numberOfJudgmentRuns: 1, queries: [a]}}"
    unused, used = load(more=queries), load(steps=f"[{step}, {step}]", more=queries)

    assert len(plan_of(unused).warnings) == 2
    problems = compile_release(used)
    assert isinstance(problems, Problems)
    assert [str(error).partition("this step uses a template in which ")[::2] for error in problems.errors[:2]] == [
        (
            "deploy.yaml:7:29: ",
            "{{armory.replicaSet}} is not a variable that is provided here; did you mean {{armory.replicaSetName}}?",
        ),
        (
            "deploy.yaml:7:29: ",
            "{{ship}} is no variable; one begins with armory, context or secrets, such as {{context.ship}}",
        ),
    ]
    assert len(problems.errors) == 4


def test_what_is_called_before_a_deployment_cannot_name_its_replica_set() -> None:
    """There is none yet, and the call would fail when it is made."""
    webhooks = "webhooks: [{name: ask, method: GET, uriTemplate: 'https://ci.example.com/{{armory.replicaSetName}}'}]\n"
    target = "prod: {account: west, namespace: quay, strategy: gentle, constraints: {MOMENT: [{runWebhook: {name: ask}}]}}"
    text = (
        f"application: harbour\ntargets:\n  {target}\nmanifests: [{{path: all.yaml}}]\n"
        f"strategies: {{gentle: {{canary: {{steps: []}}}}}}\n{webhooks}"
    )

    def compiled(moment: str) -> ReleasePlan | Problems:
        read = text.replace("MOMENT", moment)
        return compile_release(parse_deploy_text(read, "deploy.yaml", lambda path: [SourceText(path, deployment("web"))]))

    assert isinstance(compiled("afterDeployment"), ReleasePlan)
    problems = compiled("beforeDeployment")
    assert isinstance(problems, Problems)
    assert "{{armory.replicaSetName}} is not a variable that is provided here" in problems.errors[0].message


# --- conditions and switches ------------------------------------------------------------------------------------------


ERRORS = "analysis: {defaultMetricProviderName: p, queries: [{name: a, upperLimit: 1, queryTemplate: b, noDataPolicy: hold}]}\n"


def test_conditions_before_and_after_a_deployment() -> None:
    text = (
        "application: harbour\ntargets:\n  prod:\n    account: west\n    namespace: quay\n    strategy: gentle\n"
        "    constraints:\n      onFailure: rollback\n      beforeDeployment: [{pause: {untilApproved: true, "
        "approvalReminder: {duration: 1, unit: hours}, approvalExpiration: {duration: 2, unit: hours}}}]\n"
        "      afterDeployment: [{analysis: {interval: 1, units: seconds, numberOfJudgmentRuns: 9, failureBudget: 1, "
        "noDataBudget: {duration: 1, unit: minutes}, queries: [a]}}]\n"
        f"manifests: [{{path: all.yaml}}]\nstrategies: {{gentle: {{canary: {{steps: []}}}}}}\n{ERRORS}"
        "deploymentConfig: {ifDeploymentInProgress: {strategy: REPLACE}}\n"
    )
    plan = plan_of(parse_deploy_text(text, "deploy.yaml", lambda path: [SourceText(path, deployment("web"))]))
    (target,) = plan.targets

    assert plan.concurrency is ConcurrencyPolicy.REPLACE
    assert target.before == (Approval(expires_seconds=7_200.0, remind_seconds=3_600.0),)
    assert target.on_failure is OnFailure.ROLL_BACK
    (analysis,) = target.after
    assert isinstance(analysis, Analysis)
    assert (analysis.runs, analysis.failure_budget, analysis.patience_seconds) == (9, 1, 60.0)
    assert analysis.queries[0].no_data is NoDataPolicy.HOLD


def test_what_is_measured_in_the_background_has_no_end() -> None:
    steps = "[], backgroundAnalysis: [{interval: 10, units: seconds, queries: [a]}]"
    (watched,) = target_of(load(steps=steps, more=ERRORS)).background

    assert (watched.runs, watched.failure_budget, watched.lookback) == (0, 0, Lookback.SLIDING)


SWITCH = """
application: harbour
targets: {prod: {account: west, namespace: quay, strategy: switch}}
manifests: [{path: all.yaml}]
strategies:
  switch:
    blueGreen:
      redirectTrafficAfter: [{pause: {untilApproved: true}}, {pause: {duration: 1, unit: seconds}}]
      shutDownOldVersionAfter: [{pause: {duration: 15, unit: minutes}}]
"""


def load_switch(more: str, *services: str) -> LoadedFile:
    manifests = "\n---\n".join([deployment("web"), *services])
    return parse_deploy_text(SWITCH + more, "deploy.yaml", lambda path: [SourceText(path, manifests)])


def test_a_switch_is_one_move_between_two_lists_of_conditions() -> None:
    loaded = load_switch("trafficManagement: [{kubernetes: [{activeService: web, previewService: next}]}]\n")
    target = target_of(loaded)

    assert target.steps == (Parallel((Approval(), Pause(1.0))), SetWeight(10_000), Pause(900.0))
    assert target.routes == (
        RoutePlan(
            name="web",
            kind=RouterKind.SERVICE,
            workload="web",
            root_service="web",
            canary_service="next",
            adopts_canary_service=True,
        ),
    )


def test_a_switch_without_a_preview_and_as_older_files_write_it() -> None:
    older = load_switch("").text.replace("blueGreen:", "blueGreen:\n      activeService: web")
    loaded = parse_deploy_text(older, "deploy.yaml", lambda path: [SourceText(path, deployment("web"))])

    (route,) = target_of(loaded).routes
    assert (route.root_service, route.canary_service, route.adopts_canary_service) == ("web", "", False)


# --- manifests --------------------------------------------------------------------------------------------------------


def test_objects_come_in_the_order_in_which_they_need_each_other() -> None:
    kinds = [
        thing("PodDisruptionBudget", "a", "policy/v1"),
        thing("HorizontalPodAutoscaler", "a", "autoscaling/v2"),
        thing("StatefulSet", "a", "apps/v1"),
        thing("Ship", "a", "sea.example.com/v1"),
        thing("Ingress", "a", "networking.k8s.io/v1"),
        service("a", "web"),
        thing("PersistentVolumeClaim", "a"),
        thing("Secret", "a"),
        thing("ConfigMap", "b"),
        thing("ConfigMap", "a"),
        thing("RoleBinding", "a", "rbac.authorization.k8s.io/v1"),
        thing("ClusterRole", "a", "rbac.authorization.k8s.io/v1"),
        thing("ServiceAccount", "a"),
        thing("Namespace", "a"),
        thing("CustomResourceDefinition", "a", "apiextensions.k8s.io/v1"),
        deployment("web"),
    ]

    assert [item.key for item in target_of(load(manifests=kinds)).manifests] == [
        "Namespace/a",
        "CustomResourceDefinition/a",
        "ServiceAccount/a",
        "ClusterRole/a",
        "RoleBinding/a",
        "ConfigMap/b",
        "ConfigMap/a",
        "Secret/a",
        "PersistentVolumeClaim/a",
        "Service/a",
        "Ship/a",
        "StatefulSet/a",
        "PodDisruptionBudget/a",
        "HorizontalPodAutoscaler/a",
        "Ingress/a",
    ]


def test_the_targets_namespace_takes_the_place_of_all_others_where_there_can_be_one() -> None:
    crd = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "seas.example.com"},
        "spec": {"group": "example.com", "scope": "Cluster", "names": {"kind": "Sea"}},
    }
    manifests = [
        deployment("web"),
        thing("ConfigMap", "a", namespace="elsewhere"),
        thing("Namespace", "quay"),
        thing("PriorityClass", "a", "scheduling.k8s.io/v1"),
        thing("Ship", "a", "example.com/v1"),
        thing("Sea", "a", "example.com/v1"),
        json.dumps(crd),
    ]
    target = target_of(load(manifests=manifests))
    namespaces = {item.key: json.loads(item.content)["metadata"].get("namespace") for item in target.manifests}

    assert json.loads(target.workloads[0].manifest)["metadata"] == {"name": "web", "namespace": "quay"}
    assert namespaces == {
        "ConfigMap/a": "quay",
        "Ship/a": "quay",
        "Namespace/quay": None,
        "PriorityClass/a": None,
        "Sea/a": None,
        "CustomResourceDefinition/seas.example.com": None,
    }


def test_kinds_of_one_name_from_two_groups_keep_apart() -> None:
    manifests = [deployment("web"), service("web", "web"), thing("Service", "web", "serving.knative.dev/v1")]

    assert [item.key for item in target_of(load(manifests=manifests)).manifests] == [
        "Service/web",
        "Service.serving.knative.dev/web",
    ]


def test_objects_are_kept_as_they_were_written() -> None:
    metadata, data = '{"name":"a","namespace":"quay"}', '{"é":"0644","b":"yes"}'
    content = f'{{"apiVersion":"v1","kind":"ConfigMap","metadata":{metadata},"data":{data}}}'
    manifest = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {é: '0644', b: 'yes'}"

    assert target_of(load(manifests=[manifest])).manifests == (ManifestPlan("ConfigMap/a", content),)


def test_without_a_deployment_there_are_no_steps_and_no_routes() -> None:
    loaded = load(
        steps="[{setWeight: {weight: 5}}]",
        manifests=[thing("ConfigMap", "a")],
        more="trafficManagement: [{smi: [{rootServiceName: web}]}]\n",
    )
    target = target_of(loaded)

    assert (target.workloads, target.routes, target.steps) == ((), (), ())


# --- routes -----------------------------------------------------------------------------------------------------------


def test_without_a_mesh_pods_are_counted() -> None:
    assert target_of(load()).routes == (RoutePlan(name="web", kind=RouterKind.POD_RATIO, workload="web"),)


def test_a_traffic_split_by_default_names() -> None:
    loaded = load(more="trafficManagement: [{smi: [{rootServiceName: front}]}]\n")

    assert target_of(loaded).routes == (
        RoutePlan(
            name="front",
            kind=RouterKind.SMI,
            workload="web",
            root_service="front",
            stable_service="front-stable",
            canary_service="front-canary",
            split="front",
        ),
    )


def test_a_traffic_split_by_names_of_its_own() -> None:
    loaded = load(
        more="trafficManagement: [{smi: [{rootServiceName: front, canaryServiceName: next, stableServiceName: now, "
        "trafficSplitName: ways, matches: [beta, crew]}]}]\n"
    )

    assert target_of(loaded).routes == (
        RoutePlan(
            name="front",
            kind=RouterKind.SMI,
            workload="web",
            root_service="front",
            stable_service="now",
            canary_service="next",
            split="ways",
            adopts_canary_service=True,
            match_groups=("beta", "crew"),
        ),
    )


def test_traffic_entries_are_for_the_targets_that_they_name() -> None:
    loaded = load_three("trafficManagement:\n  - {targets: [prod], smi: [{rootServiceName: web}]}\n")
    plan = plan_of(loaded, target_filters=("test", "prod"))

    assert [target.routes[0].kind for target in plan.targets] == [RouterKind.POD_RATIO, RouterKind.SMI]


def test_several_roots_of_one_workload() -> None:
    loaded = load(
        manifests=[deployment("web"), service("inside", "web"), service("outside", "web")],
        more="trafficManagement:\n  - smi: [{rootServiceName: inside}]\n  - smi: [{rootServiceName: outside}]\n",
    )

    assert [(route.name, route.workload) for route in target_of(loaded).routes] == [
        ("inside", "web"),
        ("outside", "web"),
    ]


def istio(block: str) -> tuple[RoutePlan, ...]:
    return target_of(load(more=f"trafficManagement: [{{istio: [{block}]}}]\n")).routes


def test_a_virtual_service_by_default_names() -> None:
    assert istio("{virtualService: {name: front}, destinationRule: {name: rule}}") == (
        RoutePlan(
            name="front",
            kind=RouterKind.ISTIO,
            workload="web",
            istio=IstioRoute("front", destination_rule="rule", canary_subset="canary"),
        ),
    )


def test_each_list_of_destinations_of_a_virtual_service_is_a_route() -> None:
    rule = "{name: rule, activeSubsetName: live, canarySubsetName: next}"
    lists = "httpRouteName: main, tlsRoutes: [{port: 443, sniHosts: [b.io, a.io]}], tcpRoutes: [{port: 5432}]"
    routes = istio(f"{{virtualService: {{name: front, {lists}}}, destinationRule: {rule}}}")

    assert [route.name for route in routes] == ["front/main", "front/tls/443/a.io/b.io", "front/tcp/5432"]
    places = [route.istio for route in routes if route.istio is not None]
    assert {(place.destination_rule, place.active_subset, place.canary_subset) for place in places} == {("rule", "live", "next")}
    assert [(place.protocol, place.port, place.sni_hosts) for place in places] == [
        (IstioProtocol.HTTP, 0, ()),
        (IstioProtocol.TLS, 443, ("a.io", "b.io")),
        (IstioProtocol.TCP, 5432, ()),
    ]


def test_with_tls_or_tcp_routes_alone_no_http_route_is_edited() -> None:
    (route,) = istio("{virtualService: {name: front, tcpRoutes: [{port: 1}]}, stableServiceName: now, canaryServiceName: next}")

    assert (route.name, route.stable_service, route.canary_service) == ("front/tcp/1", "now", "next")
    assert route.istio == IstioRoute("front", IstioProtocol.TCP, port=1)


def istio_rule(name: str) -> str:
    head = "apiVersion: networking.istio.io/v1\nkind: DestinationRule\n"
    return f"{head}metadata: {{name: {name}}}\nspec: {{host: {name}.quay.svc.cluster.local, subsets: [{{name: live}}]}}"


def test_of_several_deployments_the_one_behind_the_service_of_a_rule_is_shifted() -> None:
    objects = [deployment("web"), deployment("api"), service("front", "api"), istio_rule("front")]
    block = "{virtualService: {name: ways}, destinationRule: {name: front}}"
    routes = target_of(load(manifests=objects, more=f"trafficManagement: [{{istio: [{block}]}}]\n")).routes

    assert [(route.name, route.kind, route.workload) for route in routes] == [
        ("ways", RouterKind.ISTIO, "api"),
        ("web", RouterKind.POD_RATIO, "web"),
    ]


def test_which_of_several_deployments_is_meant_has_to_be_told() -> None:
    block = "{virtualService: {name: ways}, destinationRule: {name: front}}"
    loaded = load(manifests=[deployment("web"), deployment("api")], more=f"trafficManagement: [{{istio: [{block}]}}]\n")

    (error,) = loaded.problems.errors
    assert error.message.startswith('which of the Deployments "web" and "api" stands behind the VirtualService "ways"')


# --- as a whole -------------------------------------------------------------------------------------------------------


def test_a_plan_survives_being_stored() -> None:
    plan = plan_of(load(steps="[{setWeight: {weight: 5}}, {pause: {untilApproved: true}}]"))

    assert msgspec.json.decode(msgspec.json.encode(plan), type=ReleasePlan) == plan


def test_the_same_file_always_gives_the_same_plan() -> None:
    assert msgspec.json.encode(plan_of(load_three(), target_filters=["prod"])) == msgspec.json.encode(
        plan_of(load_three(), target_filters=["prod"])
    )


def test_a_file_with_errors_is_not_compiled() -> None:
    loaded = load(steps="[{setWeight: {weight: 101}}]")

    assert compile_release(loaded) is loaded.problems


# --- tests ------------------------------------------------------------------------------------------------------------

JOB = """{apiVersion: batch/v1, kind: Job, metadata: {name: smoke}, spec: {template: {spec: {restartPolicy: Never, containers:
 [{name: test, image: "tests:1", args: ["ARG"]}]}}}}"""


def job(argument: str = "{{context.suite}}") -> str:
    return json.dumps(JOB.replace("ARG", argument))


def test_tests_bring_their_job_or_name_a_command() -> None:
    steps = (
        f"[{{exposeServices: {{services: [web], ttl: {{duration: 1, unit: hours}}}}}},"
        f"{{runJob: {{name: smoke, inline: {job()}, context: {{suite: full}}, timeout: {{duration: 5, unit: minutes}}}}}},"
        '{runCommand: {name: soak, context: {users: "40"}}}]'
    )
    expose, run_job, run_command = target_of(load(steps=steps)).steps
    assert expose == Expose(("web",), 3600.0)
    assert isinstance(run_job, RunJob)
    assert (run_job.name, run_job.timeout_seconds, run_job.context) == ("smoke", 300.0, {"suite": "full"})
    assert json.loads(run_job.manifest)["spec"]["template"]["spec"]["containers"][0]["args"] == ["{{context.suite}}"]
    assert run_command == RunCommand("soak", 3600.0, {"users": "40"})


def test_a_jobs_file_travels_with_the_deploy_file() -> None:
    texts = {"all.yaml": deployment("web"), "job.yaml": JOB.replace("ARG", "")}
    text = (
        "application: harbour\ntargets:\n  prod: {account: west, namespace: quay, strategy: gentle}\n"
        "manifests: [{path: all.yaml}]\nstrategies:\n  gentle: {canary: {steps: [{runJob: {name: a, path: job.yaml}}]}}\n"
    )
    loaded = parse_deploy_text(text, "deploy.yaml", lambda path: [SourceText(path, texts[path])])
    assert set(loaded.sources) == {"all.yaml", "job.yaml"}
    again = parse_deploy_text(text, "deploy.yaml", loaded.sources.__getitem__)
    assert plan_of(again) == plan_of(loaded)


@pytest.mark.parametrize(
    ("argument", "sentence"),
    [
        ("{{context.nothing}}", '{{context.nothing}} has no value; add it to "context"'),
        ("{{armory.callbackUri}}", "{{armory.callbackUri}} is not a variable that is provided here"),
        ("{{armory.preview.wev}}", "did you mean {{armory.preview.web}}?"),
    ],
)
def test_a_variable_of_a_job_that_has_no_value_keeps_the_file_from_being_run(argument: str, sentence: str) -> None:
    loaded = load(steps=f"[{{exposeServices: {{services: [web]}}}}, {{runJob: {{name: smoke, inline: {job(argument)}}}}}]")
    plan = compile_release(loaded)
    assert isinstance(plan, Problems)
    assert [sentence in error.message for error in plan.errors] == [True]


def test_a_preview_is_there_after_its_step_and_not_before() -> None:
    preview = job("{{armory.preview.web}}")
    test, expose = f"{{runJob: {{name: smoke, inline: {preview}}}}}", "{exposeServices: {services: [web]}}"
    assert isinstance(compile_release(load(steps=f"[{test}, {expose}]")), Problems)
    assert isinstance(compile_release(load(steps=f"[{expose}, {test}]")), ReleasePlan)


def test_a_signing_secret_goes_with_its_webhook() -> None:
    more = "webhooks: [{name: ci, method: POST, uriTemplate: https://ci.example.com, signingSecret: hook-key}]"
    (step,) = target_of(load(steps="[{runWebhook: {name: ci}}]", more=more)).steps
    assert isinstance(step, Webhook)
    assert step.signing_secret == "hook-key"
