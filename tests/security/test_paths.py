"""Whoever may write to a deploy folder must not come to read, by the daemon's eyes, what else there is on its host."""

from __future__ import annotations

from pathlib import Path
from typing import IO

import pytest

from adapters.folders.reading import ReadFile, read_deploy_file
from strategies.confinement import Confinement, OutsideOfFolders
from tests.http.stage import MANIFEST, deploy_text

SECRET = "hunter2-of-the-host"


@pytest.fixture
def host(tmp_path: Path) -> Path:
    """A host with a secret, a deploy folder, and a folder for manifests beside it."""
    for folder in ("etc", "deploy.d", "manifests"):
        (tmp_path / folder).mkdir()
    (tmp_path / "etc/secret.yaml").write_text(f"apiVersion: v1\nkind: Secret\nmetadata: {{name: a}}\ndata: {{a: {SECRET}}}\n")
    (tmp_path / "etc/not-yaml.yaml").write_text(f"{SECRET}: [\n")
    (tmp_path / "deploy.d/web.manifest").write_text(MANIFEST)
    (tmp_path / "manifests/web.yaml").write_text(MANIFEST)
    return tmp_path


def take(host: Path, manifest: str, *also: str) -> ReadFile:
    file = host / "deploy.d/shop.yaml"
    file.write_text(deploy_text("pause: {untilApproved: true}").replace("path: web.yaml", f"path: {manifest}"))
    return read_deploy_file(file, [host / one for one in also])


def assert_refused(read: ReadFile) -> None:
    assert any(" leads out of the deploy folder" in problem.message for problem in read.problems), read.problems
    assert SECRET not in str(read)


@pytest.mark.parametrize("name", ("secret.yaml", "not-yaml.yaml", "not-there.yaml", "", "secret.yaml/.."))
def test_no_path_leads_out_of_the_folder(host: Path, name: str) -> None:
    """Nor does the answer say whether there is anything."""
    (host / "deploy.d/below").mkdir()
    for way in (host / "etc", "../etc", "below/../../etc", "./../etc", "/proc/self/root" + str(host / "etc")):
        assert_refused(take(host, f"{way}/{name}"))


def test_no_link_leads_out_of_the_folder(host: Path) -> None:
    inside = host / "deploy.d"
    (inside / "folder").symlink_to(host / "etc")
    (inside / "file").symlink_to(host / "etc/secret.yaml")
    (inside / "links").mkdir()
    (inside / "links/a.yaml").symlink_to(host / "etc/secret.yaml")
    (inside / "hops").symlink_to(inside / "links/a.yaml")
    (inside / "dangling").symlink_to(host / "etc/not-there.yaml")
    for way in ("folder/secret.yaml", "folder", "file", "links", "links/a.yaml", "hops", "dangling"):
        assert_refused(take(host, way))


def test_a_deploy_file_that_is_a_link_out_of_the_folder_is_not_read(host: Path) -> None:
    link = host / "deploy.d/shop.yaml"
    link.symlink_to(host / "etc/not-yaml.yaml")
    assert_refused(read_deploy_file(link))


def test_what_is_named_in_the_settings_may_be_read(host: Path) -> None:
    assert_refused(take(host, "../manifests/web.yaml"))
    assert not take(host, "../manifests/web.yaml", "manifests").problems
    assert not take(host, str(host / "manifests"), "manifests").problems


def test_folders_that_are_links_themselves_and_mounted_configuration_are_read(host: Path) -> None:
    """As kubelets mount a ConfigMap: names that are links, through a link, to a folder of the day."""
    day = host / "deploy.d/..2026_11_29"
    day.mkdir()
    (day / "web.yaml").write_text(MANIFEST)
    (host / "deploy.d/..data").symlink_to(day.name)
    (host / "deploy.d/web.yaml").symlink_to("..data/web.yaml")
    (host / "current").symlink_to(host / "deploy.d")
    file = host / "deploy.d/shop.yaml"
    file.write_text(deploy_text("pause: {untilApproved: true}"))
    assert not read_deploy_file(host / "current/shop.yaml").problems


def test_a_link_that_is_changed_after_it_was_looked_at_is_found_out(host: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checked = Confinement.check

    def check_and_swap(self: Confinement, path: Path) -> None:
        checked(self, path)
        if path.name == "web.manifest" and not path.is_symlink():
            path.unlink()
            path.symlink_to(host / "etc/secret.yaml")

    monkeypatch.setattr(Confinement, "check", check_and_swap)
    assert_refused(take(host, "web.manifest"))


def test_what_is_never_read_is_not_looked_at_for_changes_either(host: Path) -> None:
    assert take(host, "/").paths == (host / "deploy.d/shop.yaml",)


def test_a_folder_of_a_similar_name_is_another_folder(host: Path) -> None:
    (host / "deploy.d-old").mkdir()
    (host / "deploy.d-old/web.yaml").write_text(MANIFEST)
    assert_refused(take(host, "../deploy.d-old/web.yaml"))


def test_an_open_file_is_where_it_is_and_not_where_it_was_said_to_be(host: Path) -> None:
    within = Confinement((host / "deploy.d",))

    def opened(path: Path) -> IO[bytes]:
        return path.open("rb")

    with opened(host / "deploy.d/web.manifest") as file:
        within.check_open(file)
    with opened(host / "etc/secret.yaml") as file, pytest.raises(OutsideOfFolders):
        within.check_open(file)
