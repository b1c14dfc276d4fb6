"""Every field of a deploy file, and the tests that show what it does.

The table is checked against the models: a field without a test, or a test that is gone, fails here. That a test shows what it
is named for is a matter of reading it.
"""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest

from strategies.deployfile import dump_schema

TESTS = Path(__file__).parent.parent
COMPILE = "strategies/test_deployfile_compile"
PUBLISHED = "published/test_files"
GATES = "engine/test_gates"
ISTIO = "rollouts/test_istio"
BLUE_GREEN = "rollouts/test_blue_green"
JOBS = "rollouts/test_jobs"
HOOKS = "hooks/test_webhooks"
JUDGING = "engine/test_judging"
MANIFESTS = "strategies/test_deployfile_manifests"

_OUTSIDE_ALONE = {
    "pause": f"{COMPILE}::test_pauses_and_approvals",
    "runWebhook": f"{PUBLISHED}::test_four_environments",
    "runJob": f"{JOBS}::test_conditions_before_the_deployment_may_be_jobs",
    "runCommand": "commands/test_running::test_a_program_that_ends_with_0_passes_and_what_it_said_is_kept",
    "analysis": f"{PUBLISHED}::test_four_environments",
}
_RUNS = {
    "interval": f"{GATES}::test_the_background_is_measured_on_its_grid_whatever_else_goes_on_and_not_made_up_for",
    "units": f"{COMPILE}::test_analysis_takes_its_queries_as_they_are_written",
    "queries": f"{PUBLISHED}::test_blue_green",
    "metricProviderName": f"{COMPILE}::test_a_query_falls_back_on_the_default_provider",
    "context": f"{COMPILE}::test_variables_that_do_not_exist_are_refused_where_they_are_used",
    "noDataBudget": "engine/test_rollouts::test_no_value_for_longer_than_the_patience_fails_with_the_reason",
    "failureBudget": f"{GATES}::test_a_budget_forgives_as_many_runs_as_it_says",
    "lookbackMethod": f"{JUDGING}::test_a_growing_window_begins_with_the_step_and_a_sliding_one_is_an_interval_long",
}

SHOWN: dict[str, dict[str, str]] = {
    "DeployFile": {
        "version": "strategies/test_deployfile_messages::test_a_bad_file_is_refused_with_exactly_these_messages",
        "kind": "strategies/test_deployfile_messages::test_a_bad_file_is_refused_with_exactly_these_messages",
        "application": f"{COMPILE}::test_the_command_line_wins_over_the_file",
        "description": f"{COMPILE}::test_the_plan_carries_what_there_was_to_say",
        "context": f"{COMPILE}::test_webhooks",
        "contextOverrides": f"{PUBLISHED}::test_blue_green",
        "deploymentConfig": f"{COMPILE}::test_settings_are_in_seconds",
        "targets": f"{PUBLISHED}::test_four_environments",
        "manifests": "strategies/test_target_objects::test_each_target_gets_its_own_manifests_and_its_own_namespace",
        "strategies": f"{PUBLISHED}::test_four_environments",
        "analysis": f"{COMPILE}::test_a_query_falls_back_on_the_default_provider",
        "webhooks": f"{PUBLISHED}::test_four_environments",
        "trafficManagement": f"{COMPILE}::test_traffic_entries_are_for_the_targets_that_they_name",
        "targetFilters": f"{COMPILE}::test_the_files_own_filters_hold_until_the_command_line_gives_others",
        "files": f"{MANIFESTS}::test_a_path_is_looked_for_beside_the_deploy_file",
    },
    "AnalysisDefinition": {
        "defaultMetricProviderName": f"{COMPILE}::test_a_query_falls_back_on_the_default_provider",
        "queries": f"{PUBLISHED}::test_blue_green",
    },
    "AnalysisStep": {
        **_RUNS,
        "numberOfJudgmentRuns": f"{PUBLISHED}::test_blue_green",
        "rollBackMode": f"{JUDGING}::test_where_the_mode_is_manual_a_person_has_the_last_word",
        "rollForwardMode": f"{JUDGING}::test_where_the_mode_is_manual_a_person_has_the_last_word",
        "abortOnFailedJudgment": f"{JUDGING}::test_the_first_bad_run_ends_an_analysis_that_says_so",
    },
    "BackgroundAnalysis": {
        **_RUNS,
        "noDataBudget": f"{GATES}::test_a_background_without_data_holds_the_rollout_until_there_is_data_again",
    },
    "BlueGreen": {
        "redirectTrafficAfter": f"{PUBLISHED}::test_blue_green",
        "shutDownOldVersionAfter": f"{BLUE_GREEN}::test_a_switch_goes_to_tested_pods_and_the_old_version_waits_until_told",
        "backgroundAnalysis": f"{COMPILE}::test_what_is_measured_in_the_background_has_no_end",
        "activeService": f"{COMPILE}::test_a_switch_without_a_preview_and_as_older_files_write_it",
        "previewService": f"{COMPILE}::test_a_switch_without_a_preview_and_as_older_files_write_it",
    },
    "BlueGreenCondition": {**_OUTSIDE_ALONE, "exposeServices": f"{PUBLISHED}::test_blue_green"},
    "BodyTemplate": {"inline": f"{PUBLISHED}::test_four_environments"},
    "Canary": {
        "steps": f"{PUBLISHED}::test_our_additions",
        "backgroundAnalysis": f"{GATES}::test_the_background_ends_a_rollout_in_the_middle_of_a_pause",
    },
    "CanaryStep": {
        **_OUTSIDE_ALONE,
        "exposeServices": "previews/test_previews::test_a_preview_shows_its_version_and_nobody_elses",
        "setWeight": f"{PUBLISHED}::test_our_additions",
    },
    "Condition": _OUTSIDE_ALONE,
    "Constraints": {
        "dependsOn": "engine/test_rollouts::test_targets_wait_for_those_they_depend_on_and_are_cancelled_with_them",
        "beforeDeployment": f"{GATES}::test_nothing_is_done_before_the_conditions_before_it_hold",
        "afterDeployment": f"{GATES}::test_what_fails_after_a_deployment_leaves_it_and_cancels_what_depends_on_it",
        "onFailure": f"{GATES}::test_what_fails_after_a_deployment_brings_the_old_version_back_where_the_file_says_so",
    },
    "DeploymentConfig": {
        "timeout": "engine/test_rollouts::test_pods_that_never_become_ready_end_the_rollout_with_what_is_wrong",
        "keepDeploymentObject": "strategies/test_deployfile_messages::test_an_accepted_file_says_exactly_this",
        "ifDeploymentInProgress": "engine/test_queue::test_a_second_start_is_refused_unless_the_file_says_otherwise",
        "settle": f"{PUBLISHED}::test_our_additions",
        "freeze": "rollouts/test_stories::test_a_late_freeze_leaves_the_deployment_untouched_until_the_hand_over",
        "snapshotConfig": "strategies/test_config_snapshots::test_a_deploy_file_asks_for_it",
    },
    "DestinationRule": {
        "name": f"{COMPILE}::test_a_virtual_service_by_default_names",
        "activeSubsetName": f"{COMPILE}::test_each_list_of_destinations_of_a_virtual_service_is_a_route",
        "canarySubsetName": f"{ISTIO}::test_a_canary_subset_and_its_destination_may_be_there_already",
    },
    "Duration": {
        "duration": f"{COMPILE}::test_settings_are_in_seconds",
        "unit": f"{COMPILE}::test_settings_are_in_seconds",
    },
    "ExposeServicesStep": {
        "services": "previews/test_previews::test_a_preview_shows_its_version_and_nobody_elses",
        "ttl": "previews/test_previews::test_a_preview_ends_with_its_time_and_with_its_rollout",
    },
    "Header": {
        "key": f"{PUBLISHED}::test_four_environments",
        "value": f"{PUBLISHED}::test_four_environments",
    },
    "IfDeploymentInProgress": {"strategy": "engine/test_queue::test_one_release_waits_and_a_newer_one_takes_its_place"},
    "Istio": {
        "virtualService": f"{PUBLISHED}::test_istio",
        "destinationRule": f"{PUBLISHED}::test_istio",
        "stableServiceName": f"{ISTIO}::test_two_services_may_tell_the_versions_apart",
        "canaryServiceName": f"{ISTIO}::test_two_services_may_tell_the_versions_apart",
    },
    "KubernetesServices": {
        "activeService": f"{PUBLISHED}::test_blue_green",
        "previewService": f"{BLUE_GREEN}::test_a_preview_that_somebody_edits_is_noticed_too",
    },
    "ManifestSource": {
        "path": f"{MANIFESTS}::test_a_path_is_looked_for_beside_the_deploy_file",
        "inline": f"{MANIFESTS}::test_inline_manifests_are_located_in_the_deploy_file",
        "targets": "strategies/test_target_objects::test_each_target_gets_its_own_manifests_and_its_own_namespace",
    },
    "PauseStep": {
        "duration": "engine/test_restart::test_a_pause_of_60_s_that_had_run_40_s_has_20_s_left_in_each_of_200_rollouts",
        "unit": f"{COMPILE}::test_pauses_and_approvals",
        "untilApproved": "engine/test_rollouts::test_an_approval_lets_the_rollout_go_on_and_a_rejection_undoes_it",
        "requiresRoles": f"{PUBLISHED}::test_four_environments",
        "approvalExpiration": "engine/test_rollouts::test_an_approval_expires",
        "approvalReminder": f"{GATES}::test_an_approval_is_reminded_of_before_it_expires",
    },
    "QueryDefinition": {
        "name": f"{COMPILE}::test_analysis_takes_its_queries_as_they_are_written",
        "queryTemplate": f"{PUBLISHED}::test_four_environments",
        "upperLimit": f"{JUDGING}::test_a_value_equal_to_a_limit_is_within_it",
        "lowerLimit": f"{JUDGING}::test_a_value_equal_to_a_limit_is_within_it",
        "metricProviderName": f"{COMPILE}::test_a_query_falls_back_on_the_default_provider",
        "noDataPolicy": "engine/test_rollouts::test_the_policies_for_no_data_are_pass_and_fail_too",
    },
    "RunCommandStep": {
        "name": "commands/test_running::test_a_command_that_the_settings_do_not_name",
        "timeout": "commands/test_running::test_a_program_that_takes_too_long_is_stopped_and_what_it_said_is_kept",
        "context": "commands/test_running::test_it_is_told_of_the_rollout_in_its_environment_and_of_the_daemon_nothing",
    },
    "RunJobStep": {
        "name": f"{JOBS}::test_jobs_of_several_tests_at_once_have_names_of_their_own",
        "path": f"{COMPILE}::test_a_jobs_file_travels_with_the_deploy_file",
        "inline": f"{COMPILE}::test_tests_bring_their_job_or_name_a_command",
        "timeout": f"{JOBS}::test_a_job_that_does_not_end_is_given_up_and_what_it_said_is_kept",
        "context": f"{JOBS}::test_a_job_is_the_files_with_our_marks_our_limits_and_the_values_of_variables",
    },
    "RunWebhookStep": {
        "name": f"{COMPILE}::test_webhooks",
        "context": f"{HOOKS}::test_the_call_carries_what_the_file_asks_for",
    },
    "SetWeightStep": {"weight": f"{PUBLISHED}::test_our_additions"},
    "Smi": {
        "rootServiceName": f"{COMPILE}::test_a_traffic_split_by_default_names",
        "canaryServiceName": "rollouts/test_stories::test_a_canary_service_that_the_user_named_is_borrowed_and_given_back",
        "stableServiceName": f"{COMPILE}::test_a_traffic_split_by_names_of_its_own",
        "trafficSplitName": f"{COMPILE}::test_a_traffic_split_by_names_of_its_own",
    },
    "StrategyDefinition": {
        "canary": f"{PUBLISHED}::test_four_environments",
        "blueGreen": f"{PUBLISHED}::test_blue_green",
    },
    "Target": {
        "account": f"{PUBLISHED}::test_blue_green",
        "namespace": f"{COMPILE}::test_the_targets_namespace_takes_the_place_of_all_others_where_there_can_be_one",
        "strategy": f"{PUBLISHED}::test_four_environments",
        "constraints": f"{PUBLISHED}::test_four_environments",
    },
    "TargetFilter": {
        "includeTarget": f"{COMPILE}::test_the_files_own_filters_hold_until_the_command_line_gives_others"
    },
    "TcpRoute": {"port": f"{ISTIO}::test_tls_and_tcp_routes_are_found_by_what_they_match"},
    "TlsRoute": {
        "port": f"{ISTIO}::test_tls_and_tcp_routes_are_found_by_what_they_match",
        "sniHosts": f"{ISTIO}::test_tls_and_tcp_routes_are_found_by_what_they_match",
    },
    "TrafficManagement": {
        "targets": f"{COMPILE}::test_traffic_entries_are_for_the_targets_that_they_name",
        "smi": f"{PUBLISHED}::test_our_additions",
        "istio": f"{PUBLISHED}::test_istio",
        "kubernetes": f"{PUBLISHED}::test_blue_green",
    },
    "VirtualService": {
        "name": f"{PUBLISHED}::test_istio",
        "httpRouteName": f"{COMPILE}::test_each_list_of_destinations_of_a_virtual_service_is_a_route",
        "tlsRoutes": f"{PUBLISHED}::test_our_additions",
        "tcpRoutes": f"{PUBLISHED}::test_our_additions",
    },
    "WebhookDefinition": {
        "name": f"{COMPILE}::test_webhooks",
        "method": f"{PUBLISHED}::test_four_environments",
        "uriTemplate": f"{HOOKS}::test_the_call_carries_what_the_file_asks_for",
        "networkMode": "strategies/test_deployfile_messages::test_an_accepted_file_says_exactly_this",
        "agentIdentifier": "strategies/test_deployfile_messages::test_an_accepted_file_says_exactly_this",
        "headers": f"{HOOKS}::test_the_call_carries_what_the_file_asks_for",
        "bodyTemplate": f"{PUBLISHED}::test_four_environments",
        "retryCount": f"{HOOKS}::test_the_first_contact_is_repeated_as_often_as_the_step_says",
        "disableCallback": f"{HOOKS}::test_without_a_callback_no_public_address_is_needed",
        "signingSecret": f"{PUBLISHED}::test_our_additions",
        "timeout": f"{COMPILE}::test_webhooks",
    },
}


@cache
def names_in(module: str) -> frozenset[str]:
    tree = ast.parse((TESTS / f"{module}.py").read_text(encoding="utf-8"))
    return frozenset(one.name for one in tree.body if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef))


def test_no_field_is_without_a_test_that_shows_what_it_does() -> None:
    schema = dump_schema()
    objects = {"DeployFile": schema, **schema["$defs"]}
    fields = {(name, field) for name, one in objects.items() for field in one.get("properties", {})}
    assert fields == {(name, field) for name, shown in SHOWN.items() for field in shown}


@pytest.mark.parametrize("shown", sorted({one for fields in SHOWN.values() for one in fields.values()}))
def test_each_of_these_tests_is_there(shown: str) -> None:
    module, _, name = shown.partition("::")
    assert name in names_in(module)
