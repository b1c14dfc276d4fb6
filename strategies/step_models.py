"""Strategies and their steps, as a deploy file writes them. The shape only; what the parts mean together is checked
elsewhere.

A step is an object with exactly one key, its kind. The models make every kind optional, because that gives better
messages than a union would; `strategies.step_checks` counts them.
"""

from __future__ import annotations

from typing import Any

from pydantic import ConfigDict, Field

from strategies.field_types import (
    ADDITION,
    Context,
    DeployModel,
    Duration,
    LookbackMethod,
    LookbackWord,
    Name,
    RollMode,
    RollModeWord,
    ServiceName,
    Text,
    UnitWord,
    Weight,
    WholeAmount,
    deprecated,
)
from strategies.traffic_step_models import SetHeaderRouteStep, SetMirrorStep

_ONE_KEY: dict[str, Any] = {"minProperties": 1, "maxProperties": 1}


class SetWeightStep(DeployModel):
    """Moves this share of the traffic to the new version; it stays there until the next `setWeight` or the end."""

    weight: Weight = Field(
        description=(
            "The new version's share of the traffic, in percent, 0 to 100. Shares should rise from step to step, and "
            "after the last step the share goes to 100 by itself. CD-as-a-Service took whole numbers only; here at "
            'most two decimals are allowed (0.01 is the finest), also as text with a percent sign ("12.5%").'
        ),
        examples=[25, 0.1, "12.5%"],
        json_schema_extra={"x-headgate-addition": "fractions and percent signs"},
    )


class PauseStep(DeployModel):
    """Waits: either for a time (`duration` and `unit`), or for a person (`untilApproved: true`)."""

    duration: WholeAmount | None = Field(
        default=None,
        description="How long to wait, in `unit`. A pause before the first weight waits at weight 0.",
        examples=[30],
    )
    unit: UnitWord | None = Field(
        default=None, description="The unit of `duration`: `seconds`, `minutes` or `hours`.", examples=["seconds"]
    )
    until_approved: bool | None = Field(
        default=None,
        description="`true` waits until a person approves (go on) or refuses (roll back).",
        examples=[True],
    )
    requires_roles: list[Name] | None = Field(
        default=None,
        description="Only with `untilApproved`: any one of these roles may answer. Without it, anybody with access "
        "may.",
        examples=[["Release Manager"]],
    )
    approval_expiration: Duration | None = Field(
        default=None,
        description="Only with `untilApproved`: how long to wait for the answer before the rollout is undone.",
    )
    approval_reminder: Duration | None = Field(
        default=None,
        description="Only with `untilApproved`: when the journal says once more that an answer is awaited.",
        json_schema_extra=ADDITION,
    )


class _Measuring(DeployModel):
    interval: float = Field(
        ge=1,
        allow_inf_nan=False,
        description="The time between two runs and what one run covers, in `units`; 1 or more.",
        examples=[30],
    )
    units: UnitWord = Field(
        description="The unit of `interval`: `seconds`, `minutes` or `hours`.", examples=["seconds"]
    )
    queries: list[Name] = Field(
        min_length=1,
        description="The names of the queries under `analysis.queries`; all must pass.",
        examples=[["error-rate"]],
    )
    metric_provider_name: Name | None = Field(
        default=None,
        description=(
            "The metric provider of the queries that name none themselves. Without it, "
            "`analysis.defaultMetricProviderName`."
        ),
        examples=["prometheus"],
    )
    context: Context | None = Field(
        default=None,
        description="Variables of this step, written `{{context.name}}` in a query.",
        examples=[{"region": "eu"}],
    )
    no_data_budget: Duration | None = Field(
        default=None,
        description="How long runs without a usable value may be repeated in all, under the `noDataPolicy` `extend` and `hold`. "
        "Without it, 10 minutes.",
        json_schema_extra=ADDITION,
    )


class AnalysisStep(_Measuring):
    """Measures, and compares the mean of all runs of each query with the query's limits; equality passes."""

    number_of_judgment_runs: int = Field(
        ge=1, le=10_000, description="The number of times that each query is measured, 1 or more.", examples=[3]
    )
    roll_back_mode: RollModeWord = Field(
        default=RollMode.AUTOMATIC, description="`manual` asks a person before a failed analysis rolls back."
    )
    roll_forward_mode: RollModeWord = Field(
        default=RollMode.AUTOMATIC, description="`manual` asks a person before a passed analysis goes on."
    )
    lookback_method: LookbackWord = Field(
        default=LookbackMethod.GROWING,
        description="`growing` measures from the start of the step until now, `sliding` the last interval only.",
    )
    abort_on_failed_judgment: bool = Field(
        default=False,
        description="`true` fails at the first run outside of the limits instead of judging the mean of all runs.",
    )
    failure_budget: int | None = Field(
        default=None,
        ge=0,
        description="Judges each run by itself instead of the mean: so many may be outside of the limits. Spikes that a mean "
        "hides are seen.",
        examples=[1],
        json_schema_extra=ADDITION,
    )


class BackgroundAnalysis(_Measuring):
    """Measured from the first step until the new version has taken over, beside everything else. The rollout is undone as soon as
    more runs were outside of the limits than the budget allows."""

    failure_budget: int = Field(
        default=0, ge=0, description="How many runs may be outside of the limits.", examples=[2]
    )
    lookback_method: LookbackWord = Field(
        default=LookbackMethod.SLIDING,
        description="`sliding` measures the last interval only, `growing` from the first step until now.",
    )


class RunWebhookStep(DeployModel):
    """Calls a webhook and waits for its verdict."""

    name: Name = Field(description="The name of one of the file's `webhooks`.", examples=["integration-tests"])
    context: Context | None = Field(
        default=None,
        description="Variables of this step, written `{{context.name}}` in the webhook's templates.",
        examples=[{"suite": "smoke"}],
    )


class RunJobStep(DeployModel):
    """Runs a test as a Kubernetes Job in the target's namespace; it passes when the Job completes. What its pods print is kept
    in the journal, and the Job is removed again. Exactly one of `path` and `inline`."""

    model_config = ConfigDict(json_schema_extra={"oneOf": [{"required": ["path"]}, {"required": ["inline"]}]})

    name: Name = Field(description="What the test is called, for people.", examples=["smoke"])
    path: Text | None = Field(
        default=None,
        description="A YAML file with the Job (batch/v1), looked for, or fetched, as `manifests[].path` is.",
        examples=["tests/smoke-job.yaml"],
    )
    inline: Text | None = Field(default=None, description="The Job itself, as a block of text.")
    timeout: Duration | None = Field(default=None, description="How long it may take; 1 second or more. Without it, an hour.")
    context: Context | None = Field(
        default=None,
        description="Variables of this test, written `{{context.name}}` in texts of the Job.",
        examples=[{"suite": "smoke"}],
    )


class RunCommandStep(DeployModel):
    """Runs a program on the management host as a test; it passes when the program ends with 0. Which programs there are is
    said by `commands` in the daemon's settings; a deploy file cannot bring one."""

    name: Name = Field(description="The name of one of the `commands` in the daemon's settings.", examples=["smoke"])
    timeout: Duration | None = Field(default=None, description="How long it may take; 1 second or more. Without it, an hour.")
    context: Context | None = Field(
        default=None,
        description="Variables of this test; the program finds them in its environment as `HEADGATE_CONTEXT_<NAME>`.",
        examples=[{"suite": "smoke"}],
    )


class ExposeServicesStep(DeployModel):
    """Gives Services a temporary preview address: `{{armory.preview.<service>}}` in the webhooks, queries and Jobs of later
    steps. It leads through the API server to that one Service, and needs `publicUrl` in the daemon's settings."""

    services: list[ServiceName] = Field(
        min_length=1, description="The Services to expose, each with one HTTP port.", examples=[["web-canary"]]
    )
    ttl: Duration | None = Field(
        default=None, description="How long the address lives: 1 minute to 24 hours. Without it, 5 minutes."
    )


class _PauseOrWebhook(DeployModel):
    model_config = ConfigDict(json_schema_extra=_ONE_KEY)

    pause: PauseStep | None = Field(default=None, description="Wait for a time or for a person.")
    run_webhook: RunWebhookStep | None = Field(default=None, description="Call a webhook and wait for its verdict.")
    run_job: RunJobStep | None = Field(
        default=None, description="Run a Job in the cluster and wait for its end.", json_schema_extra=ADDITION
    )
    run_command: RunCommandStep | None = Field(
        default=None, description="Run a program on the management host and wait for its end.", json_schema_extra=ADDITION
    )


class Condition(_PauseOrWebhook):
    """One condition before or after a deployment: exactly one of these keys."""

    analysis: AnalysisStep | None = Field(default=None, description="Measure and judge.")


class BlueGreenCondition(Condition):
    """One condition of a blue/green strategy: exactly one of these keys."""

    expose_services: ExposeServicesStep | None = Field(
        default=None, description="Give Services a preview address."
    )


class CanaryStep(BlueGreenCondition):
    """One step of a canary: exactly one of these keys."""

    set_weight: SetWeightStep | None = Field(default=None, description="Move traffic to the new version.")
    set_header_route: SetHeaderRouteStep | None = Field(
        default=None,
        description="Send requests with a certain header, cookie, path or method to the new version.",
        json_schema_extra=ADDITION,
    )
    set_mirror: SetMirrorStep | None = Field(
        default=None, description="Send copies of requests to the new version.", json_schema_extra=ADDITION
    )


_BACKGROUND = "What is measured all the time, beside the steps."


class Canary(DeployModel):
    """Moves traffic to the new version step by step, strictly in order. The last step is followed by 100 % by
    itself."""

    steps: list[CanaryStep] = Field(
        description="The steps, in order. With an empty list the traffic goes to 100 % as soon as the new version is "
        "available.",
        examples=[[{"setWeight": {"weight": 25}}, {"pause": {"duration": 30, "unit": "seconds"}}]],
    )
    background_analysis: list[BackgroundAnalysis] | None = Field(
        default=None, description=_BACKGROUND, json_schema_extra=ADDITION
    )


class BlueGreen(DeployModel):
    """Switches all traffic at once. The conditions of each list run at the same time, and all must succeed."""

    redirect_traffic_after: list[BlueGreenCondition] | None = Field(
        default=None, description="Conditions before the traffic goes to the new version."
    )
    shut_down_old_version_after: list[BlueGreenCondition] | None = Field(
        default=None, description="Conditions before the old version is removed."
    )
    background_analysis: list[BackgroundAnalysis] | None = Field(
        default=None, description=_BACKGROUND, json_schema_extra=ADDITION
    )
    active_service: ServiceName | None = Field(
        default=None,
        description="The Service that clients call.",
        json_schema_extra=deprecated("trafficManagement[].kubernetes[].activeService"),
    )
    preview_service: ServiceName | None = Field(
        default=None,
        description="A Service that shows the new version only.",
        json_schema_extra=deprecated("trafficManagement[].kubernetes[].previewService"),
    )


class StrategyDefinition(DeployModel):
    """One strategy: exactly one of these keys."""

    model_config = ConfigDict(json_schema_extra=_ONE_KEY)

    canary: Canary | None = Field(default=None, description="Move traffic step by step.")
    blue_green: BlueGreen | None = Field(default=None, description="Switch all traffic at once.")
