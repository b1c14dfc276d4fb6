"""The deploy file of CD-as-a-Service, with our additions, as pydantic models: every field, its type and what it
means.

The models are the one description of the format: the JSON Schema and `docs/deploy-file.md` are generated from them.
They know nothing of what one part means to another; that is checked on the tree of the file, by
`strategies.reference_checks` and others.
"""

from __future__ import annotations

from typing import Any

from pydantic import ConfigDict, Field

from strategies.field_types import (
    ADDITION,
    Context,
    DeployModel,
    Duration,
    FreezeWord,
    InProgressWord,
    Kind,
    KindWord,
    KubernetesName,
    Limit,
    Method,
    MethodWord,
    Name,
    NetworkMode,
    NetworkModeWord,
    NoData,
    NoDataWord,
    OnDriftChoice,
    OnDriftWord,
    OnFailureChoice,
    OnFailureWord,
    Text,
    UrlTemplate,
    deprecated,
)
from strategies.step_models import Condition, StrategyDefinition
from strategies.traffic_models import TrafficManagement


class IfDeploymentInProgress(DeployModel):
    """What happens when the application is already being rolled out."""

    strategy: InProgressWord = Field(
        description=(
            "The answer to a second start: `reject` refuses it; `enqueueOne` lets it wait until the running one has ended, and a "
            "newer one takes the place of one that waits; `replace` (ours) has the running one put back, and begins then."
        ),
        examples=["reject"],
    )


class DeploymentConfig(DeployModel):
    """Settings for every target."""

    timeout: Duration | None = Field(
        default=None,
        description="How long pods may take to become ready before the rollout is undone; 60 seconds or more. Without "
        "it, 30 minutes.",
    )
    keep_deployment_object: bool | None = Field(
        default=None,
        description=(
            "CD-as-a-Service turned Deployments into ReplicaSets unless this was `true`. Headgate always keeps the "
            "Deployment, so both values mean the same."
        ),
    )
    if_deployment_in_progress: IfDeploymentInProgress | None = Field(
        default=None, description="What happens when the application is already being rolled out."
    )
    settle: Duration | None = Field(
        default=None,
        description=(
            "How long a version keeps its pods after its share was read back as 0, because proxies may lag behind. "
            "Without it, 5 seconds. After its API server was away, a rollout waits for the proxies besides, for up to 70 seconds."
        ),
        json_schema_extra=ADDITION,
    )
    freeze: FreezeWord | None = Field(
        default=None,
        description=(
            "When the Deployment is paused. `fromStart` (the default): before the new version exists, so that nobody's "
            "edit or restart can take the pods from under the old version's share. `atHandOver`: not before the new "
            "version takes over, so that a rollout that is undone has not touched the Deployment at all; if somebody "
            "edits it in the meantime, its controller acts on that. Without a mesh it is always `fromStart`."
        ),
        json_schema_extra=ADDITION,
    )
    on_drift: OnDriftWord = Field(
        default=OnDriftChoice.HOLD,
        description=(
            "What follows when somebody else edits or removes a traffic object in the middle of a rollout. `hold`: it stands "
            "still, says what to put back, and a person decides. `reassert`: it is put back as it was ordered, `reassertLimit` "
            "times in all; then somebody fights for it, and it is held. `abort`: the rollout is undone. An edit of the "
            "Deployment, which Headgate does not write over, is held under the first two."
        ),
        json_schema_extra=ADDITION,
    )
    reassert_limit: int = Field(
        default=3,
        ge=1,
        le=100,
        description="Only with `onDrift: reassert`: how often traffic objects are put back in one rollout.",
        json_schema_extra=ADDITION,
    )
    snapshot_config: bool | None = Field(
        default=None,
        description=(
            "Whether each version of a Deployment reads its own copies of its ConfigMaps and Secrets, so that a pod of the "
            "old version that restarts in the middle of a rollout reads what it read before. Those among the manifests that "
            "the pod template refers to (`env`, `envFrom`, volumes, projected volumes) are applied as `<name>-<hash of the "
            "content>`, immutable, and the template refers to these; a change of the configuration alone is then a new version "
            "with a rollout of its own. Copies that no ReplicaSet refers to any more are removed when a rollout has succeeded; "
            "one that is undone removes those that it made. Without it, no."
        ),
        json_schema_extra=ADDITION,
    )


class Constraints(DeployModel):
    """What has to happen before and after a target is deployed."""

    depends_on: list[Name] | None = Field(
        default=None,
        min_length=1,
        description="Targets that must have succeeded first. Targets that wait for the same run at the same time.",
        examples=[["staging"]],
    )
    before_deployment: list[Condition] | None = Field(
        default=None,
        description="Conditions before this target is deployed; they run at the same time. If one fails, neither it "
        "nor later targets are.",
    )
    after_deployment: list[Condition] | None = Field(
        default=None,
        description=(
            "Conditions before this target counts as done; they run at the same time. If one fails, later targets are "
            "not deployed, but this one is not rolled back unless `onFailure` says so."
        ),
    )
    on_failure: OnFailureWord = Field(
        default=OnFailureChoice.LEAVE,
        description=(
            "What follows when one of `afterDeployment` fails: `leave` lets the new version serve, `rollback` brings the version "
            "before back. With an `analysis` in `afterDeployment` that is a bake time."
        ),
        json_schema_extra=ADDITION,
    )


class Target(DeployModel):
    """One place to deploy to: a cluster account and a namespace, which no other target of the file may share."""

    account: Name = Field(
        description="The cluster account to deploy to, as the daemon's configuration names it.", examples=["prod-west"]
    )
    namespace: KubernetesName = Field(
        description="The namespace to deploy to; it takes the place of the namespaces in the manifests.",
        examples=["harbour"],
    )
    strategy: Name | None = Field(
        default=None,
        description="The name of one of the file's `strategies`. Needed as soon as the manifests hold a Deployment.",
        examples=["gentle"],
    )
    constraints: Constraints | None = Field(
        default=None, description="What has to happen before and after this target is deployed."
    )


class ManifestSource(DeployModel):
    """Manifests to deploy: exactly one of `path` and `inline`."""

    model_config = ConfigDict(json_schema_extra={"oneOf": [{"required": ["path"]}, {"required": ["inline"]}]})

    path: Text | None = Field(
        default=None,
        description=(
            "A YAML file, or a directory whose .yaml and .yml files are read, also those further down. It is looked "
            "for beside the deploy file first, then in the working directory. An address (https://...) is fetched "
            "whenever the file is read, and what was read is what is deployed."
        ),
        examples=["manifests/web.yaml"],
    )
    inline: Text | None = Field(default=None, description="The manifests themselves, as a block of text.")
    targets: list[Name] | None = Field(
        default=None,
        min_length=1,
        description="The targets that get these manifests. Without it, all.",
        examples=[["staging"]],
    )


class QueryDefinition(DeployModel):
    """One measurement and the limits that it must keep: `lowerLimit`, `upperLimit` or both."""

    model_config = ConfigDict(json_schema_extra={"anyOf": [{"required": ["upperLimit"]}, {"required": ["lowerLimit"]}]})

    name: Name = Field(description="The name by which analysis steps call the query.", examples=["error-rate"])
    query_template: Text = Field(
        description="The query in the language of its provider, with `{{armory...}}` and `{{context...}}` variables; "
        "it must yield one number.",
        examples=['ratio(requests_total{replicaset="{{armory.replicaSetName}}",code="5xx"}, requests_total)'],
    )
    upper_limit: Limit | None = Field(default=None, description="The most that the mean may be.", examples=[0.01])
    lower_limit: Limit | None = Field(default=None, description="The least that the mean may be.", examples=[0])
    metric_provider_name: Name | None = Field(
        default=None,
        description="The metric provider of this query. Without it, the step's, and then "
        "`analysis.defaultMetricProviderName`.",
        examples=["prometheus"],
    )
    no_data_policy: NoDataWord = Field(
        default=NoData.EXTEND,
        description=(
            "What a run without a usable value means: `extend` measures again, for as long as the step's `noDataBudget` "
            "lasts, and then fails; `hold` does the same, and then a person decides; `pass` lets the run count; `fail` fails the "
            "analysis at once."
        ),
        json_schema_extra=ADDITION,
    )


class AnalysisDefinition(DeployModel):
    """The queries that analysis steps use."""

    default_metric_provider_name: Name | None = Field(
        default=None,
        description="The metric provider of queries for which nothing else names one.",
        examples=["prometheus"],
    )
    queries: list[QueryDefinition] = Field(description="The queries, by name.")


class Header(DeployModel):
    """One header of a webhook's request."""

    key: Name = Field(description="The name of the header.", examples=["Authorization"])
    value: str = Field(
        description="The value of the header; variables are allowed.", examples=["Bearer {{secrets.token}}"]
    )


class BodyTemplate(DeployModel):
    """The body of a webhook's request."""

    inline: str = Field(
        description="The body's text; variables are allowed.",
        examples=['{"callback": "{{armory.callbackUri}}/callback"}'],
    )


class WebhookDefinition(DeployModel):
    """A call to somewhere else, which answers with a verdict by calling back."""

    name: Name = Field(
        description="The name by which `runWebhook` steps call the webhook.", examples=["integration-tests"]
    )
    method: MethodWord = Field(default=Method.POST, description="The HTTP method.", examples=["POST"])
    uri_template: UrlTemplate = Field(
        description="The address to call; variables are allowed.",
        examples=["https://ci.example.com/run/{{armory.deploymentId}}"],
    )
    network_mode: NetworkModeWord = Field(
        default=NetworkMode.DIRECT,
        description="`direct`, or `remoteNetworkAgent`, which CD-as-a-Service used for a call through the agent of a cluster. "
        "Headgate has no agents: both mean that the daemon calls the address.",
    )
    agent_identifier: Name | None = Field(
        default=None,
        description="Only with `remoteNetworkAgent`: the agent that CD-as-a-Service used. It means nothing here.",
    )
    headers: list[Header] | None = Field(default=None, description="Headers of the request.")
    body_template: BodyTemplate | None = Field(default=None, description="The body of the request.")
    retry_count: int = Field(
        default=0, ge=0, le=100, description="How often the first contact is tried again when it fails.", examples=[3]
    )
    disable_callback: bool = Field(
        default=False, description="`true` goes on as soon as the call was answered, without waiting for a verdict."
    )
    signing_secret: Name | None = Field(
        default=None,
        description="The name of one of the daemon's `secrets`. With it the request has a header `X-Headgate-Signature`, by "
        "which the called side knows that it comes from Headgate and is fresh (docs/tests-and-webhooks.md).",
        examples=["hook-key"],
        json_schema_extra=ADDITION,
    )
    timeout: Duration | None = Field(
        default=None, description="How long to wait for the verdict. Without it, 24 hours.", json_schema_extra=ADDITION
    )


class TargetFilter(DeployModel):
    """One target to deploy."""

    include_target: Name = Field(description="The name of the target.", examples=["staging"])


class DeployFile(DeployModel):
    """What to deploy, where to, and how: one application, its targets and the strategies that they use."""

    version: str = Field(default="v1", description="The version of the format.", examples=["v1"])
    kind: KindWord = Field(
        default=Kind.KUBERNETES,
        description="What is deployed. CD-as-a-Service also knew `lambda`, which Headgate does not do.",
        examples=["kubernetes"],
    )
    application: Name = Field(
        description="The name of the application. One rollout of an application runs at a time.", examples=["harbour"]
    )
    description: str | None = Field(default=None, description="What this release is about, for people.")
    context: Context | None = Field(
        default=None,
        description="Variables for analysis and webhooks, written `{{context.name}}`. Those of the command line win.",
        examples=[{"region": "eu"}],
    )
    context_overrides: Context | None = Field(
        default=None, description="Variables that win over `context`.", json_schema_extra=deprecated("context")
    )
    deployment_config: DeploymentConfig | None = Field(default=None, description="Settings for every target.")
    targets: dict[str, Target] = Field(min_length=1, description="The targets, by name; at least one.")
    manifests: list[ManifestSource] = Field(min_length=1, description="The manifests to deploy; at least one entry.")
    strategies: dict[str, StrategyDefinition] | None = Field(default=None, description="The strategies, by name.")
    analysis: AnalysisDefinition | None = Field(default=None, description="The queries that analysis steps use.")
    webhooks: list[WebhookDefinition] | None = Field(default=None, description="The webhooks that steps call.")
    traffic_management: list[TrafficManagement] | None = Field(
        default=None, description="How traffic is moved. Without it, by the number of pods of each version."
    )
    target_filters: list[TargetFilter] | None = Field(
        default=None,
        min_length=1,
        description="Limits a run to these targets. Those of the command line take their place.",
    )
    files: dict[str, Any] | None = Field(
        default=None,
        description="Contents of manifests, which the CD-as-a-Service client filled in. Ignored.",
        json_schema_extra=deprecated("manifests"),
    )
