"""`headgate import`: where the deploy file goes, what is said beside it, and what is refused."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest

from tests.cli.terminal import ROOT, headgate

IMPORTS = ROOT / "tests" / "strategies" / "imports"
ROLLOUT = IMPORTS / "argo" / "smi_with_analysis.yaml"
CANARY = IMPORTS / "flagger" / "linkerd.yaml"
COMPLETE = ("--account", "embedded")


@pytest.mark.parametrize(("origin", "file"), [("argo", ROLLOUT), ("flagger", CANARY)])
def test_what_is_imported_can_be_validated_and_planned(origin: str, file: Path, tmp_path: Path) -> None:
    made = headgate("import", origin, file, *COMPLETE)
    assert made.code == 0
    path = tmp_path / "deploy.yaml"
    path.write_text(made.out)
    said = headgate("validate", path)
    assert (said.code, said.err) == (0, "")
    assert headgate("plan", path).code == 0


def test_every_remark_is_a_line_with_its_place_on_standard_error() -> None:
    made = headgate("import", "argo", ROLLOUT)
    lines = made.err.splitlines()
    assert all(line.startswith(f"{ROLLOUT}:") for line in lines)
    (lost,) = [line for line in lines if "setHeaderRoute" in line]
    assert lost.startswith(f"{ROLLOUT}:36:11: lost: spec.strategy.canary.steps[2].setHeaderRoute: sent requests")
    assert "; instead: " in lost
    assert any(": fill in: " in line and "--account" in line for line in lines)


@pytest.mark.parametrize("output", ["json", "yaml"])
def test_in_the_other_formats_everything_is_one_document(output: str) -> None:
    made = headgate("import", "argo", ROLLOUT, "-o", output)
    found = made.json if output == "json" else made.yaml
    assert (made.code, made.err) == (0, "")
    assert (found["kind"], found["name"], found["file"], found["writtenTo"]) == ("Rollout", "checkout", str(ROLLOUT), None)
    assert found["deployFile"] == headgate("import", "argo", ROLLOUT).out
    (lost,) = [one for one in found["remarks"] if one["field"].endswith(".setHeaderRoute")]
    assert (lost["kind"], lost["line"], lost["column"], lost["path"]) == ("lost", 36, 11, str(ROLLOUT))
    assert lost["meaning"]
    assert lost["instead"]


def test_standard_input_is_a_file_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(CANARY.read_bytes())))
    made = headgate("import", "flagger", "-")
    assert made.code == 0
    assert made.err.startswith("<stdin>:")


def test_files_are_written_and_never_overwritten(tmp_path: Path) -> None:
    deploy_file, folder = tmp_path / "release" / "deploy.yaml", tmp_path / "manifests"
    arguments = ("import", "argo", ROLLOUT, *COMPLETE, "--output-file", deploy_file, "--manifests-out", folder)
    made = headgate(*arguments)
    assert (made.code, made.out) == (0, "")
    assert f"wrote {deploy_file}" in made.err
    assert [path.name for path in folder.iterdir()] == ["checkout.yaml"]
    said = headgate("validate", deploy_file)
    assert (said.code, said.out) == (0, f"{deploy_file} is valid: 1 target, 4 objects.\n")
    written = deploy_file.read_text()
    deploy_file.write_text("mine")
    again = headgate(*arguments)
    assert again.code == 2
    assert "is there already; nothing was written" in again.err
    assert deploy_file.read_text() == "mine"
    deploy_file.unlink()
    assert headgate(*arguments).code == 2
    assert not deploy_file.exists()
    (folder / "checkout.yaml").unlink()
    assert headgate(*arguments).code == 0
    assert deploy_file.read_text() == written


def test_manifests_of_ones_own_take_the_place_of_those_in_the_file(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    made = headgate("import", "flagger", CANARY, *COMPLETE, "--manifests", "mine")
    assert "- path: mine\n" in made.out
    assert "kind: Deployment" not in made.out
    assert "kind: Service\n" in made.out  # Flagger made it, so it is nowhere else.


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"a: [", 'deploy.yaml:1:4: a list that was opened with "[" is not closed'),
        (b"\xff", "is not UTF-8"),
        (b"kind: Deployment\napiVersion: apps/v1\nmetadata: {name: x}\n", "there is no Rollout of argoproj.io in this"),
    ],
)
def test_bad_input_ends_with_2_and_its_place(tmp_path: Path, content: bytes, sentence: str) -> None:
    path = tmp_path / "deploy.yaml"
    path.write_bytes(content)
    said = headgate("import", "argo", path)
    assert (said.code, said.out) == (2, "")
    assert sentence in said.err
    assert said.err.splitlines()[-1] == f"{path} cannot be imported; nothing was written"
    problems = json.loads(headgate("import", "argo", path, "-o", "json").out)["error"]["problems"]
    assert problems[0]["line"] == 1


def test_wrong_usage(tmp_path: Path) -> None:
    assert "is not one of" in headgate("import", "spinnaker", ROLLOUT).err
    said = headgate("import", "argo", tmp_path / "none.yaml")
    assert (said.code, said.err) == (2, f"{tmp_path / 'none.yaml'} cannot be read: no such file or directory\n")
