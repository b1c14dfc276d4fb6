"""What lies in a deploy folder is rolled out, and nothing of it twice."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from adapters.folders.reading import list_deploy_files
from adapters.folders.standing import FileState
from adapters.http.bodies import CommandBody
from engine.errors import StoreError
from engine.events import CommandKind
from engine.model import ReleaseStatus
from tests.folders.stage import FolderStage, listening
from tests.http.stage import APPROVAL, MANIFEST, percent


@pytest.fixture
def stage(tmp_path: Path) -> FolderStage:
    return FolderStage(tmp_path)


async def test_a_file_is_rolled_out_once_however_often_it_is_looked_at(stage: FolderStage) -> None:
    path = stage.write(percent(50))
    async with stage.daemon() as watched:
        await watched.rest()
        [release] = await watched.releases()
        assert (watched.standing().state, watched.standing().release) == (FileState.STARTED, release)
        assert await watched.daemon.until_ended(release) is ReleaseStatus.SUCCEEDED
        shown = (await watched.daemon.client.release(release)).release
        assert (shown.created_by, shown.source) == ("a deploy folder", str(path))
        path.write_text(path.read_text())
        os.utime(path, (1, 1))
        await watched.rest()
        assert watched.standing().state is FileState.UNCHANGED
        assert await watched.releases() == [release]


async def test_a_restart_begins_nothing_twice(stage: FolderStage) -> None:
    stage.write(percent(50), APPROVAL)
    async with stage.daemon() as watched:
        await watched.rest()
        [release] = await watched.releases()
    async with stage.daemon() as watched:
        await watched.rest()
        assert await watched.releases() == [release]
        assert watched.standing().message == f"release {release} was begun from this content"


async def test_a_daemon_that_dies_after_the_commit_and_before_it_has_heard_of_it(
    stage: FolderStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.write(percent(50), APPROVAL)
    async with stage.daemon() as watched:
        store = watched.daemon.running.service.store
        commit = store.add_release

        async def write_and_lose_the_answer(*given: object) -> None:
            await commit(*given)  # type: ignore[arg-type]
            raise StoreError("the connection is gone")

        monkeypatch.setattr(type(store), "add_release", lambda _, *given: write_and_lose_the_answer(*given))
        await watched.look()
        await watched.look()
        with listening() as logs:
            await watched.look()
        assert [entry["event"] for entry in logs] == ["folders.store_failed"]
        monkeypatch.undo()
    async with stage.daemon() as watched:
        await watched.rest()
        assert len(await watched.releases()) == 1
        assert watched.standing().state is FileState.UNCHANGED


async def test_a_store_that_cannot_be_written_is_tried_again(stage: FolderStage, monkeypatch: pytest.MonkeyPatch) -> None:
    stage.write(percent(50))
    async with stage.daemon() as watched:

        async def refuse(*_: object) -> None:
            raise StoreError("the disk is full")

        monkeypatch.setattr(type(watched.daemon.running.service.store), "add_release", refuse)
        await watched.rest()
        assert await watched.releases() == []
        monkeypatch.undo()
        await watched.look()
        assert len(await watched.releases()) == 1


@pytest.mark.parametrize("look", ["list_deploy_files", "sign", "read_deploy_file"])
async def test_a_folder_whose_file_system_is_gone_keeps_nobody_from_stopping(
    stage: FolderStage, monkeypatch: pytest.MonkeyPatch, look: str
) -> None:
    hangs, is_back, goes_on = threading.Event(), threading.Event(), threading.Event()

    def hang(*_: object) -> None:
        hangs.set()
        is_back.wait(10)
        goes_on.set()
        raise OSError

    stage.write(percent(50))
    monkeypatch.setattr(f"adapters.folders.watching.{look}", hang)
    async with stage.daemon() as watched:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(watched.rest)
            while not hangs.is_set():
                await anyio.lowlevel.checkpoint()
            tasks.cancel_scope.cancel()
        assert not goes_on.is_set()
        is_back.set()
        assert await watched.releases() == []


async def test_two_files_of_one_content_begin_one_release_and_part_ways_later(stage: FolderStage) -> None:
    stage.write(percent(50), name="a.yaml")
    stage.write(percent(50), name="b.yml")
    async with stage.daemon() as watched:
        await watched.rest()
        [first] = await watched.releases()
        await watched.daemon.until_ended(first)
        assert watched.standing("a.yaml").state is FileState.STARTED
        assert watched.standing("b.yml").message == (
            f"it says the same as {stage.folder / 'a.yaml'}, from which release {first} was begun"
        )
        stage.write(percent(60), name="a.yaml")
        await watched.rest()
        [_, second] = await watched.releases()
        await watched.daemon.until_ended(second)
    async with stage.daemon() as watched:
        await watched.rest()
        assert await watched.releases() == [first, second]


async def test_what_was_said_before_the_last_change_is_new_again(stage: FolderStage) -> None:
    async with stage.daemon() as watched:
        for step in (50, 60, 50):
            stage.write(percent(step))
            await watched.rest()
            await watched.daemon.until_ended(watched.standing().release)
        assert len(await watched.releases()) == 3


async def test_a_manifest_is_part_of_what_a_file_says(stage: FolderStage) -> None:
    stage.write(percent(50))
    async with stage.daemon() as watched:
        await watched.rest()
        [first] = await watched.releases()
        await watched.daemon.until_ended(first)
        stage.manifests.write_text(MANIFEST.replace("web:2", "web:3"))
        await watched.rest()
        assert [first, watched.standing().release] == await watched.releases()


async def test_while_another_release_runs_the_newest_content_waits_and_what_came_before_it_is_never_begun(
    stage: FolderStage,
) -> None:
    stage.write(percent(50), APPROVAL)
    async with stage.daemon() as watched:
        await watched.rest()
        [running] = await watched.releases()
        stage.write(percent(60))
        await watched.rest()
        standing = watched.standing()
        assert (standing.state, standing.release) == (FileState.WAITING, running)
        assert standing.message.startswith(f"it is tried again: release {running} of shop is ")
        stage.write(percent(70))
        await watched.rest()
        await watched.daemon.client.command(running, CommandBody(CommandKind.ABORT))
        await watched.daemon.until_ended(running)
        await watched.look()
        assert watched.standing().state is FileState.STARTED
        [_, second] = await watched.releases()
        await watched.daemon.until_ended(second)
        assert (await watched.daemon.rollout(second)).steps[0].text == "70 %"
        await watched.rest()
        assert await watched.releases() == [running, second]


async def test_a_change_that_is_taken_back_while_it_waits_begins_nothing(stage: FolderStage) -> None:
    path = stage.write(percent(50), APPROVAL)
    before = path.read_text()
    async with stage.daemon() as watched:
        await watched.rest()
        [running] = await watched.releases()
        stage.write(percent(60))
        await watched.rest()
        path.write_text(before)
        await watched.rest()
        assert (watched.standing().state, watched.standing().release) == (FileState.UNCHANGED, running)


async def test_a_copy_that_keeps_size_and_time_is_seen_all_the_same(stage: FolderStage) -> None:
    path = stage.write(percent(50))
    async with stage.daemon() as watched:
        await watched.rest()
        await watched.daemon.until_ended(watched.standing().release)
        kept = path.stat()
        path.write_text(path.read_text().replace("50", "60"))
        os.utime(path, ns=(kept.st_atime_ns, kept.st_mtime_ns))
        await watched.rest()
        assert len(await watched.releases()) == 2


async def test_a_file_that_is_being_written_is_not_taken(stage: FolderStage) -> None:
    whole = stage.text(percent(50))
    path = stage.folder / "shop.yaml"
    async with stage.daemon() as watched:
        for end in range(100, len(whole), 100):
            path.write_text(whole[:end])
            await watched.look()
            assert watched.standing().state is FileState.SETTLING
        path.write_text(whole)
        await watched.rest()
        assert watched.standing().state is FileState.STARTED


async def test_a_manifest_that_is_being_written_is_not_taken(stage: FolderStage) -> None:
    stage.write(percent(50))
    stage.manifests.write_text(MANIFEST[:60])
    async with stage.daemon() as watched:
        for end in range(70, len(MANIFEST), 30):
            await watched.look()
            stage.manifests.write_text(MANIFEST[:end])
            assert watched.standing().state is FileState.SETTLING
        stage.manifests.write_text(MANIFEST)
        await watched.rest()
        assert watched.standing().state is FileState.STARTED


async def test_hangups_in_a_row_do_not_make_a_file_older_than_it_is(stage: FolderStage) -> None:
    stage.write(percent(50))
    async with stage.daemon() as watched:
        for _ in range(5):
            watched.folders.watch([stage.folder])
            await watched.look(after=0.1)
        assert watched.standing().state is FileState.SETTLING
        assert await watched.releases() == []


async def test_what_is_wrong_is_said_once_at_its_place_and_not_tried_before_it_changes(stage: FolderStage) -> None:
    path = stage.write(percent(50))
    path.write_text(path.read_text().replace("account: model", "account: modle").replace("setWeight", "setWieght"))
    async with stage.daemon() as watched:
        with listening() as logs:
            await watched.rest()
            await watched.rest()
        [refused] = [entry for entry in logs if entry["event"] == "folders.refused"]
        assert refused["log_level"] == "warning"
        [problem] = refused["problems"]
        assert problem.startswith(f'{path}:{line_of("setWieght", path)}:11: unknown field "setWieght"')
        assert watched.standing().state is FileState.REFUSED
        path.write_text(path.read_text().replace("setWieght", "setWeight"))
        await watched.rest()
        [found] = watched.standing().problems
        line = line_of("modle", path)
        assert str(found) == f'{path}:{line}:14: the account "modle" is not in the settings; did you mean "model"?'
        stage.write(percent(50))
        await watched.rest()
        assert watched.standing().state is FileState.STARTED


def line_of(word: str, path: Path) -> int:
    return path.read_text().split(word)[0].count("\n") + 1


async def test_a_manifest_that_is_missing_may_come(stage: FolderStage) -> None:
    stage.manifests.unlink()
    stage.write(percent(50))
    async with stage.daemon() as watched:
        await watched.rest()
        assert "does not exist" in str(watched.standing().problems[0])
        stage.manifests.write_text(MANIFEST)
        await watched.rest()
        assert watched.standing().state is FileState.STARTED


async def test_new_settings_are_a_reason_to_look_at_refused_files_again(stage: FolderStage) -> None:
    path = stage.write(percent(50))
    path.write_text(path.read_text().replace("account: model", "account: modle"))
    async with stage.daemon() as watched:
        with listening() as logs:
            await watched.rest()
            watched.folders.watch([stage.folder])
            await watched.rest()
        assert sum(entry["event"] == "folders.refused" for entry in logs) == 2


async def test_a_file_that_is_removed_undoes_nothing_and_is_known_when_it_comes_back(stage: FolderStage) -> None:
    path = stage.write(percent(50), APPROVAL)
    async with stage.daemon() as watched:
        await watched.rest()
        [release] = await watched.releases()
        text = path.read_text()
        path.unlink()
        with listening() as logs:
            await watched.look()
        assert {"event": "folders.removed", "release": release}.items() <= logs[0].items()
        assert watched.folder.files == ()
        (stage.folder / "renamed.yaml").write_text(text)
        await watched.rest()
        assert watched.standing("renamed.yaml").state is FileState.UNCHANGED
        assert await watched.releases() == [release]


async def test_a_folder_that_cannot_be_read_for_a_while_loses_nothing(stage: FolderStage) -> None:
    stage.write(percent(50), APPROVAL)
    async with stage.daemon() as watched:
        await watched.rest()
        away = stage.folder.rename(stage.base / "away")
        with listening() as logs:
            await watched.rest()
        assert [entry["event"] for entry in logs] == ["folders.unreadable"]
        assert watched.folder.problem == "the folder cannot be read: no such file or directory"
        away.rename(stage.folder)
        await watched.rest()
        assert watched.folder.problem == ""
        assert len(await watched.releases()) == 1


async def test_a_name_that_no_terminal_should_see(stage: FolderStage) -> None:
    (stage.folder / "a\x1b[2J.yaml").write_text(stage.text(percent(50)))
    (stage.folder / os.fsdecode(b"b\xff.yaml")).write_text(stage.text(percent(50)))
    async with stage.daemon() as watched:
        await watched.rest()
        assert [file.name for file in watched.folder.files] == ["a\\x1b[2J.yaml", "b\\udcff.yaml"]
        assert "the file's name is not printable text; rename it" in str(watched.folder.files[0].problems[0])
        assert await watched.releases() == []


async def test_a_defect_in_one_file_is_no_reason_to_leave_the_others(
    stage: FolderStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.write(percent(50), name="a.yaml")
    stage.write(percent(60), name="b.yaml", application="other")
    async with stage.daemon() as watched:
        submitter = watched.folders._submitter
        consider = submitter.consider

        async def fail_at_a(path: Path, read: object) -> object:
            if path.name == "a.yaml":
                raise ZeroDivisionError("a defect")
            return await consider(path, read)  # type: ignore[arg-type]

        monkeypatch.setattr(submitter, "consider", fail_at_a)
        with listening() as logs:
            await watched.rest()
        assert sum(entry["event"] == "folders.defect" for entry in logs) == 1
        assert watched.standing("a.yaml").message == "an error that nobody foresaw; the daemon's log says more"
        assert watched.standing("b.yaml").state is FileState.STARTED


def test_what_editors_leave_behind_is_no_deploy_file(tmp_path: Path) -> None:
    for name in ("b.yml", "a.yaml", ".hidden.yaml", "a.yaml~", ".#a.yaml", ".a.yaml.swp", "a.yaml.swp", "README"):
        (tmp_path / name).write_text("")
    (tmp_path / "folder.yaml").mkdir()
    (tmp_path / "link.yaml").symlink_to(tmp_path / "a.yaml")
    (tmp_path / "broken.yaml").symlink_to(tmp_path / "nowhere")
    assert [path.name for path in list_deploy_files(tmp_path)] == ["a.yaml", "b.yml", "link.yaml"]
