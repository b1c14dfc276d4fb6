"""Where manifests are looked for, which files of a directory are read, and what a bundle keeps of them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from engine.model import ReleasePlan
from strategies import manifest_sources
from strategies.deployfile import (
    LoadedFile,
    SourceText,
    Unreadable,
    compile_release,
    load_deploy_file,
    parse_deploy_text,
    read_from_bundle,
)

DEPLOYMENT = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: IMAGE}]}
"""


def deploy_file(*paths: str) -> str:
    manifests = "".join(f'  - path: "{path}"\n' for path in paths)
    return (
        "application: harbour\n"
        "targets:\n  prod: {account: west, namespace: quay, strategy: gentle}\n"
        f"manifests:\n{manifests}"
        "strategies:\n  gentle: {canary: {steps: []}}\n"
    )


def config_map(name: str) -> str:
    return f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\n"


def write(path: Path, text: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def objects(loaded: LoadedFile) -> list[str]:
    return [item.name for item in loaded.objects]


def messages(loaded: LoadedFile) -> list[str]:
    return [f"{error.path}:{error.line}: {error.message}" for error in loaded.problems.errors]


# --- where ------------------------------------------------------------------------------------------------------------


def test_a_path_is_looked_for_beside_the_deploy_file(tmp_path: Path) -> None:
    file = write(tmp_path / "config/deploy.yaml", deploy_file("web.yaml"))
    write(tmp_path / "config/web.yaml", DEPLOYMENT)

    loaded = load_deploy_file(file, base=tmp_path)

    assert loaded.problems.errors == loaded.problems.warnings == ()
    assert [source.name for source in loaded.sources["web.yaml"]] == [str(tmp_path / "config/web.yaml")]


def test_and_then_in_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "config/deploy.yaml", deploy_file("k8s/web.yaml"))
    write(tmp_path / "k8s/web.yaml", DEPLOYMENT)
    monkeypatch.chdir(tmp_path)

    assert objects(load_deploy_file("config/deploy.yaml")) == ["web"]


def test_when_both_are_there_and_differ_it_is_said_which_one_is_used(tmp_path: Path) -> None:
    file = write(tmp_path / "config/deploy.yaml", deploy_file("web.yaml"))
    beside = write(tmp_path / "config/web.yaml", DEPLOYMENT.replace("IMAGE", "beside"))
    other = write(tmp_path / "web.yaml", DEPLOYMENT.replace("IMAGE", "working"))

    loaded = load_deploy_file(file, base=tmp_path)

    assert "beside" in loaded.sources["web.yaml"][0].text
    assert [str(warning) for warning in loaded.problems.warnings] == [
        f'{file}:5:11: "web.yaml" is {beside}; there is another one at {other}, which is not used'
    ]


def test_two_copies_of_one_file_are_nothing_to_talk_about(tmp_path: Path) -> None:
    file = write(tmp_path / "config/deploy.yaml", deploy_file("k8s"))
    for folder in (tmp_path / "k8s", tmp_path / "config/k8s"):
        write(folder / "web.yaml", DEPLOYMENT)

    assert load_deploy_file(file, base=tmp_path).problems.warnings == ()

    write(tmp_path / "k8s/more.yaml", config_map("more"))

    assert len(load_deploy_file(file, base=tmp_path).problems.warnings) == 1


def test_absolute_paths_and_paths_upwards_are_fine(tmp_path: Path) -> None:
    outside = write(tmp_path / "outside/web.yaml", DEPLOYMENT)
    write(tmp_path / "settings.yaml", config_map("settings"))
    file = write(tmp_path / "config/deploy.yaml", deploy_file(str(outside), "../settings.yaml"))

    assert objects(load_deploy_file(file, base=tmp_path / "config")) == ["web", "settings"]


def test_a_path_that_leads_nowhere_is_answered_with_the_nearest_name(tmp_path: Path) -> None:
    write(tmp_path / "k8s/web.yaml", DEPLOYMENT)
    file = write(tmp_path / "deploy.yaml", deploy_file("k8s/wep.yaml"))

    (error,) = load_deploy_file(file, base=tmp_path).problems.errors

    assert error.message == f'"k8s/wep.yaml" does not exist; looked in {tmp_path / "k8s"}; did you mean "web.yaml"?'


# --- directories ------------------------------------------------------------------------------------------------------


def test_a_directory_is_read_in_sorted_order_with_what_is_below_it(tmp_path: Path) -> None:
    for number, name in enumerate(["b.yaml", "a.yml", "a/z.yaml", "c/d/e.yaml", ".hidden.yaml"]):
        write(tmp_path / "k8s" / name, config_map(f"map-{number}"))
    for name in ("notes.txt", "b.yaml.bak", "script.sh"):
        write(tmp_path / "k8s" / name, "not: [yaml")
    file = write(tmp_path / "deploy.yaml", deploy_file("k8s"))

    loaded = load_deploy_file(file, base=tmp_path)

    names = [Path(source.name).relative_to(tmp_path / "k8s").as_posix() for source in loaded.sources["k8s"]]
    assert names == [".hidden.yaml", "a/z.yaml", "a.yml", "b.yaml", "c/d/e.yaml"]
    assert objects(loaded) == ["map-4", "map-2", "map-1", "map-0", "map-3"]


def test_a_circle_of_links_ends_and_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    write(tmp_path / "k8s/web.yaml", DEPLOYMENT)
    (tmp_path / "k8s/circle").symlink_to(tmp_path / "k8s")
    (tmp_path / "k8s/dangling.yaml").symlink_to(tmp_path / "nowhere")
    os.mkfifo(tmp_path / "k8s/pipe.yaml")
    file = write(tmp_path / "deploy.yaml", deploy_file("k8s", "k8s/pipe.yaml"))

    loaded = load_deploy_file(file, base=tmp_path)

    assert objects(loaded) == ["web"]
    assert messages(loaded) == [f'{file}:6: "k8s/pipe.yaml" is neither a file nor a directory; name another']


def test_a_file_and_the_directory_that_it_is_in(tmp_path: Path) -> None:
    web = write(tmp_path / "k8s/web.yaml", DEPLOYMENT)
    file = write(tmp_path / "deploy.yaml", deploy_file("k8s", "k8s/web.yaml"))

    assert messages(load_deploy_file(file, base=tmp_path)) == [
        f'{web}:3: the Deployment "web" is deployed twice; two entries of manifests name this file, remove one'
    ]


# --- files ------------------------------------------------------------------------------------------------------------


def test_a_manifest_that_is_not_utf8_is_located_in_its_own_file(tmp_path: Path) -> None:
    broken = write(tmp_path / "k8s/a.yaml", b"apiVersion: v1\nkind: Caf\xe9\n")
    write(tmp_path / "k8s/web.yaml", DEPLOYMENT)
    file = write(tmp_path / "deploy.yaml", deploy_file("k8s"))

    loaded = load_deploy_file(file, base=tmp_path)

    assert [str(error) for error in loaded.problems.errors] == [
        f"{broken}:2:10: byte 25 (0xe9) is not UTF-8; save the file as UTF-8"
    ]
    assert objects(loaded) == ["web"]


def test_files_that_are_too_large_are_not_read_to_their_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    large = write(tmp_path / "k8s/large.yaml", "#" * (manifest_sources.MOST_BYTES + 5))
    file = write(tmp_path / "deploy.yaml", deploy_file("k8s"))

    assert messages(load_deploy_file(file, base=tmp_path)) == [f"{large}:1: the file is larger than 4 MiB; split it"]

    monkeypatch.setattr(manifest_sources, "MOST_BYTES_OF_ALL", 1 << 20)
    monkeypatch.setattr(manifest_sources, "MOST_FILES", 1)
    write(large, "#" * ((1 << 20) + 1))

    assert "the manifests are larger than 1 MiB together" in messages(load_deploy_file(file, base=tmp_path))[0]

    write(tmp_path / "k8s/more.yaml", "")

    assert "holds more than 1 manifests" in messages(load_deploy_file(file, base=tmp_path))[0]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read(tmp_path: Path) -> None:
    write(tmp_path / "web.yaml", DEPLOYMENT).chmod(0)
    file = write(tmp_path / "deploy.yaml", deploy_file("web.yaml"))

    assert messages(load_deploy_file(file, base=tmp_path)) == [
        f'{file}:5: "web.yaml" cannot be read: permission denied'
    ]


def test_a_name_that_is_too_long_for_a_file_system(tmp_path: Path) -> None:
    file = write(tmp_path / "deploy.yaml", deploy_file("a" * 5_000))

    (message,) = messages(load_deploy_file(file, base=tmp_path))

    assert message.endswith("cannot be read: file name too long")


@pytest.mark.parametrize("name", ["nowhere.yaml", ".", "a\0b"])
def test_a_deploy_file_that_cannot_be_read(tmp_path: Path, name: str) -> None:
    (error,) = load_deploy_file(f"{tmp_path}/{name}").problems.errors

    assert error.message.startswith("the deploy file cannot be read: ")


def test_a_deploy_file_that_is_too_large(tmp_path: Path) -> None:
    file = write(tmp_path / "deploy.yaml", b"#" * ((1 << 20) + 1))

    assert messages(load_deploy_file(file)) == [f"{file}:1: the file is larger than 1 MiB; split it"]


def test_more_targets_than_anybody_has(tmp_path: Path) -> None:
    targets = "".join(f"  t{number}: {{account: a, namespace: n{number}}}\n" for number in range(1_001))
    file = write(tmp_path / "deploy.yaml", f"application: harbour\ntargets:\n{targets}manifests: []\n")

    assert messages(load_deploy_file(file)) == [
        f"{file}:2: there are more than 1,000 targets; make several files of this one"
    ]


# --- text that is already at hand -------------------------------------------------------------------------------------


def test_a_bundle_says_and_means_the_same_as_the_files_that_it_was_made_of(tmp_path: Path) -> None:
    write(tmp_path / "k8s/web.yaml", DEPLOYMENT)
    write(tmp_path / "k8s/words.yaml", config_map("words") + "data: {debug: yes}\n")
    file = write(tmp_path / "deploy.yaml", deploy_file("k8s"))
    loaded = load_deploy_file(file, base=tmp_path)

    again = parse_deploy_text(loaded.text, loaded.name, read_from_bundle(loaded.sources))

    assert len(loaded.problems.warnings) == 1
    assert again.problems == loaded.problems
    assert compile_release(again) == compile_release(loaded)
    assert isinstance(compile_release(again), ReleasePlan)


def test_a_bundle_that_lacks_a_manifest() -> None:
    loaded = parse_deploy_text(deploy_file("web.yaml"), "deploy.yaml", read_from_bundle({}))

    assert messages(loaded) == ['deploy.yaml:5: "web.yaml" was not sent along with the deploy file; send it again']


def test_a_reader_says_why_it_cannot_read() -> None:
    def refuse(path: str) -> Sequence[SourceText]:
        raise Unreadable(f"{path} is locked; unlock it")

    assert messages(parse_deploy_text(deploy_file("a", "b").encode(), "x", refuse)) == [
        "x:5: a is locked; unlock it",
        "x:6: b is locked; unlock it",
    ]


def test_inline_manifests_are_located_in_the_deploy_file() -> None:
    text = (
        "application: harbour\ntargets:\n  prod: {account: west, namespace: quay}\nmanifests:\n"
        "  - inline: |\n\n      apiVersion: v1\n      kind: ConfigMap\n      metadata: {name: a, name: b}\n"
        "  - inline: |2\n        apiVersion: v1\n        kind: [\n"
        "  - inline: 'apiVersion: 5'\n"
    )

    assert messages(parse_deploy_text(text, "x", read_from_bundle({}))) == [
        'x:9: "name" stands here twice, first at 9:18; remove one of the two',
        'x:12: a list that was opened with "[" is not closed; write "," or "]"',
        'x:13: in line 1 of this text: this object has no "kind"; add it, as text',
    ]
