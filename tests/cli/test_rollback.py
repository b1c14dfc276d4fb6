"""`headgate rollback`, against a real daemon."""

from __future__ import annotations

import getpass
import re
from pathlib import Path

from engine.errors import Rejected
from engine.model import ReleaseStatus, State
from tests.cli.terminal import asked
from tests.http.stage import APPROVAL, Daemon, Stage, percent, write_files


async def promoted(folder: Path, **options: object) -> str:
    said = await asked("deploy", write_files(folder, percent(50), **options), "--watch", "-o", "json")
    assert said.code == 0
    release = said.json["release"]["id"]
    assert isinstance(release, str)
    return release


async def test_a_release_is_taken_back(daemon: Daemon, tmp_path: Path) -> None:
    first = await promoted(tmp_path)
    said = await asked("rollback", first, "--reason", "too slow")
    text = rf"Release (\w+) of shop, which takes {first} back, is accepted.\nWatch it with: headgate status \1 --watch\n"
    accepted = re.fullmatch(text, said.out)
    assert accepted is not None
    assert said.code == 0
    assert await daemon.until_ended(accepted[1]) is ReleaseStatus.SUCCEEDED
    page = (await asked("status", accepted[1])).out
    assert f"  rollback of {first}, by {getpass.getuser()}, " in page
    assert f"rollback of {first} by {getpass.getuser()}: too slow; the rollout begins" in (await asked("history", "shop")).out


async def test_it_is_waited_for_and_what_stays_is_said(daemon: Daemon, tmp_path: Path) -> None:
    first = await promoted(tmp_path, mesh=True)
    said = await asked("rollback", "shop", "--wait")
    assert said.code == 0
    begins, *_, status, result = said.out.splitlines()
    assert re.fullmatch(rf"Release \w+ of shop, which takes {first} back, begins\.", begins)
    assert status.startswith("SUCCEEDED: release ")
    assert result == "  production runs the version before"
    assert said.err.startswith(f"warning: target production: Service/web stays; release {first} of shop made it")


async def test_as_data_it_is_one_document(daemon: Daemon, tmp_path: Path) -> None:
    first = await promoted(tmp_path)
    accepted = (await asked("rollback", first, "-o", "json")).json
    assert (accepted["release"]["rollbackOf"], accepted["warnings"]) == (first, [])
    await daemon.until_ended(accepted["release"]["id"])
    detail = await asked("rollback", "shop", "--watch", "--force", "-o", "yaml")
    assert (detail.code, detail.yaml["release"]["status"]) == (0, "SUCCEEDED")
    assert detail.yaml["release"]["rollbackOf"] == accepted["release"]["id"]


async def test_what_cannot_be_taken_back_is_exit_code_3(daemon: Daemon, tmp_path: Path) -> None:
    first = await promoted(tmp_path)
    second = await promoted(tmp_path)
    said = await asked("rollback", first)
    assert (said.code, said.out) == (3, "")
    assert f"take the later one back first (headgate rollback {second})" in said.err
    waiting = (await asked("deploy", write_files(tmp_path, APPROVAL), "-o", "json")).json["release"]["id"]
    await daemon.until_state(waiting, State.APPROVING)
    error = (await asked("rollback", second, "-o", "json")).json["error"]
    assert (error["code"], error["exitCode"], error["release"]) == ("conflict", 3, waiting)
    assert (await asked("rollback", "nothing")).code == 2


async def test_one_that_the_cluster_refuses_is_exit_code_1_with_its_reason(
    stage: Stage, daemon: Daemon, tmp_path: Path
) -> None:
    first = await promoted(tmp_path)
    stage.world.faults["record:web"] = [Rejected("somebody else has changed it since")]
    said = await asked("rollback", first, "--wait")
    assert said.code == 1
    assert "  production was not changed: somebody else has changed it since" in said.out.splitlines()
