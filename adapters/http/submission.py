"""From a deploy file to the bundle that is submitted, and from a bundle to a plan: the daemon reads the deploy file again,
whoever has read it before, and adds what only it knows: which accounts, metric providers, commands and secrets there are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import anyio.to_thread

from adapters.access import TargetKey, Verb
from adapters.http.authority import require_deploy
from adapters.http.bodies import ErrorCode, SourceBody, SubmitBody
from adapters.http.failures import ApiFailure
from adapters.http.identity import Caller
from adapters.http.known_names import KnownNames
from engine.gates import all_ids, step_of
from engine.model import Analysis, ReleasePlan, RunCommand, Webhook
from strategies.deployfile import (
    LoadedFile,
    Problem,
    Problems,
    SourceText,
    compile_release,
    parse_deploy_text,
    read_from_bundle,
)
from strategies.places import Place
from strategies.step_checks import all_steps
from strategies.suggestions import quote, suggest
from strategies.yaml_document import Limits, Mark, compose
from strategies.yaml_scalars import Dialect

_LIMITS = Limits(bytes=1 << 20, values=20_000)


def pack(
    loaded: LoadedFile,
    *,
    application: str | None = None,
    context: Mapping[str, str] | None = None,
    targets: Sequence[str] = (),
) -> SubmitBody:
    """The file with everything that it names, as it is sent to a daemon; the choices win over the file."""
    return SubmitBody(
        name=loaded.name,
        text=loaded.text,
        manifests={
            path: [SourceBody(file.name, file.text) for file in files] for path, files in loaded.sources.items()
        },
        application=application,
        context=dict(context or {}),
        targets=list(targets),
    )


async def compile_submission(body: SubmitBody, caller: Caller, known: KnownNames) -> ReleasePlan:
    """Beside the loop, because a large bundle takes a while. Raises `ApiFailure` with every problem at its place, and for a
    caller who may not deploy it."""
    plan = await anyio.to_thread.run_sync(_compile, body)
    if isinstance(plan, Problems):
        raise _invalid(body.name, plan.errors)
    # Before the accounts are looked at: which ones there are is not for everybody.
    require_deploy(caller, plan)
    if unknown := tuple(_find_unknown(body, plan, caller, known)):
        raise _invalid(body.name, unknown)
    return plan


def _compile(body: SubmitBody) -> ReleasePlan | Problems:
    sources = {
        path: tuple(SourceText(file.name, file.text) for file in files) for path, files in body.manifests.items()
    }
    loaded = parse_deploy_text(body.text, body.name, read_from_bundle(sources))
    return compile_release(loaded, application=body.application, context=body.context, target_filters=body.targets)


def _invalid(name: str, problems: tuple[Problem, ...]) -> ApiFailure:
    count = "1 error" if len(problems) == 1 else f"{len(problems)} errors"
    return ApiFailure(ErrorCode.INVALID, f"{name} cannot be deployed: {count}; nothing was started", problems=problems)


# --- what only the daemon knows ----------------------------------------------------------------------------------------


def _find_unknown(body: SubmitBody, plan: ReleasePlan, caller: Caller, known: KnownNames) -> Iterator[Problem]:
    root = _read_again(body.text)
    for target in plan.targets:
        keys = {account: TargetKey(plan.application, target.target, account) for account in known.accounts}
        usable = [account for account, key in keys.items() if caller.may(Verb.DEPLOY, key)]
        if sentence := _unless_known("account", target.account, known.accounts, usable):
            yield Problem(body.name, *_mark(root, "targets", target.target, "account"), sentence)
    conditions = [step_of(target, gate) for target in plan.targets for gate in all_ids(target)]
    asked = {query.name: query.provider for step in conditions if isinstance(step, Analysis) for query in step.queries}
    for name, provider in asked.items():
        if sentence := _unless_known("metric provider", provider, known.providers, of=f" of the query {quote(name)}"):
            yield Problem(body.name, *_mark_of_query(root, name), sentence)
    for provider in dict.fromkeys(effect.canary.provider for target in plan.targets for effect in target.effects):
        if sentence := _unless_known("metric provider", provider, known.providers, of=" of an effect"):
            yield Problem(body.name, *_mark(root, "trafficManagement"), sentence)
    for command in dict.fromkeys(step.name for step in conditions if isinstance(step, RunCommand)):
        if sentence := _unless_known("command", command, known.commands):
            yield Problem(body.name, *_mark_of_command(root, command), sentence)
    signed = {step.name: step.signing_secret for step in conditions if isinstance(step, Webhook) and step.signing_secret}
    for name, secret in signed.items():
        if sentence := _unless_known("secret", secret, known.secrets, of=f" of the webhook {quote(name)}"):
            yield Problem(body.name, *_mark_of_secret(root, name), sentence)


def _unless_known(
    what: str, name: str, known: frozenset[str], told: Sequence[str] | None = None, *, of: str = ""
) -> str:
    """Empty when it is known. `told`: those that the caller may hear of."""
    if name in known:
        return ""
    advice = suggest(name, sorted(known) if told is None else told, "they name none")
    return f"the {what} {quote(name)}{of} is not in the settings; {advice}"


def _read_again(text: str) -> Place | None:
    """The tree of a text that was found good a moment ago."""
    documents = compose(text, dialect=Dialect.DEPLOY_FILE, limits=_LIMITS, single=True).documents
    return Place.root(documents[0]) if documents else None


def _mark(root: Place | None, *path: str | int) -> Mark:
    return root.deepest(path).mark if root is not None else Mark(1, 1)


def _mark_of_query(root: Place | None, name: str) -> Mark:
    if root is None:
        return Mark(1, 1)
    for query in root.items("analysis", "queries"):
        named = query.get("name")
        if named is not None and named.text == name:
            provider = query.get("metricProviderName")
            return (provider or root.deepest(("analysis", "defaultMetricProviderName"))).mark
    return root.mark


def _mark_of_command(root: Place | None, name: str) -> Mark:
    for step, _ in all_steps(root) if root is not None else ():
        named = step.at("runCommand", "name")
        if named is not None and named.text == name:
            return named.mark
    return Mark(1, 1)


def _mark_of_secret(root: Place | None, webhook: str) -> Mark:
    for one in root.items("webhooks") if root is not None else ():
        named, secret = one.get("name"), one.get("signingSecret")
        if named is not None and named.text == webhook and secret is not None:
            return secret.mark
    return Mark(1, 1)
