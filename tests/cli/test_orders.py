"""The commands that ask a daemon, against a real one."""

from __future__ import annotations

import asyncio
import getpass
import re
from pathlib import Path

import pytest

from adapters.http.bodies import CommandBody
from engine.events import CommandKind
from engine.model import ReleaseStatus, State
from tests.cli.terminal import asked
from tests.http.stage import APPROVAL, Daemon, Stage, percent, until, write_files

LINE = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ  ")


async def deployed(folder: Path, *steps: str) -> str:
    said = await asked("deploy", write_files(folder, *steps), "-o", "json")
    assert said.code == 0
    release = said.json["release"]["id"]
    assert isinstance(release, str)
    return release


async def test_a_file_is_deployed_watched_and_approved(daemon: Daemon, tmp_path: Path) -> None:
    said = await asked("deploy", write_files(tmp_path, APPROVAL))
    assert said.code == 0
    accepted = re.fullmatch(
        r"Release (\w+) of shop is accepted.\nWatch it with: headgate status \1 --watch\n", said.out
    )
    assert accepted is not None
    release = accepted[1]
    await daemon.until_state(release, State.APPROVING)

    page = (await asked("status", "shop")).out
    assert page.startswith(f"shop  {release}  AWAITING_APPROVAL\n  the shop's web\n")
    assert "  now  1  pause  until approved" in page
    order = next(line.strip() for line in page.splitlines() if line.startswith("  headgate approve"))
    assert order == f"headgate approve {release} --target production --expect-step 1"

    taken = await asked(*order.split()[1:], "--reason", "looks good")
    assert (taken.code, taken.out.splitlines()[0]) == (0, f"Approved: production of release {release}.")
    await daemon.until_ended(release)
    assert (await asked("status", release[:5])).out.startswith(f"shop  {release}  SUCCEEDED")
    story = (await asked("history", release)).out
    assert f"approved by {getpass.getuser()}: looks good" in story
    assert len(story.splitlines()) == (await daemon.rollout(release)).seq


async def test_a_watch_tells_the_story_line_by_line_and_ends_with_its_result(daemon: Daemon, tmp_path: Path) -> None:
    said = await asked("deploy", write_files(tmp_path, percent(25), percent(50), mesh=True), "--watch")
    assert said.code == 0
    first, *lines = said.out.splitlines()
    assert re.fullmatch(r"Release \w+ of shop begins\.", first)
    assert lines[-1] == "  production runs the new version"
    assert lines[-2].startswith("SUCCEEDED: release ")
    assert all(LINE.match(line) for line in lines[:-2])
    told = [line[22:] for line in lines[:-2]]
    assert told[0] == f"production     0 %  deployed by {getpass.getuser()}; the rollout begins"
    assert "production    25 %  web is read back at 25 %; step 2 of 2: setWeight 50 %" in told
    assert not any("next: " in line or "done: " in line for line in told)
    assert len(told) == len(set(told))


async def test_a_failed_rollout_is_exit_code_1_with_its_reason(stage: Stage, daemon: Daemon, tmp_path: Path) -> None:
    stage.world.error_rate["errors"] = [0.5]
    analysis = "analysis: {interval: 1, units: seconds, numberOfJudgmentRuns: 1, queries: [errors]}"
    said = await asked("deploy", write_files(tmp_path, analysis), "-w")
    assert said.code == 1
    assert "production is as it was found: analysis failed: errors = 0.5, outside of at most 0.1" in said.out
    assert re.search(r"The whole story: headgate history \w+\n$", said.out)


async def test_a_watch_as_data_is_one_document_and_progress_beside_it(daemon: Daemon, tmp_path: Path) -> None:
    said = await asked("deploy", write_files(tmp_path, percent(50)), "--watch", "-o", "json")
    assert (said.code, said.json["release"]["status"]) == (0, "SUCCEEDED")
    assert said.json["rollouts"][0]["state"] == "succeeded"
    assert "the rollout begins" in said.err
    release = said.json["release"]["id"]
    again = await asked("status", release, "--watch", "-o", "yaml")
    assert (again.code, again.yaml["release"]["id"]) == (0, release)


async def test_a_second_run_of_the_application_is_exit_code_3(daemon: Daemon, tmp_path: Path) -> None:
    release = await deployed(tmp_path, APPROVAL)
    said = await asked("deploy", tmp_path / "deploy.yaml")
    assert (said.code, said.out) == (3, "")
    assert f"release {release} of shop is " in said.err
    error = (await asked("deploy", tmp_path / "deploy.yaml", "-o", "json")).json["error"]
    assert (error["code"], error["exitCode"], error["release"]) == ("conflict", 3, release)


async def test_what_only_the_daemon_can_refuse_is_exit_code_2_at_its_place(daemon: Daemon, tmp_path: Path) -> None:
    said = await asked("deploy", write_files(tmp_path, percent(1), account="modle"))
    assert said.code == 2
    assert f'{tmp_path}/deploy.yaml:6:14: the account "modle" is not in the settings' in said.err


async def test_a_file_with_errors_never_reaches_the_daemon(tmp_path: Path) -> None:
    path = write_files(tmp_path, "setWieght: 5")
    said = await asked("deploy", path, "--server", "/nowhere.sock")
    assert said.code == 2
    assert "unknown field" in said.err


async def test_late_orders_are_refused_with_exit_code_3(daemon: Daemon, tmp_path: Path) -> None:
    release = await deployed(tmp_path, APPROVAL, APPROVAL)
    await daemon.until_state(release, State.APPROVING)
    assert (await asked("approve", release, "--expect-step", 1)).code == 0

    async def at_second() -> bool:
        return (await daemon.rollout(release)).step == 2

    await until(at_second)
    said = await asked("approve", release, "--expect-step", 1)
    assert said.code == 3
    assert "shop/production is at step 2, not at step 1" in said.err
    assert (await daemon.rollout(release)).step == 2


async def test_pause_resume_and_abort(daemon: Daemon, tmp_path: Path) -> None:
    release = await deployed(tmp_path, APPROVAL)
    await daemon.until_state(release, State.APPROVING)
    assert (await asked("resume", release)).code == 3
    assert (await asked("pause", release, "-t", "production")).out.startswith("Paused: production of release")
    page = (await asked("status", release)).out
    assert f"held: paused by {getpass.getuser()}" in page
    assert (await asked("resume", release)).code == 0
    assert (await asked("abort", release, "-o", "yaml")).yaml["targets"] == ["production"]
    assert await daemon.until_ended(release) is ReleaseStatus.FAILED
    said = await asked("abort", release)
    assert (said.code, "has already ended" in said.err) == (3, True)


async def test_reject_puts_everything_back(daemon: Daemon, tmp_path: Path) -> None:
    release = await deployed(tmp_path, APPROVAL)
    await daemon.until_state(release, State.APPROVING)
    assert (await asked("reject", "shop")).code == 0
    await daemon.until_ended(release)
    said = await asked("status", release, "--watch")
    assert said.code == 1
    assert "production is as it was found: rejected by" in said.out


async def test_releases_are_listed(daemon: Daemon, tmp_path: Path) -> None:
    assert (await asked("list")).out == "There are no releases yet. Begin one with: headgate deploy FILE --watch\n"
    await deployed(tmp_path, APPROVAL)
    file = tmp_path / "deploy.yaml"
    file.write_text(file.read_text().replace("namespace: production", "namespace: other"))
    await asked("deploy", tmp_path / "deploy.yaml", "-n", "stall")
    head, *rows = (await asked("list")).out.splitlines()
    assert head.split() == ["ID", "APPLICATION", "STATUS", "CREATED", "BY", "TARGETS"]
    assert [row.split()[1] for row in rows] == ["stall", "shop"]
    assert len({row.index("production") for row in rows}) == 1
    found = (await asked("list", "-n", "shop", "-o", "json")).json["releases"]
    assert [release["application"] for release in found] == ["shop"]


async def test_what_there_is_not(daemon: Daemon) -> None:
    for command in ("status", "history", "approve", "abort"):
        said = await asked(command, "nothing")
        assert (said.code, said.err) == (2, "there is no release or application nothing; see: headgate list\n")


async def test_advice_reaches_the_same_daemon(daemon: Daemon, stage: Stage, tmp_path: Path) -> None:
    release = await deployed(tmp_path, APPROVAL)
    await daemon.until_state(release, State.APPROVING)
    place = f"unix:{stage.settings.socket}"
    said = await asked("status", release, "--server", place)
    order = f"headgate approve --server {place} {release} --target production --expect-step 1"
    assert order in said.out
    assert (await asked(*order.split()[1:])).code == 0


async def test_a_workflow_is_told_what_became_of_it(
    daemon: Daemon, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outputs = tmp_path / "outputs"
    outputs.write_text("BEFORE=1\n")
    monkeypatch.setenv("GITHUB_OUTPUT", str(outputs))
    said = await asked("deploy", write_files(tmp_path, percent(50)), "--watch", "-o", "json")
    release = said.json["release"]["id"]
    assert outputs.read_text().splitlines() == [
        "BEFORE=1",
        f"DEPLOYMENT_ID={release}",
        "LINK=",
        "RUN_RESULT=SUCCEEDED",
    ]


async def test_a_watch_outlives_its_daemon_and_misses_nothing(stage: Stage, tmp_path: Path) -> None:
    path = write_files(tmp_path, APPROVAL, APPROVAL)
    async with asyncio.TaskGroup() as tasks:
        async with stage.daemon() as first:
            watching = tasks.create_task(asked("deploy", path, "--watch"))

            async def is_waiting() -> bool:
                releases = (await first.client.releases()).releases
                return bool(releases) and (await first.rollout(releases[0].id)).state is State.APPROVING

            await until(is_waiting)
            release = (await first.client.releases()).releases[0].id
        async with stage.daemon() as second:
            await second.client.command(release, approve(1))

            async def at_second() -> bool:
                return (await second.rollout(release)).step == 2

            await until(at_second)
            await second.client.command(release, approve(2))
            await second.until_ended(release)
            said = await watching
            journal = (await second.client.journal(release)).entries
    assert said.code == 0
    assert [entry.step for entry in journal if entry.event == "command approve"] == [2, 3]
    assert said.out.count("approved by") == 2


def approve(step: int) -> CommandBody:
    return CommandBody(CommandKind.APPROVE, expected_step=step)
