"""Importing, for tests: small Rollouts and Canaries, and what becomes of them."""

from __future__ import annotations

import json
from typing import Any

from strategies.deployfile import DeployFile, LoadedFile, Problem, SourceText, parse_deploy_text
from strategies.importing.draft import MANIFESTS
from strategies.importing.importing import Imported, ImportOptions, import_text
from strategies.importing.origins import Origin
from strategies.importing.remarks import RemarkKind

TEMPLATE: dict[str, Any] = {
    "metadata": {"labels": {"app": "web"}},
    "spec": {"containers": [{"name": "web", "image": "web:1"}]},
}
SELECTOR: dict[str, Any] = {"matchLabels": {"app": "web"}}


def service(name: str, **spec: Any) -> dict[str, Any]:
    filled = {"selector": {"app": "web"}, "ports": [{"port": 80}], **spec}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": filled}


def deployment(name: str = "web", **spec: Any) -> dict[str, Any]:
    filled = {"selector": SELECTOR, "template": TEMPLATE, **spec}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": filled}


def rollout(strategy: dict[str, Any], **spec: Any) -> dict[str, Any]:
    filled = {"selector": SELECTOR, "template": TEMPLATE, "strategy": strategy, **spec}
    metadata = {"name": "web", "namespace": "shop"}
    return {"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "metadata": metadata, "spec": filled}


def canary(analysis: dict[str, Any] | None, provider: str | None = "linkerd", **spec: Any) -> dict[str, Any]:
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
    filled: dict[str, Any] = {"targetRef": target, "service": {"port": 80}, **spec}
    if provider is not None:
        filled["provider"] = provider
    if analysis is not None:
        filled["analysis"] = analysis
    metadata = {"name": "web", "namespace": "shop"}
    return {"apiVersion": "flagger.app/v1beta1", "kind": "Canary", "metadata": metadata, "spec": filled}


def template(*metrics: dict[str, Any], name: str = "checks", **spec: Any) -> dict[str, Any]:
    filled = {"metrics": list(metrics), **spec}
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "AnalysisTemplate",
        "metadata": {"name": name, "namespace": "shop"},
        "spec": filled,
    }


def prometheus(query: str = "errors", **metric: Any) -> dict[str, Any]:
    return {"name": "errors", "provider": {"prometheus": {"query": query}}, **metric}


def as_text(*objects: dict[str, Any]) -> str:
    return "\n---\n".join(json.dumps(one, indent=1) for one in objects) + "\n"


def load(made: Imported) -> LoadedFile:
    """The deploy file, as `headgate validate` reads it; nothing is behind the placeholder for manifests."""

    def read(path: str) -> list[SourceText]:
        assert path == MANIFESTS
        return []

    return parse_deploy_text(made.deploy_file, "deploy.yaml", read)


def import_whole(origin: Origin, text: str, name: str = "input.yaml", **options: Any) -> Imported:
    """What a valid input becomes; it always passes `headgate validate`."""
    made = import_text(origin, text, name, ImportOptions(**options))
    assert isinstance(made, Imported), [str(problem) for problem in made]
    problems = load(made).problems
    assert problems.errors == (), made.deploy_file
    return made


def document_of(made: Imported) -> DeployFile:
    document = load(made).document
    assert document is not None
    return document


def steps_of(made: Imported) -> list[dict[str, Any]]:
    strategies = document_of(made).strategies or {}
    (strategy,) = strategies.values()
    assert strategy.canary is not None
    return [step.model_dump(mode="json", exclude_unset=True, by_alias=True) for step in strategy.canary.steps]


def kinds_of(steps: list[dict[str, Any]]) -> list[str]:
    return [next(iter(step)) for step in steps]


def conditions_of(made: Imported) -> dict[str, Any]:
    (strategy,) = (document_of(made).strategies or {}).values()
    assert strategy.blue_green is not None
    return strategy.blue_green.model_dump(mode="json", exclude_unset=True, by_alias=True)


def said(made: Imported, kind: RemarkKind) -> list[str]:
    """The fields of which something of that kind was said."""
    return [remark.field for remark in made.remarks if remark.kind is kind]


def refused(origin: Origin, text: str | bytes, **options: Any) -> tuple[Problem, ...]:
    found = import_text(origin, text, "input.yaml", ImportOptions(**options))
    assert not isinstance(found, Imported)
    return found
