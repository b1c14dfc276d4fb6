"""`validate`, `plan`, `schema` and `version`: commands that ask nobody."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from adapters.cli.documentation import PAGE, render
from tests.cli.terminal import ROOT, headgate
from tests.http.stage import APPROVAL, percent, write_files

EXAMPLES = sorted((ROOT / "config" / "examples").glob("*.yaml"))


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_every_example_is_valid_and_can_be_planned(example: Path) -> None:
    said = headgate("validate", example)
    assert said.code == 0
    assert said.out.startswith(f"{example} is valid: ")
    assert headgate("plan", example).code == 0


def test_a_file_with_errors_names_every_place_and_ends_with_2(tmp_path: Path) -> None:
    path = write_files(tmp_path, percent(25))
    path.write_text(path.read_text().replace("setWeight", "setWieght").replace("namespace", "namespase"))
    said = headgate("validate", path)
    assert said.code == 2
    assert said.out == ""
    lines = said.err.splitlines()
    assert any(line.startswith(f'{path}:7:5: unknown field "namespase"') for line in lines)
    assert any('did you mean "setWeight"?' in line for line in lines)
    assert lines[-1].startswith(f"{path} is not valid: ")


@pytest.mark.parametrize("output", ["json", "yaml"])
def test_a_validation_is_one_document_in_the_other_formats(tmp_path: Path, output: str) -> None:
    path = write_files(tmp_path, percent(25))
    good = headgate("validate", path, "-o", output)
    found = good.json if output == "json" else good.yaml
    assert (good.code, found["valid"], found["runnable"], found["errors"]) == (0, True, True, [])
    path.write_text("application: shop\n")
    bad = headgate("validate", path, f"--output={output}")
    found = bad.json if output == "json" else bad.yaml
    assert (bad.code, found["valid"], found["runnable"]) == (2, False, False)
    assert all(problem["path"] == str(path) for problem in found["errors"])


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    said = headgate("validate", tmp_path / "none.yaml")
    assert said.code == 2
    assert "none.yaml:1:1: the deploy file cannot be read: no such file or directory" in said.err


def test_a_variable_that_only_the_command_line_can_give_is_an_obstacle_and_no_error(tmp_path: Path) -> None:
    path = write_files(tmp_path, "runWebhook: {name: smoke}")
    path.write_text(path.read_text().replace("/hook", "/{{context.where}}"))
    said = headgate("validate", path)
    assert said.code == 0
    assert "obstacle: " in said.err
    assert '{{context.where}} has no value; add it to "context", or give it with --context' in said.err
    assert said.out.endswith("It cannot be run as it stands; the obstacles say why.\n")
    assert headgate("validate", path, "-o", "json").json["runnable"] is False
    assert headgate("plan", path).code == 2
    assert headgate("plan", path, "--context", "where=here").code == 0


def test_a_plan_names_every_object_in_order(tmp_path: Path) -> None:
    path = write_files(tmp_path, percent(25), APPROVAL, percent(50), mesh=True)
    said = headgate("plan", path)
    assert said.code == 0
    objects = [line.split("  ")[1].strip() for line in said.out.splitlines() if line.startswith("    ")]
    verbs = [line.split()[0] for line in said.out.splitlines() if line.startswith("    ")]
    told = [(verb, name) for verb, name in zip(verbs, objects, strict=True) if verb not in ("wait", "look")]
    assert said.out.index("create  TrafficSplit web ") < said.out.index("create  ReplicaSet web-<hash>")
    assert "step 1 of 3: setWeight 25 %   [0 % -> 25 %]" in said.out
    assert "web-stable 75 %, web-canary 25 %" in said.out
    assert "step 2 of 3: pause until approved" in said.out
    assert "promote   [50 % -> 100 %]" in said.out
    assert said.out.rindex("remove  TrafficSplit web") < said.out.rindex("remove  Service web-canary")
    assert ("remove", told[-2][1]) == told[-2]
    assert "Assumed: Deployment web is live with 3 pods of another version, and has no autoscaler." in said.out


def test_a_plan_of_a_pod_ratio_moves_pods_instead_of_a_split(tmp_path: Path) -> None:
    said = headgate("plan", write_files(tmp_path, percent(34)))
    assert "TrafficSplit" not in said.out
    assert "create  ReplicaSet web-<hash>" in said.out
    assert "1 pod of the new version" in said.out
    assert "2 pods of the old version" in said.out


def test_a_plan_says_what_few_pods_make_of_a_weight(tmp_path: Path) -> None:
    said = headgate("plan", write_files(tmp_path, percent(10))).out
    assert "setWeight 10 %, which comes to 33.33 % of the pods" in said


def test_a_plan_as_data(tmp_path: Path) -> None:
    path = write_files(tmp_path, percent(25), percent(0.01), mesh=True, targets=("staging", "production"))
    found = headgate("plan", path, "-n", "stall", "-o", "json").json
    assert found["application"] == "stall"
    assert [target["dependsOn"] for target in found["targets"]] == [[], ["staging"]]
    stages = found["targets"][0]["stages"]
    assert [stage["weight"] for stage in stages] == [0, 0, 25, 0.01, 100, 100]
    changes = [change for stage in stages for change in stage["changes"]]
    assert {"verb": "create", "subject": "TrafficSplit web", "detail": "web-stable 100 %, web-canary 0 %"} in changes
    only = headgate("plan", path, "-t", "production", "-o", "yaml")
    assert [target["target"] for target in only.yaml["targets"]] == ["production"]
    assert "which this run leaves out" in only.err


def test_a_target_that_there_is_not_and_a_context_that_is_none(tmp_path: Path) -> None:
    path = write_files(tmp_path, percent(25))
    said = headgate("plan", path, "-t", "producton")
    assert (said.code, 'did you mean "production"?' in said.err) == (2, True)
    said = headgate("plan", path, "--context", "region")
    assert said.code == 2
    assert said.err.startswith("--context region: expected key=value")


def test_an_autoscaler_of_the_file_is_part_of_the_plan(tmp_path: Path) -> None:
    path = write_files(tmp_path, percent(34))
    scaler = {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "web"},
        "spec": {"scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}, "maxReplicas": 5},
    }
    manifest = tmp_path / "web.yaml"
    manifest.write_text(f"{manifest.read_text()}---\n{json.dumps(scaler)}\n")
    said = headgate("plan", path)
    assert "and has an autoscaler" in said.out
    assert "HorizontalPodAutoscaler of web" in said.out


def test_the_schema_is_json_and_may_be_yaml() -> None:
    schema = headgate("schema").json
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert headgate("schema", "-o", "yaml").yaml == schema


def test_the_version() -> None:
    said = headgate("version", "-o", "json")
    assert headgate("version").out == f"headgate {said.json['version']}\n"


def test_the_page_of_the_commands_is_current() -> None:
    assert PAGE.read_text() == render(), "run: python -m adapters.cli.documentation"
