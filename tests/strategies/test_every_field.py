"""Every field of the deploy file has a test that shows what it does at run time, and a row in the reference.

The table is kept by hand: a field that is added has to name its test here. What a file may say, and how it is compiled, is tested
beside this; here stand the tests in which something is done, or left, because of a field.
"""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest

from strategies.deployfile import DeployFile
from tests.strategies.test_deployfile_examples import all_fields

ROOT = Path(__file__).parent.parent.parent
PAGE = ROOT / "docs" / "deploy-file.md"

FILES = "tests/published/test_files.py::test_"
FIELDS = "tests/published/test_fields.py::test_"
CANARY = "tests/rollouts/test_canary.py::test_"
BLUE_GREEN = "tests/rollouts/test_blue_green.py::test_"
STORIES = "tests/rollouts/test_stories.py::test_"
ISTIO = "tests/rollouts/test_istio.py::test_"
SHAPES = "tests/rollouts/test_istio_shapes.py::test_"
MATCHES = "tests/routers/test_istio_matches.py::test_"
LINKERD = "tests/rollouts/test_linkerd.py::test_"
JOBS = "tests/rollouts/test_jobs.py::test_"
SNAPSHOTS = "tests/rollouts/test_config_snapshots.py::test_"
ROLLOUTS = "tests/engine/test_rollouts.py::test_"
GATES = "tests/engine/test_gates.py::test_"
JUDGING = "tests/engine/test_judging.py::test_"
QUEUE = "tests/engine/test_queue.py::test_"
HOOKS = "tests/hooks/test_webhooks.py::test_"
COMMANDS = "tests/commands/test_running.py::test_"
PREVIEWS = "tests/previews/test_previews.py::test_"
CALLBACKS = "tests/http/test_callbacks.py::test_"
ROLES = "tests/http/test_orders_at_once.py::test_"
MESSAGES = "tests/strategies/test_deployfile_messages.py::test_"

NGINX = "tests/rollouts/test_ingress_nginx.py::test_"
TRAEFIK = "tests/rollouts/test_traefik.py::test_"
GATEWAY = "tests/rollouts/test_gateway_api.py::test_"
CUSTOM = "tests/rollouts/test_custom.py::test_"
DRIFT = "tests/rollouts/test_drift_policies.py::test_"
EFFECTS = "tests/engine/test_effects.py::test_"
EFFECT_WINDOW = "tests/metrics/test_effects.py::test_the_window_begins_after_the_weight_was_read_back_and_is_the_last_interval"

BACKGROUND = FIELDS + "the_background_asks_its_own_provider_with_its_own_context_over_its_own_window"
BUDGET = FIELDS + "a_switch_is_taken_back_when_the_background_has_spent_its_budget"
CONTEXTS = FIELDS + "of_several_contexts_the_nearest_wins_and_the_deprecated_one_wins_over_its_successor"
EVERY_KIND = FIELDS + "a_switch_waits_for_conditions_of_every_kind_and_is_watched_in_the_background"
LOOKING_BACK = FIELDS + "growing_runs_look_back_to_the_start_and_sliding_ones_over_one_interval"
MANUAL = (
    JUDGING + "where_a_mode_is_manual_a_person_has_the_last_word",
    JUDGING + "a_mode_asks_only_about_its_own_direction",
)
RUNS = JUDGING + "each_query_is_measured_as_often_as_the_step_says_one_interval_apart"
CALL = HOOKS + "the_call_carries_what_the_file_asks_for"
BY_HEADER = FILES + "by_header"
FOUR, SWITCH, OURS = FILES + "four_environments", FILES + "blue_green", FILES + "our_additions"

SHOWN: dict[str, dict[str, tuple[str, ...]]] = {
    "DeployFile": {
        "version": (SWITCH,),  # Nothing depends on it; files carry it.
        "kind": (MESSAGES + "a_bad_file_is_refused_with_exactly_these_messages", SWITCH),
        "application": (QUEUE + "a_second_start_is_refused_unless_the_file_says_otherwise",),
        "description": (CONTEXTS,),
        "context": (CONTEXTS,),
        "contextOverrides": (CONTEXTS,),
        "deploymentConfig": (ROLLOUTS + "pods_that_never_become_ready_end_the_rollout_with_what_is_wrong", OURS),
        "targets": (FOUR, FILES + "fan_out"),
        "manifests": (FOUR,),
        "strategies": (FOUR,),
        "analysis": (SWITCH, FOUR),
        "webhooks": (FOUR,),
        "trafficManagement": (FOUR, OURS),
        "targetFilters": (FIELDS + "the_files_own_filter_limits_a_run",),
        "files": (SWITCH,),  # It holds "unused" there, and what is on disk is deployed.
    },
    "DeploymentConfig": {
        "timeout": (
            ROLLOUTS + "pods_that_never_become_ready_end_the_rollout_with_what_is_wrong",
            "tests/rollouts/test_objects.py::test_what_does_not_come_up_in_time_is_undone_and_its_trouble_is_told",
        ),
        "keepDeploymentObject": (FIELDS + "the_deployment_is_kept_whatever_the_file_says",),
        "ifDeploymentInProgress": (QUEUE + "a_release_waits_for_the_one_that_runs",),
        "settle": (OURS,),
        "freeze": (STORIES + "a_late_freeze_leaves_the_deployment_untouched_until_the_hand_over",),
        "onDrift": (
            DRIFT + "an_edit_is_put_back_and_the_rollout_goes_on",
            DRIFT + "an_edit_ends_the_rollout_where_the_file_says_so",
        ),
        "reassertLimit": (DRIFT + "two_managers_in_a_fight_end_in_a_hold",),
        "snapshotConfig": (SNAPSHOTS + "a_change_of_the_configuration_alone_is_a_rollout_in_which_each_version_reads_its_own",),
    },
    "IfDeploymentInProgress": {
        "strategy": (
            QUEUE + "a_second_start_is_refused_unless_the_file_says_otherwise",
            QUEUE + "one_release_waits_and_a_newer_one_takes_its_place",
            QUEUE + "replacing_puts_the_running_one_back_before_the_new_one_begins",
        ),
    },
    "Duration": {"duration": (OURS, EVERY_KIND), "unit": (OURS, EVERY_KIND)},
    "Target": {
        "account": (FOUR,),
        "namespace": (FOUR,),
        "strategy": (FOUR,),
        "constraints": (FOUR, FILES + "fan_out"),
    },
    "Constraints": {
        "dependsOn": (FILES + "fan_out", ROLLOUTS + "targets_wait_for_those_they_depend_on_and_are_cancelled_with_them"),
        "beforeDeployment": (
            GATES + "nothing_is_done_before_the_conditions_before_it_hold",
            GATES + "a_condition_that_fails_before_a_deployment_stops_it_and_what_depends_on_it",
        ),
        "afterDeployment": (
            GATES + "a_target_counts_as_done_when_the_conditions_after_it_hold",
            GATES + "what_fails_after_a_deployment_leaves_it_and_cancels_what_depends_on_it",
        ),
        "onFailure": (
            GATES + "what_fails_after_a_deployment_brings_the_old_version_back_where_the_file_says_so",
            BLUE_GREEN + "a_failed_check_after_the_release_brings_the_old_version_back",
        ),
    },
    "Condition": {
        "pause": (FOUR,),
        "runWebhook": (FOUR,),
        "runJob": (JOBS + "conditions_before_the_deployment_may_be_jobs", OURS),
        "runCommand": (OURS,),
        "analysis": (FOUR, FILES + "fan_out"),
    },
    "PauseStep": {
        "duration": (CANARY + "a_pause_holds_the_weight_that_was_read_back", EVERY_KIND),
        "unit": (EVERY_KIND,),
        "untilApproved": (ROLLOUTS + "an_approval_lets_the_rollout_go_on_and_a_rejection_undoes_it",),
        "requiresRoles": (FOUR, ROLES + "an_approval_without_the_role_is_refused_and_one_with_it_is_told_with_its_right"),
        "approvalExpiration": (ROLLOUTS + "an_approval_expires",),
        "approvalReminder": (GATES + "an_approval_is_reminded_of_before_it_expires",),
    },
    "AnalysisStep": {
        "interval": (RUNS, LOOKING_BACK),
        "units": (LOOKING_BACK,),
        "queries": (FOUR,),
        "metricProviderName": (LOOKING_BACK,),
        "context": (LOOKING_BACK, FILES + "fan_out"),
        "noDataBudget": (ROLLOUTS + "no_value_for_longer_than_the_patience_fails_with_the_reason",),
        "numberOfJudgmentRuns": (RUNS,),
        "rollBackMode": MANUAL,
        "rollForwardMode": MANUAL,
        "lookbackMethod": (LOOKING_BACK,),
        "abortOnFailedJudgment": (JUDGING + "the_mean_of_all_runs_is_judged_unless_the_first_bad_run_is_to_be_the_end",),
        "failureBudget": (GATES + "a_step_with_a_budget_sees_the_spike_that_a_mean_hides",),
    },
    "BackgroundAnalysis": {
        "interval": (BACKGROUND,),
        "units": (BACKGROUND,),
        "queries": (BACKGROUND,),
        "metricProviderName": (BACKGROUND,),
        "context": (BACKGROUND,),
        "noDataBudget": (GATES + "a_background_without_data_holds_the_rollout_until_there_is_data_again",),
        "failureBudget": (BUDGET, GATES + "a_budget_forgives_as_many_runs_as_it_says"),
        "lookbackMethod": (BACKGROUND,),
    },
    "RunWebhookStep": {"name": (FOUR,), "context": (CONTEXTS, FOUR)},
    "RunJobStep": {
        "name": (JOBS + "jobs_of_several_tests_at_once_have_names_of_their_own", OURS),
        "path": (OURS,),
        "inline": (OURS, EVERY_KIND),
        "timeout": (JOBS + "a_job_that_does_not_end_is_given_up_and_what_it_said_is_kept",),
        "context": (JOBS + "a_job_is_the_files_with_our_marks_our_limits_and_the_values_of_variables",),
    },
    "RunCommandStep": {
        "name": (OURS, COMMANDS + "a_command_that_the_settings_do_not_name"),
        "timeout": (COMMANDS + "the_steps_own_time_ends_a_little_early_so_that_the_output_is_told",),
        "context": (COMMANDS + "it_is_told_of_the_rollout_in_its_environment_and_of_the_daemon_nothing",),
    },
    "ExposeServicesStep": {
        "services": (SWITCH, FILES + "several_services"),
        "ttl": (PREVIEWS + "a_preview_ends_with_its_time_and_with_its_rollout",),
    },
    "ManifestSource": {"path": (FOUR, OURS), "inline": (FOUR,), "targets": (FOUR,)},
    "StrategyDefinition": {"canary": (FOUR,), "blueGreen": (SWITCH,)},
    "Canary": {
        "steps": (FOUR, ROLLOUTS + "a_canary_goes_through_its_steps_and_is_promoted"),
        "backgroundAnalysis": (BACKGROUND, GATES + "the_background_ends_a_rollout_in_the_middle_of_a_pause"),
    },
    "CanaryStep": {
        "setWeight": (FOUR, OURS),
        "pause": (FOUR,),
        "analysis": (FOUR,),
        "runWebhook": (FOUR, OURS),
        "runJob": (OURS,),
        "runCommand": (OURS,),
        "exposeServices": (FOUR,),
        "setHeaderRoute": (BY_HEADER, SHAPES + "a_test_by_header_and_then_by_weights"),
        "setMirror": (BY_HEADER, SHAPES + "copies_of_requests_go_to_the_new_version_until_they_are_ended"),
    },
    "SetHeaderRouteStep": {
        "name": (SHAPES + "a_test_by_header_and_then_by_weights",),
        "match": (BY_HEADER, SHAPES + "a_test_by_header_and_then_by_weights"),
    },
    "RequestMatch": {
        "header": (BY_HEADER,),
        "cookie": (BY_HEADER, MATCHES + "a_cookie_is_found_among_others_and_ends_where_it_ends"),
        "path": (BY_HEADER, SHAPES + "each_of_several_routes_gets_the_header_routes_that_concern_it"),
        "method": (BY_HEADER,),
    },
    "HeaderOrCookie": {"name": (BY_HEADER,), "exact": (BY_HEADER,), "prefix": (BY_HEADER,), "regex": (BY_HEADER,)},
    "PathMatch": {"exact": (BY_HEADER,), "prefix": (BY_HEADER,), "regex": (BY_HEADER,)},
    "SetMirrorStep": {"weight": (BY_HEADER, SHAPES + "copies_of_requests_go_to_the_new_version_until_they_are_ended")},
    "SetWeightStep": {"weight": (OURS, ISTIO + "nothing_of_a_percent_is_lost_where_istio_takes_any_weights")},
    "BlueGreen": {
        "redirectTrafficAfter": (
            BLUE_GREEN + "a_switch_goes_to_tested_pods_and_the_old_version_waits_until_told",
            EVERY_KIND,
        ),
        "shutDownOldVersionAfter": (
            BLUE_GREEN + "a_switch_goes_to_tested_pods_and_the_old_version_waits_until_told",
            BLUE_GREEN + "a_condition_that_fails_after_the_switch_switches_back",
        ),
        "backgroundAnalysis": (EVERY_KIND, BUDGET),
        "activeService": (SWITCH, BUDGET),
        "previewService": (BUDGET,),
    },
    "BlueGreenCondition": {
        "pause": (SWITCH,),
        "runWebhook": (EVERY_KIND, SWITCH),
        "runJob": (EVERY_KIND,),
        "runCommand": (EVERY_KIND,),
        "analysis": (EVERY_KIND, SWITCH),
        "exposeServices": (SWITCH,),
    },
    "AnalysisDefinition": {"defaultMetricProviderName": (FILES + "fan_out", OURS), "queries": (FOUR,)},
    "QueryDefinition": {
        "name": (FOUR,),
        "queryTemplate": (LOOKING_BACK, FOUR),
        "upperLimit": (
            ROLLOUTS + "an_analysis_value_equal_to_its_limit_passes",
            ROLLOUTS + "a_failing_analysis_puts_everything_back",
        ),
        "lowerLimit": (JUDGING + "a_lower_limit_is_the_least_that_passes",),
        "metricProviderName": (FOUR,),
        "noDataPolicy": (
            ROLLOUTS + "a_quiet_hour_is_waited_for_and_does_not_fail_the_canary",
            ROLLOUTS + "the_policies_for_no_data_are_pass_and_fail_too",
            GATES + "without_data_the_policy_hold_asks_a_person_instead_of_failing",
        ),
    },
    "WebhookDefinition": {
        "name": (FOUR,),
        "method": (CALL, FOUR),
        "uriTemplate": (CALL, FOUR),
        "networkMode": (FOUR,),  # One with each; both are called by the daemon.
        "agentIdentifier": (FOUR,),  # It names one, and is called all the same.
        "headers": (CALL, FOUR),
        "bodyTemplate": (CALL, FOUR),
        "retryCount": (
            HOOKS + "the_first_contact_is_repeated_as_often_as_the_step_says",
            CALLBACKS + "a_busy_side_is_called_again_as_the_same_call",
        ),
        "disableCallback": (CONTEXTS, JUDGING + "without_a_verdict_to_wait_for_an_answered_call_is_enough"),
        "signingSecret": (OURS, HOOKS + "a_signed_call_can_be_verified_by_whoever_has_the_key"),
        "timeout": (JUDGING + "a_verdict_that_does_not_come_in_time_is_a_bad_one",),
    },
    "Header": {"key": (CALL, FOUR), "value": (CALL, FOUR)},
    "BodyTemplate": {"inline": (CALL, FOUR)},
    "IngressNginx": {
        "ingressName": (NGINX + "only_what_leads_to_the_root_service_is_renamed_and_canaried",),
        "rootServiceName": (NGINX + "only_what_leads_to_the_root_service_is_renamed_and_canaried",),
        "canaryIngressName": (NGINX + "two_ingresses_of_one_service_move_together",),
        "canaryServiceName": (NGINX + "only_what_leads_to_the_root_service_is_renamed_and_canaried",),
        "stableServiceName": (NGINX + "only_what_leads_to_the_root_service_is_renamed_and_canaried",),
    },
    "Traefik": {
        "traefikServiceName": (TRAEFIK + "other_services_of_the_list_keep_their_part",),
        "rootServiceName": (TRAEFIK + "other_services_of_the_list_keep_their_part",),
        "canaryServiceName": (TRAEFIK + "other_services_of_the_list_keep_their_part",),
        "stableServiceName": (TRAEFIK + "other_services_of_the_list_keep_their_part",),
        "stickySession": (TRAEFIK + "clients_stay_by_a_cookie_of_this_rollout",),
    },
    "GatewayApi": {
        "httpRoute": (GATEWAY + "what_a_deploy_file_says_is_what_is_carried_out",),
        "grpcRoute": (GATEWAY + "what_a_deploy_file_says_is_what_is_carried_out",),
        "rootServiceName": (GATEWAY + "what_a_deploy_file_says_is_what_is_carried_out",),
        "canaryServiceName": (GATEWAY + "what_a_deploy_file_says_is_what_is_carried_out",),
        "stableServiceName": (GATEWAY + "what_a_deploy_file_says_is_what_is_carried_out",),
        "stickySession": (GATEWAY + "clients_stay_by_a_session_of_this_rollout",),
    },
    "GatewayRoute": {
        "name": (GATEWAY + "what_a_deploy_file_says_is_what_is_carried_out",),
        "ruleName": (GATEWAY + "what_a_deploy_file_says_is_what_is_carried_out",),
        "parents": (GATEWAY + "what_a_deploy_file_says_is_what_is_carried_out",),
        "hostnames": (GATEWAY + "what_a_deploy_file_says_is_what_is_carried_out",),
        "port": (GATEWAY + "what_a_deploy_file_says_is_what_is_carried_out",),
    },
    "GatewayParent": {
        "kind": (GATEWAY + "what_a_deploy_file_says_is_what_is_carried_out",),
        "name": (GATEWAY + "what_a_deploy_file_says_is_what_is_carried_out",),
        "namespace": (GATEWAY + "what_a_deploy_file_says_is_what_is_carried_out",),
        "sectionName": (GATEWAY + "what_a_deploy_file_says_is_what_is_carried_out",),
        "port": (GATEWAY + "what_a_deploy_file_says_is_what_is_carried_out",),
    },
    "Accepted": {
        "pointer": (CUSTOM + "a_weight_counts_when_the_objects_status_says_so",),
        "value": (CUSTOM + "a_weight_that_is_never_accepted_is_undone_with_what_the_object_says",),
    },
    "Custom": {
        "apiVersion": (CUSTOM + "an_object_is_made_from_its_template_and_removed_in_the_end",),
        "kind": (CUSTOM + "an_object_is_made_from_its_template_and_removed_in_the_end",),
        "name": (CUSTOM + "one_that_somebody_else_has_made_is_left_alone",),
        "rootServiceName": (CUSTOM + "an_object_is_made_from_its_template_and_removed_in_the_end",),
        "stableWeight": (CUSTOM + "a_coarse_total_comes_as_near_as_it_can_and_says_so",),
        "canaryWeight": (CUSTOM + "a_coarse_total_comes_as_near_as_it_can_and_says_so",),
        "total": (CUSTOM + "a_coarse_total_comes_as_near_as_it_can_and_says_so",),
        "stableService": (CUSTOM + "a_list_that_somebody_puts_in_another_order_is_not_written_to",),
        "canaryService": (CUSTOM + "a_list_that_somebody_puts_in_another_order_is_not_written_to",),
        "accepted": (CUSTOM + "a_weight_counts_when_the_objects_status_says_so",),
        "observedGeneration": (CUSTOM + "a_weight_counts_when_the_objects_status_says_so",),
        "template": (CUSTOM + "an_object_is_made_from_its_template_and_removed_in_the_end",),
        "canaryServiceName": (CUSTOM + "an_object_is_made_from_its_template_and_removed_in_the_end",),
        "stableServiceName": (CUSTOM + "an_object_is_made_from_its_template_and_removed_in_the_end",),
    },
    "EffectCheck": {
        "canaryRequests": (EFFECT_WINDOW,),
        "allRequests": (EFFECT_WINDOW,),
        "metricProviderName": (EFFECT_WINDOW,),
        "tolerance": ("tests/metrics/test_effects.py::test_a_share_beyond_it_is_not",),
        "leastRequests": ("tests/metrics/test_effects.py::test_what_cannot_be_told_is_undecided",),
        "interval": (EFFECT_WINDOW,),
        "timeout": (EFFECTS + "a_weight_without_an_effect_is_undone_with_that_reason_when_its_time_is_over",),
        "withoutTraffic": (EFFECTS + "without_traffic_the_file_says_whether_to_go_on",),
    },
    "TrafficManagement": {
        "gatewayApi": (GATEWAY + "what_a_deploy_file_says_is_what_is_carried_out",),
        "ingressNginx": (NGINX + "only_what_leads_to_the_root_service_is_renamed_and_canaried",),
        "traefik": (TRAEFIK + "other_services_of_the_list_keep_their_part",),
        "custom": (CUSTOM + "an_object_is_made_from_its_template_and_removed_in_the_end",),
        "effect": (EFFECTS + "a_step_ends_when_its_effect_was_seen_and_so_does_the_promotion",),
        "targets": (FOUR, OURS),
        "smi": (FOUR,),
        "istio": (FILES + "istio", OURS),
        "kubernetes": (SWITCH, FILES + "several_services"),
    },
    "Smi": {
        "rootServiceName": (FOUR,),
        "canaryServiceName": (FOUR, STORIES + "a_canary_service_that_the_user_named_is_borrowed_and_given_back"),
        "stableServiceName": (OURS,),
        "trafficSplitName": (FOUR,),
        "matches": (LINKERD + "a_split_of_some_requests_only",),
    },
    "Istio": {
        "virtualService": (FILES + "istio", OURS),
        "destinationRule": (FILES + "istio",),
        "stableServiceName": (OURS, ISTIO + "two_services_may_tell_the_versions_apart"),
        "canaryServiceName": (OURS, ISTIO + "two_services_may_tell_the_versions_apart"),
        "stickySession": (BY_HEADER, SHAPES + "a_client_that_was_drawn_once_stays"),
    },
    "StickySession": {
        "cookieName": (BY_HEADER, SHAPES + "a_client_that_was_drawn_once_stays"),
        "maxAge": (BY_HEADER, SHAPES + "a_client_that_was_drawn_once_stays"),
    },
    "VirtualService": {
        "name": (FILES + "istio",),
        "httpRouteName": (
            FILES + "istio",
            ISTIO + "two_routes_of_one_virtual_service_move_together_and_a_third_is_left_alone",
        ),
        "tlsRoutes": (OURS, ISTIO + "tls_and_tcp_routes_are_found_by_what_they_match"),
        "tcpRoutes": (OURS, ISTIO + "tls_and_tcp_routes_are_found_by_what_they_match"),
    },
    "TlsRoute": {
        "port": (ISTIO + "tls_and_tcp_routes_are_found_by_what_they_match",),
        "sniHosts": (ISTIO + "tls_and_tcp_routes_are_found_by_what_they_match",),
    },
    "TcpRoute": {"port": (ISTIO + "tls_and_tcp_routes_are_found_by_what_they_match",)},
    "DestinationRule": {
        "name": (FILES + "istio",),
        "activeSubsetName": (FILES + "istio",),
        "canarySubsetName": (FILES + "istio", ISTIO + "a_canary_subset_and_its_destination_may_be_there_already"),
    },
    "KubernetesServices": {
        "activeService": (SWITCH, FILES + "several_services"),
        "previewService": (FILES + "several_services", BLUE_GREEN + "a_preview_that_somebody_edits_is_noticed_too"),
    },
    "TargetFilter": {"includeTarget": (FIELDS + "the_files_own_filter_limits_a_run",)},
}


def test_every_field_names_its_tests_and_nothing_else_does() -> None:
    there = set(all_fields(DeployFile, set()))
    listed = {(model, field) for model, fields in SHOWN.items() for field in fields}

    assert (there - listed, listed - there) == (set(), set())
    assert all(tests for fields in SHOWN.values() for tests in fields.values())


@pytest.mark.parametrize("node", sorted({node for fields in SHOWN.values() for tests in fields.values() for node in tests}))
def test_the_test_is_there(node: str) -> None:
    path, _, name = node.partition("::")

    assert name in _tests_in(ROOT / path)


@cache
def _tests_in(path: Path) -> frozenset[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return frozenset(one.name for one in tree.body if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef))


@pytest.mark.parametrize("model", SHOWN)
def test_every_field_has_its_row_in_the_reference(model: str) -> None:
    heading = "Deploy file" if model == "DeployFile" else model
    _, _, rest = PAGE.read_text(encoding="utf-8").partition(f"\n## {heading}\n")
    section = rest.partition("\n## ")[0]
    rows = [line.split("|")[1].strip() for line in section.splitlines() if line.startswith("| `")]

    assert sorted(rows) == sorted(f"`{field}`" for field in SHOWN[model])
