"""The examples that users start from, and files in the shape of those that CD-as-a-Service published, all load."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel

from engine.model import Analysis, Approval, Pause, ReleasePlan, Step, Webhook
from engine.traffic import RouterKind, SetWeight
from strategies.deployfile import DeployFile, compile_release, load_deploy_file
from strategies.schema_problems import fields_of, model_at

HERE = Path(__file__).parent
EXAMPLES = HERE.parent.parent / "config" / "examples"
PUBLISHED = sorted(path for path in (HERE / "published").iterdir() if path.is_file())


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.yaml")), ids=lambda path: path.name)
def test_an_example_has_nothing_to_be_said_about_it_and_runs(path: Path) -> None:
    loaded = load_deploy_file(path)

    assert (loaded.problems.errors, loaded.problems.warnings) == ((), ())
    plan = compile_release(loaded)
    assert isinstance(plan, ReleasePlan)
    assert plan.warnings == ()
    assert plan.application == "harbour"


def steps_of(name: str) -> tuple[Step, ...]:
    plan = compile_release(load_deploy_file(EXAMPLES / name))
    assert isinstance(plan, ReleasePlan)
    return plan.targets[-1].steps


def test_the_first_example_is_a_canary_of_a_few_seconds() -> None:
    weight, analysis, more, pause = steps_of("canary-smi.yaml")

    assert (weight, more, pause) == (SetWeight(2500), SetWeight(5000), Pause(3.0))
    assert isinstance(analysis, Analysis)
    assert analysis.interval_seconds * analysis.runs <= 10
    (query,) = analysis.queries
    assert (query.provider, query.upper) == ("embedded", 0.01)
    selected = 'namespace="{{armory.namespace}}",replicaset="{{armory.replicaSetName}}"'
    assert query.template == (
        f'ratio(headgate_rehearsal_requests_total{{{selected},code_class="5xx"}}, '
        f"headgate_rehearsal_requests_total{{{selected}}})"
    )


def test_the_other_examples_show_what_their_names_say() -> None:
    assert any(isinstance(step, Approval) for step in steps_of("canary-approval.yaml"))
    assert any(isinstance(step, Webhook) for step in steps_of("canary-webhook.yaml"))
    plan = compile_release(load_deploy_file(EXAMPLES / "canary-pod-ratio.yaml"))
    assert isinstance(plan, ReleasePlan)
    assert [route.kind for route in plan.targets[0].routes] == [RouterKind.POD_RATIO]


def test_a_production_target_waits_for_staging() -> None:
    plan = compile_release(load_deploy_file(EXAMPLES / "canary-approval.yaml"))

    assert isinstance(plan, ReleasePlan)
    assert [(target.target, target.depends_on) for target in plan.targets] == [
        ("staging", ()),
        ("production", ("staging",)),
    ]


@pytest.mark.parametrize("path", PUBLISHED, ids=lambda path: path.name)
def test_a_file_in_the_published_shape_loads(path: Path) -> None:
    loaded = load_deploy_file(path)

    assert [str(error) for error in loaded.problems.errors] == []
    assert loaded.document is not None


def test_the_published_shapes_use_every_field_of_every_object() -> None:
    """So that a field that cannot be read is noticed. Lists and maps are followed into each of their entries."""
    used: set[tuple[str, str]] = set()
    for path in PUBLISHED:
        used.update(_used_fields(yaml.safe_load(path.read_text())))

    assert {pair for pair in all_fields(DeployFile, set()) if pair not in used} == set()


def _used_fields(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str, str]]:
    model = model_at(path)
    if isinstance(value, dict):
        for key, inner in value.items():
            if model is not None:
                yield model.__name__, key
            yield from _used_fields(inner, (*path, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _used_fields(inner, (*path, index))


def all_fields(model: type[BaseModel], seen: set[type[BaseModel]]) -> Iterator[tuple[str, str]]:
    seen.add(model)
    for name in fields_of(model):
        yield model.__name__, name
    for inner in _models_in(model):
        if inner not in seen:
            yield from all_fields(inner, seen)


def _models_in(model: type[BaseModel]) -> Iterator[type[BaseModel]]:
    stack: list[Any] = [field.annotation for field in model.model_fields.values()]
    while stack:
        annotation = stack.pop()
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            yield annotation
        stack.extend(getattr(annotation, "__args__", ()))
