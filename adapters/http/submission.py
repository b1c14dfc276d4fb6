"""From a deploy file to the bundle that is submitted, and from a bundle to a plan: the daemon reads the deploy file again,
whoever has read it before, and adds what only it knows: which accounts and metric providers there are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import anyio.to_thread

from adapters.access import TargetKey, Verb
from adapters.http.authority import require_deploy
from adapters.http.bodies import ErrorCode, SourceBody, SubmitBody
from adapters.http.failures import ApiFailure
from adapters.http.identity import Caller
from engine.model import Analysis, ReleasePlan
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


async def compile_submission(
    body: SubmitBody, caller: Caller, accounts: frozenset[str], providers: frozenset[str]
) -> ReleasePlan:
    """Beside the loop, because a large bundle takes a while. Raises `ApiFailure` with every problem at its place, and for a
    caller who may not deploy it."""
    plan = await anyio.to_thread.run_sync(_compile, body)
    if isinstance(plan, Problems):
        raise _invalid(body.name, plan.errors)
    # Before the accounts are looked at: which ones there are is not for everybody.
    require_deploy(caller, plan)
    if unknown := tuple(_find_unknown(body, plan, caller, accounts, providers)):
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


def _find_unknown(
    body: SubmitBody, plan: ReleasePlan, caller: Caller, accounts: frozenset[str], providers: frozenset[str]
) -> Iterator[Problem]:
    root = _read_again(body.text)
    for target in plan.targets:
        if target.account not in accounts:
            mark = _mark(root, "targets", target.target, "account")
            keys = {account: TargetKey(plan.application, target.target, account) for account in accounts}
            usable = [account for account, key in keys.items() if caller.may(Verb.DEPLOY, key)]
            advice = suggest(target.account, usable, "they name none")
            message = f"the account {quote(target.account)} is not in the settings; {advice}"
            yield Problem(body.name, *mark, message)
    asked = {
        query.name: query.provider
        for target in plan.targets
        for step in target.steps
        if isinstance(step, Analysis)
        for query in step.queries
    }
    for name, provider in asked.items():
        if provider not in providers:
            advice = suggest(provider, providers, "they name none")
            message = (
                f"the metric provider {quote(provider)} of the query {quote(name)} is not in the settings; {advice}"
            )
            yield Problem(body.name, *_mark_of_query(root, name), message)


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
