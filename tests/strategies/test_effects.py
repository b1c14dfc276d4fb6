"""Deploy files with an `effect`: what is compiled, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from engine.model import OnDrift, OnTimeout, ReleasePlan
from strategies.deployfile import compile_release, load_deploy_file
from tests.builders import deployment, service

EFFECT: dict[str, object] = {
    "canaryRequests": 'increase(requests_total{replicaset="{{armory.replicaSetName}}"})',
    "allRequests": "increase(requests_total)",
    "metricProviderName": "prometheus",
    "tolerance": 2,
    "leastRequests": 500,
    "interval": {"duration": 20, "unit": "seconds"},
    "timeout": {"duration": 3, "unit": "minutes"},
    "withoutTraffic": "pass",
}


def write(folder: Path, traffic: object, config: object = None) -> Path:
    (folder / "web.yaml").write_text(json.dumps(deployment()) + "\n---\n" + json.dumps(service()), "utf-8")
    file = {
        "version": "v1",
        "kind": "kubernetes",
        "application": "shop",
        "deploymentConfig": config or {},
        "targets": {"production": {"account": "a", "namespace": "shop", "strategy": "gentle"}},
        "manifests": [{"path": "web.yaml"}],
        "strategies": {"gentle": {"canary": {"steps": [{"setWeight": {"weight": 25}}]}}},
        "trafficManagement": traffic,
    }
    path = folder / "deploy.yaml"
    path.write_text(json.dumps(file), "utf-8")
    return path


def compiled(path: Path) -> ReleasePlan:
    loaded = load_deploy_file(str(path))
    assert not loaded.problems.errors, list(map(str, loaded.problems.errors))
    plan = compile_release(loaded, application=None, context={}, target_filters=())
    assert isinstance(plan, ReleasePlan), plan
    return plan


def errors(path: Path) -> str:
    return "\n".join(map(str, load_deploy_file(str(path)).problems.errors))


def test_an_effect_is_that_of_the_entrys_route(tmp_path: Path) -> None:
    (target,) = compiled(write(tmp_path, [{"smi": [{"rootServiceName": "web"}], "effect": EFFECT}])).targets
    (effect,) = target.effects
    assert (effect.route, effect.canary.provider, effect.everybody.provider) == ("web", "prometheus", "prometheus")
    assert (effect.canary.template, effect.everybody.template) == (EFFECT["canaryRequests"], EFFECT["allRequests"])
    assert (effect.tolerance, effect.least_requests) == (200, 500)
    assert (effect.interval_seconds, effect.timeout_seconds) == (20.0, 180.0)
    assert effect.without_traffic is OnTimeout.PROCEED


def test_drift_is_held_unless_the_file_says_otherwise(tmp_path: Path) -> None:
    traffic = [{"smi": [{"rootServiceName": "web"}]}]
    (target,) = compiled(write(tmp_path, traffic)).targets
    assert (target.on_drift, target.reassert_limit, target.effects) == (OnDrift.HOLD, 3, ())
    (target,) = compiled(write(tmp_path, traffic, {"onDrift": "Reassert", "reassertLimit": 5})).targets
    assert (target.on_drift, target.reassert_limit) == (OnDrift.REASSERT, 5)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"metricProviderName": None}, 'no metric provider is named for "effect"'),
        ({"interval": {"duration": 0, "unit": "seconds"}}, "expected at least 1 second"),
        ({"withoutTraffic": "maybe"}, 'is "maybe"; expected fail or pass'),
        ({"tolerance": 120}, "expected a percentage from 0 to 100"),
        ({"leastRequests": 0}, "leastRequests"),
        ({"allRequest": "x"}, 'did you mean "allRequests"'),
    ],
)
def test_what_an_effect_cannot_be_is_said_with_its_place(tmp_path: Path, change: dict[str, object], told: str) -> None:
    effect = {name: value for name, value in {**EFFECT, **change}.items() if value is not None}
    found = errors(write(tmp_path, [{"smi": [{"rootServiceName": "web"}], "effect": effect}]))
    assert told in found
    assert "deploy.yaml:1:" in found


def test_an_effect_is_for_one_traffic_object(tmp_path: Path) -> None:
    blocks = [{"rootServiceName": "web"}, {"rootServiceName": "api"}]
    found = errors(write(tmp_path, [{"smi": blocks, "effect": EFFECT}]))
    assert '"effect" is for an entry of one traffic object, and this one has 2' in found
