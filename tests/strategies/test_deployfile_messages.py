"""Every file in `bad/` and `accepted/` says in its first lines what there is to say about it, and nothing else is said.

# error: 12:31: setWeight.weight is 101; expected ...         line and column in this file
# warning: manifests/words.yaml:11:17: off is read as ...     line and column in another
"""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.model import ReleasePlan
from strategies.deployfile import LoadedFile, Problem, compile_release, load_deploy_file

HERE = Path(__file__).parent
BAD = sorted((HERE / "bad").glob("*.yaml"))
ACCEPTED = sorted((HERE / "accepted").glob("*.yaml"))


def _expected(path: Path) -> list[str]:
    lines = path.read_bytes().decode("utf-8", "replace").splitlines()
    return [line for line in lines if line.startswith(("# error: ", "# warning: "))]


def _said(loaded: LoadedFile) -> list[str]:
    problems = loaded.problems
    return [
        *(f"# error: {_place(loaded, item)}: {item.message}" for item in problems.errors),
        *(f"# warning: {_place(loaded, item)}: {item.message}" for item in problems.warnings),
    ]


def _place(loaded: LoadedFile, item: Problem) -> str:
    path = "" if item.path == loaded.name else f"{item.path}:"
    return f"{path}{item.line}:{item.column}"


def test_there_are_enough_bad_files() -> None:
    assert len(BAD) >= 60


@pytest.mark.parametrize("path", BAD, ids=lambda path: path.stem)
def test_a_bad_file_is_refused_with_exactly_these_messages(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(path.parent)

    loaded = load_deploy_file(path.name)

    assert _said(loaded) == _expected(path)
    assert loaded.problems.refused
    assert compile_release(loaded) == loaded.problems


@pytest.mark.parametrize("path", ACCEPTED, ids=lambda path: path.stem)
def test_an_accepted_file_says_exactly_this(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(path.parent)

    loaded = load_deploy_file(path.name)

    assert _said(loaded) == _expected(path)
    assert not loaded.problems.refused
    assert isinstance(compile_release(loaded), ReleasePlan)


@pytest.mark.parametrize("path", [*BAD, *ACCEPTED], ids=lambda path: path.stem)
def test_no_message_is_in_the_words_of_a_library(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(path.parent)

    said = " ".join(_said(load_deploy_file(path.name))).lower()

    for foreign in (
        "input should",
        "field required",
        "extra inputs",
        "validation error",
        "pydantic",
        "valid integer",
        "token",
    ):
        assert foreign not in said.replace("apitoken", "")


def test_a_message_reads_like_a_compilers(tmp_path: Path) -> None:
    file = tmp_path / "deploy.yaml"
    file.write_text("application: harbour\ntargets:\n  prod: {account: west, namespace: harbour, stratgey: gentle}\n")

    problems = load_deploy_file(file).problems

    assert str(problems.errors[1]) == f'{file}:3:45: unknown field "stratgey" in targets.prod; did you mean "strategy"?'


def test_all_mistakes_of_a_file_come_at_once(tmp_path: Path) -> None:
    """A field that does not exist, a wrong type, a wrong unit, an unknown target, a weight of 101 and a missing
    manifest."""
    file = tmp_path / "deploy.yaml"
    file.write_text(
        "application: 5\n"
        "taget: x\n"
        "targets:\n"
        "  prod: {account: west, namespace: harbour, strategy: gentle, constraints: {dependsOn: [nowhere]}}\n"
        "manifests:\n"
        "  - path: nothing.yaml\n"
        "strategies:\n"
        "  gentle:\n"
        "    canary:\n"
        "      steps:\n"
        "        - setWeight: {weight: 101}\n"
        "        - pause: {duration: 1, unit: parsecs}\n"
    )

    errors = load_deploy_file(file).problems.errors

    assert [(error.line, error.column) for error in errors] == [(1, 14), (2, 1), (4, 89), (6, 11), (11, 31), (12, 38)]


def test_a_file_of_nothing_but_mistakes_is_not_listed_for_ever(tmp_path: Path) -> None:
    file = tmp_path / "deploy.yaml"
    file.write_text("\n".join(f"field{number}: x" for number in range(5000)))

    errors = load_deploy_file(file).problems.errors

    assert len(errors) == 201
    assert errors[-1].message == "there are more errors than these 200; correct them first"
